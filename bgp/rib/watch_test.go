package rib

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// NextHops are those of the best paths of others.
func TestChangeNextHops(t *testing.T) {
	addr := func(s string) wire.NextHop { return wire.NextHop{Addr: netip.MustParseAddr(s)} }
	c := Change{Paths: []Path{{NextHop: addr("192.0.2.1")}, {NextHop: addr("2001:db8::1")}, {NextHop: addr("192.0.2.3"), Rank: 1}}}
	if got := c.NextHops(); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}) {
		t.Error(got)
	}
	local := Change{Paths: []Path{{Local: true}, {NextHop: addr("192.0.2.3"), Rank: 1}}}
	for _, c := range []Change{local, {}, {Converged: true}} {
		if got := c.NextHops(); got != nil {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
