package netns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// staleRoutes makes routes of "TABLE PREFIX [last|blackhole|new]" lines.
func staleRoutes(lines string) (list []fib.RouteStatus) {
	for line := range strings.SplitSeq(lines, ",") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		s := fib.RouteStatus{State: fib.StateStale}
		s.Table, s.Prefix, s.Type = table(words[0]), netip.MustParsePrefix(words[1]), fib.RouteUnicast
		switch words = words[2:]; {
		case slices.Contains(words, "last"):
			s.Type, s.Persistent = fib.RouteBlackhole, true
		case slices.Contains(words, "blackhole"):
			s.Type = fib.RouteBlackhole
		case slices.Contains(words, "new"):
			s.State = fib.StateInstalled
		}
		list = append(list, s)
	}
	return list
}

// The F bit of a family is set if the kernel has routes of it, in every table that the
// session is about.
func TestPreserved(t *testing.T) {
	v4, v6 := wire.IPv4Unicast, wire.IPv6Unicast
	for _, c := range []struct {
		what, routes string
		tables       []uint32
		want         []wire.Family
		any          bool
	}{
		{"a first start", "", []uint32{90}, nil, false},
		{"everything", "90 203.0.113.1/32, 90 2001:db8::/64", []uint32{90}, []wire.Family{v4, v6}, true},
		{"IPv6 was flushed", "90 203.0.113.1/32, 90 ::/0 last", []uint32{90}, []wire.Family{v4}, true},
		{"only the last resort is left", "90 0.0.0.0/0 last, 90 ::/0 last", []uint32{90}, nil, false},
		{"a blackhole forwards nothing", "90 203.0.113.1/32 blackhole", []uint32{90}, nil, false},
		{"another table", "20 172.22.2.1/32", []uint32{90}, nil, true},
		{"desired already", "90 203.0.113.1/32 new", []uint32{90}, nil, false},
		{"two domains, one of which had nothing to lose", "90 203.0.113.1/32, 20 0.0.0.0/0 last", []uint32{90, 20}, []wire.Family{v4}, true},
		{"two domains, one of which lost all", "90 203.0.113.1/32", []uint32{90, 20}, nil, true},
		{"two domains with a family each", "90 203.0.113.1/32, 20 2001:db8::/64", []uint32{90, 20}, nil, true},
		{"two domains, one of which carries no IPv6", "90 203.0.113.1/32, 90 2001:db8::/64, 21 172.22.2.1/32", []uint32{90, 21}, []wire.Family{v4, v6}, true},
	} {
		k := preservedBy(slices.Values(staleRoutes(c.routes)))
		var domains []config.Domain
		for _, id := range c.tables {
			domains = append(domains, config.Domain{Table: config.Table{ID: id}})
		}
		carries := func(d config.Domain) (v4, v6 bool) { return true, d.Table.ID != 21 }
		if got := k.families(domains, carries); !slices.Equal(got, c.want) || k.any() != c.any {
			t.Errorf("%s: %v, any %v", c.what, got, k.any())
		}
	}
}
