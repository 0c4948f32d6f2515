package daemon

import (
	"context"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/fib"
)

// kernel is what the loop uses of *fib.FIB.
type kernel interface {
	SetRoute(fib.Route) error
	DeleteRoute(fib.RouteKey)
	SetRule(fib.Rule) error
	SetRuleAbsent(fib.Rule) error
	DeleteRule(fib.Rule)
	SetAddress(fib.Address) error
	DeleteAddress(fib.Address)
	SetNeighbor(fib.Neighbor) error
	DeleteNeighbor(fib.Neighbor)
	SetSysctl(fib.Sysctl) error
	DeleteSysctl(path string)
	Probe(link int, addr netip.Addr, mac [6]byte)
	Flush(context.Context) error
	Sweep()
}

var _ kernel = (*fib.FIB)(nil)

// announcer is what the loop uses of a [sessions.Member].
type announcer interface {
	Announce([]domain.Announcement)
	Withdraw([]netip.Prefix)
	// InventoryComplete says that everything of ours has been announced once.
	InventoryComplete()
	// Configure brings the sessions in line with the domain's configuration;
	// sessions that did not change are left alone.
	Configure(*config.Config, config.Domain)
	// Drain announces once more, to be used only if there is nothing else.
	Drain([]domain.Announcement)
}

// edge is the side towards the guests.
type edge interface {
	// Arrive prepares the interface of a guest that came or changed: address and
	// state of the link. It is called before the guest's routes are set.
	Arrive(*config.Config, guest.Port)
	// Serve begins, or changes, what the guest is told: router advertisements,
	// DHCP, announcements of our addresses. It is called after the routes are set.
	Serve(*config.Config, ...guest.Port)
	// Reannounce says the same again: the guest's interface has just got its carrier.
	Reannounce(*config.Config, guest.Port)
	// Silence ends answering the guest's ARP requests before it returns.
	Silence(guest.Port)
	// Known has the guest's questions from p.Heard left to the kernel, which hears them now.
	Known(p guest.Port)
	// Leave ends it; gone tells that the interface is not there any more.
	Leave(p guest.Port, gone bool)
	// Target and NoTarget say which prefixes are allocated, and behind which link
	// of ours they are (0: none), for whoever answers ARP and neighbour
	// solicitations.
	Target(p netip.Prefix, link int)
	NoTarget(p netip.Prefix)
	// Overlays brings the overlays in line; vteps are the host routes that the
	// domains have.
	Overlays(c *config.Config, index func(name string) (int, bool), vteps []netip.Addr)
}

var _ edge = (*eg.Edge)(nil)

// vrfs is what the loop uses of *vrf.Conn.
type vrfs interface {
	// Ensure makes a VRF exist and gives its interface index.
	Ensure(name string, table uint32) (int, error)
	// Enslave puts an interface into it.
	Enslave(link, vrf int) error
}

var _ vrfs = (*vrf.Conn)(nil)

// shield is what the loop uses of *firewall.Firewall.
type shield interface {
	Apply(firewall.Spec) error
	// End takes away what Apply made in this run, if it did.
	End(firewall.Spec) error
	// Balance keeps the flows of one transparent address from filling the kernel's table.
	Balance(ctx context.Context, crowded func(address netip.Addr, flows int)) error
	// Watch calls changed when somebody else has changed what was applied.
	Watch(ctx context.Context, changed func()) error
}

var _ shield = (*firewall.Firewall)(nil)
