package fibcore

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// NextHop is one next hop of a route, as it is asked for.
type NextHop struct {
	Gateway netip.Addr // zero: directly connected
	IfIndex int
	Weight  uint16 // 0 is 1
	OnLink  bool
}

// Route is a desired route. SetRoute does not retain NextHops.
type Route struct {
	wire.RouteKey
	Type         wire.RouteType // 0 is unicast
	NextHops     []NextHop      // in any order
	PrefSrc      netip.Addr
	Scope        wire.Scope
	MTU, AdvMSS  uint32
	Persistent   bool   // carries Config.PersistentProtocol
	Buckets      uint16 // of a resilient group; 0: an ordinary one
	RTAMultipath bool   // no group
}

// RouteState says how far a desired route has come.
type RouteState uint8

// The states of routes; package fib documents them.
const (
	StatePending   RouteState = iota // not written yet, or not as it is desired now
	StateInstalled                   // in the kernel as desired
	StateHeld                        // waits for a link
	StateFailed                      // refused by the kernel
	StateForeign                     // yields to another's route
	StateStale                       // ours in the kernel, not desired
	StatePartial                     // in the kernel without some of its next hops
	StateLost                        // was in the kernel, and is about to be written again
)

var stateNames = [...]string{"pending", "installed", "held", "failed", "foreign", "stale", "partial", "lost"}

func (s RouteState) String() string { return enum.String("RouteState", stateNames[:], s) }

// RouteStatus is a route and how far it has come.
type RouteStatus struct {
	Route     // as desired; for StateStale as it is in the kernel
	State     RouteState
	Present   bool   // the kernel has a route of ours under the key
	Active    int    // how many of NextHops that route has
	NextHopID uint32 // that it uses; 0: none
	Err       error  // why State is StateFailed or StateForeign
}
