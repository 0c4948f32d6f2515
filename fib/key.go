package fib

import (
	"fmt"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Key names what an [Event], an [Error] or a [Difference] is about. It is a [RouteKey], [Rule],
// [Address], [Neighbor], [Sysctl] or [NextHopID], by value, and nothing else: a type switch over
// these six is complete. All are comparable, and print what they name.
type Key interface {
	fmt.Stringer
	isKey()
}

func (RouteKey) isKey()  {}
func (Rule) isKey()      {}
func (Address) isKey()   {}
func (Neighbor) isKey()  {}
func (Sysctl) isKey()    {}
func (NextHopID) isKey() {}

// String formats the address as `address 203.0.113.1/32 dev 2`.
func (a Address) String() string { return coreAddress(a).String() }

// String formats the entry as `neighbor 203.0.113.1 dev 2 lladdr 02:00:00:00:00:01`, or `neighbor
// proxy 203.0.113.1 dev 2`.
func (n Neighbor) String() string { return wire.Neighbor(n).String() }

// String formats the value as sysctl(8) does, with the path: `net/ipv4/ip_forward = 1`.
func (s Sysctl) String() string { return fibcore.Sysctl(s).String() }

// keyOf is the key of an event, an error or a difference of the core; nil: it has none.
func keyOf(key any) Key {
	switch k := key.(type) {
	case wire.RouteKey:
		return RouteKey(k)
	case wire.Rule:
		return ruleOf(k)
	case wire.Address:
		return addressOf(k)
	case wire.Neighbor:
		return Neighbor(k)
	case fibcore.Sysctl:
		return Sysctl(k)
	case fibcore.NextHopID:
		return NextHopID(k)
	}
	return nil
}
