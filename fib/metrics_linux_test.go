package fib

import (
	"net/netip"
	"strings"
	"testing"
)

// TestMetricsOfOthers: routes by one next-hop group have each its own MTU, whatever the others have and had: Linux
// gives one that comes without metrics those of another.
func TestMetricsOfOthers(t *testing.T) {
	r := newRig(t, Config{})
	route := func(prefix string, mtu uint32) Route {
		return Route{RouteKey: key(90, prefix, 0), MTU: mtu, NextHops: []NextHop{
			{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: r.link[0]}, {Gateway: netip.MustParseAddr("10.0.1.2"), IfIndex: r.link[1]}}}
	}
	r.set(route("10.1.0.0/16", 1400))
	r.Sweep()
	r.flush()
	r.set(route("10.2.0.0/16", 0), route("10.3.0.0/16", 1300))
	r.flush()
	mtus := func() (list []string) {
		for line := range strings.Lines(r.ns.IP("route show table 90")) {
			prefix, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if _, mtu, ok := strings.Cut(rest, "mtu "); ok {
				list = append(list, prefix+" "+strings.Fields(mtu)[0])
			}
		}
		return list
	}
	if got := strings.Join(mtus(), ", "); got != "10.1.0.0/16 1400, 10.3.0.0/16 1300" {
		t.Error(got)
	}
	r.set(route("10.1.0.0/16", 0), route("10.3.0.0/16", 1400))
	r.flush()
	if got := strings.Join(mtus(), ", "); got != "10.3.0.0/16 1400" {
		t.Error(got)
	}
}
