package fib

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Each kind of key that the core has is one for users, with the same content, and prints what
// it names.
func TestKeys(t *testing.T) {
	addr := netip.MustParseAddr("203.0.113.1")
	host := netip.PrefixFrom(addr, 32)
	mac := [6]byte{2, 5: 1}
	for _, c := range []struct {
		core any
		want Key
		text string
	}{
		{wire.RouteKey{Table: 90, Prefix: host, Metric: 3}, RouteKey{Table: 90, Prefix: host, Metric: 3}, "203.0.113.1/32 table 90 metric 3"},
		{wire.Rule{Family: wire.FamilyIPv4, Priority: 7, Table: 90}, Rule{Family: FamilyIPv4, Priority: 7, Table: 90}, Rule{Family: FamilyIPv4, Priority: 7, Table: 90}.String()},
		{wire.Address{IfIndex: 2, Prefix: host}, Address{IfIndex: 2, Prefix: host}, "address 203.0.113.1/32 dev 2"},
		{wire.Neighbor{IfIndex: 2, Addr: addr, MAC: mac}, Neighbor{IfIndex: 2, Addr: addr, MAC: mac}, "neighbor 203.0.113.1 dev 2 lladdr 02:00:00:00:00:01"},
		{wire.Neighbor{IfIndex: 2, Addr: addr, Proxy: true}, Neighbor{IfIndex: 2, Addr: addr, Proxy: true}, "neighbor proxy 203.0.113.1 dev 2"},
		{fibcore.Sysctl{Path: "net/ipv4/ip_forward", Value: "1"}, Sysctl{Path: "net/ipv4/ip_forward", Value: "1"}, "net/ipv4/ip_forward = 1"},
		{fibcore.NextHopID(0x48460001), NextHopID(0x48460001), "next-hop object 0x48460001"},
	} {
		if got := keyOf(c.core); got != c.want || got.String() != c.text {
			t.Errorf("%T: %v, %q; want %v, %q", c.core, got, got.String(), c.want, c.text)
		}
		err := errorOf(&fibcore.Error{Op: "add", Key: c.core, Err: ErrForeign})
		if got, want := err.Error(), "fib: add "+c.text+": "+ErrForeign.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	err := errorOf(&fibcore.Error{Op: "dump", Err: errors.New("no memory"), Text: "why"})
	if e := new(Error); !errors.As(err, &e) || e.Key != nil || err.Error() != "fib: dump: no memory (why)" {
		t.Errorf("%v", err)
	}
	if eventOf(&fibcore.Event{Kind: fibcore.EventSynced}).Key != nil {
		t.Error("a key of nothing")
	}
}
