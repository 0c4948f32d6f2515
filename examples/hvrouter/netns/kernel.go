package netns

import (
	"context"
	"iter"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/fib"
)

// Kernel is what hvrouter uses of the [fib.FIB] of a namespace.
type Kernel interface {
	OwnTable(table uint32) error
	SetRoute(fib.Route) error
	DeleteRoute(fib.RouteKey) error
	SetRule(fib.Rule) error
	SetRuleAbsent(fib.Rule) error
	DeleteRule(fib.Rule) error
	SetAddress(fib.Address) error
	DeleteAddress(fib.Address) error
	SetNeighbor(fib.Neighbor) error
	DeleteNeighbor(fib.Neighbor) error
	SetSysctl(fib.Sysctl) error
	DeleteSysctl(path string) error
	Probe(ifindex int, addr netip.Addr, mac [6]byte)
	Flush(context.Context) error
	Sweep()

	NextHops() []fib.NextHopObject
	Gateways() []fib.Gateway
	GatewayDown(ifindex int, gateway netip.Addr)
	GatewayUp(ifindex int, gateway netip.Addr)

	Links() []fib.Link
	Addresses() ([]host.Address, error)
	Neighbours() ([]Neighbour, error)
	Routes() iter.Seq[fib.RouteStatus]
	Stats() fib.Stats
	Diff() []fib.Difference

	Run(context.Context) error
	Watch(fib.WatchOptions) Events
	WatchRoutes(fib.RouteFilter) RouteChanges
	Learn(fib.Filter) LearnChanges
}

// Events, RouteChanges and LearnChanges are the readers that a Kernel has. If ctx has ended already,
// Next returns what there is, and ctx's error only if that is nothing.
type (
	Events interface {
		Next(ctx context.Context, buf []fib.Event) (int, error)
	}
	RouteChanges interface {
		Next(ctx context.Context, buf []fib.RouteChange) (int, error)
		Close()
	}
	LearnChanges interface {
		Next(ctx context.Context, buf []fib.LearnChange) (int, error)
		Close()
	}
)

// eventBuffer is how many kernel events may wait for us: the first reading has one for each
// interface and address, of thousands of guests.
const eventBuffer = 1 << 18

// fibKernel is a FIB as a Kernel.
type fibKernel struct {
	*fib.FIB
	path string // of its namespace
}

var _ Kernel = fibKernel{}

func (k fibKernel) Watch(o fib.WatchOptions) Events            { return k.FIB.Watch(o) }
func (k fibKernel) WatchRoutes(f fib.RouteFilter) RouteChanges { return k.FIB.WatchRoutes(f) }
func (k fibKernel) Learn(f fib.Filter) LearnChanges            { return k.FIB.Learn(f) }

func (k fibKernel) Addresses() ([]host.Address, error) { return host.Addresses(k.path) }
func (k fibKernel) Neighbours() ([]Neighbour, error)   { return readNeighbours(k.path) }

// VRFs is what a Namespace uses of a [vrf.Conn].
type VRFs interface {
	// Ensure makes a VRF exist and returns its interface index.
	Ensure(name string, table uint32) (int, error)
	// Enslave puts an interface into it.
	Enslave(ifindex, vrf int) error
}

var _ VRFs = (*vrf.Conn)(nil)

// Firewall is what a Namespace uses of a [firewall.Firewall].
type Firewall interface {
	Apply(firewall.Spec) error
	// End takes away what Apply made in this run, if it did.
	End(firewall.Spec) error
	// Balance keeps the flows of one transparent address from filling the kernel's table.
	Balance(ctx context.Context, crowded func(address netip.Addr, flows int)) error
	// Watch calls changed when another program has changed what was applied.
	Watch(ctx context.Context, changed func()) error
	// Audit reads again what was applied, and returns in what the kernel differs and no notification
	// has told. It may be called on any goroutine.
	Audit() ([]firewall.Difference, error)
	// Drops counts the packets that were dropped, by the reason.
	Drops() (map[string]uint64, error)
	// Flooded counts those of each uplink that were dropped as a part of a flood, by the reason.
	Flooded() (map[string]map[string]uint64, error)
}

var _ Firewall = (*firewall.Firewall)(nil)
