package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// Of the paths those of the best rank are used that have a next hop which is alive.
func TestGateways(t *testing.T) {
	const peer = "198.51.100.126"
	var probe, carrier failover.NextHops
	probe.Set([]peering.NextHop{{Domain: "public", Link: "b.public"}}, true)
	carrier.Carrier("a.public", true)
	carrier.Carrier("b.public", true)
	for _, one := range []struct {
		name    string
		dead    failover.Dead
		ranks   []string // next hops of each
		want    string
		offLink int
	}{
		{"the best", failover.Dead{}, []string{"198.51.100.102 198.51.100.202", "198.51.100.103"}, "198.51.100.102 198.51.100.202", 0},
		{"one is dead", probe.Dead(), []string{"198.51.100.102 198.51.100.202"}, "198.51.100.102", 0},
		{"the other family is not", probe.Dead(), []string{"2001:db8:c633:6401::2"}, "2001:db8:c633:6401::2", 0},
		{"a worse one is alive", probe.Dead(), []string{"198.51.100.202", "198.51.100.203", "198.51.100.103", "198.51.100.104"}, "198.51.100.103", 0},
		{"a worse one, of several", probe.Dead(), []string{"198.51.100.202", "198.51.100.102 198.51.100.203"}, "198.51.100.102", 0},
		{"all are dead", carrier.Dead(), []string{"198.51.100.202 198.51.100.102", "198.51.100.203"}, "198.51.100.102 198.51.100.202", 0},
		{"the best is not on-link", failover.Dead{}, []string{"192.0.2.1", "198.51.100.203"}, "198.51.100.203", 1},
		{"none is on-link", failover.Dead{}, []string{"192.0.2.1", "192.0.2.2"}, "", 2},
	} {
		b := newBench(t)
		b.uplinks()
		g := b.domains["public"]
		g.dead = one.dead
		set := sessions.PathSet{Prefix: netip.MustParsePrefix("203.0.113.7/32")}
		for rank, hops := range one.ranks {
			for _, h := range strings.Fields(hops) {
				set.Paths = append(set.Paths, peering.Path{NextHop: netip.MustParseAddr(h), Peer: netip.MustParseAddr(peer), Rank: rank})
			}
		}
		hops, offLink := g.gateways(set)
		var got []string
		for _, h := range hops {
			got = append(got, h.Gateway.String())
		}
		if s := strings.Join(got, " "); s != one.want || offLink != one.offLink {
			t.Errorf("%s: %q, %d not on-link; want %q, %d", one.name, s, offLink, one.want, one.offLink)
		}
	}
}

// TestOffLinkEvent: that next hops of a prefix are on no link is an event, and counted, when it changes, and not each time
// its paths come.
func TestOffLinkEvent(t *testing.T) {
	c, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	tr := newTrace()
	b := newBenchWith(t, c, slog.New(slog.NewTextHandler(&log, nil)), func(name string) netns.Kernel { return fakeKernel{trace: tr, netns: name} }, tr)
	b.uplinks()
	for i, one := range []struct {
		hops  string
		want  string // the count in the event
		total uint64
	}{
		{"192.0.2.1", "count=1", 1},
		{"192.0.2.1", "", 1}, // stale
		{"192.0.2.1", "", 1}, // and fresh again
		{"192.0.2.1 192.0.2.2", "count=2", 2},
		{"192.0.2.1 192.0.2.2 198.51.100.102", "", 2},
		{"192.0.2.1", "count=1", 2},
		{"198.51.100.102", "", 2},
		{"192.0.2.1", "count=1", 3},
		{"", "", 3},
		{"192.0.2.1", "count=1", 4},
	} {
		log.Reset()
		set := sessions.PathSet{Prefix: netip.MustParsePrefix("203.0.113.7/32")}
		for _, h := range strings.Fields(one.hops) {
			set.Paths = append(set.Paths, peering.Path{NextHop: netip.MustParseAddr(h), Peer: netip.MustParseAddr("198.51.100.126")})
		}
		b.router.onPaths(b.domains["public"], sessions.Update{Sets: []sessions.PathSet{set}})
		_, got, _ := strings.Cut(log.String(), "event=next-hop-not-on-link domain=public prefix=203.0.113.7/32 ")
		if got = strings.TrimSpace(got); got != one.want || b.router.offLink != one.total {
			t.Errorf("%d, %s: %q, %d in all; want %q, %d", i, one.hops, got, b.router.offLink, one.want, one.total)
		}
	}
}

// TestWeights: next hops have weights if each path has a bandwidth, and they are not the same.
func TestWeights(t *testing.T) {
	var c hopCache
	for _, one := range []struct {
		bandwidths []float32 // of the gateways .1, .2 and so on; two of the first one
		want       string
	}{
		{[]float32{0, 0}, "198.51.100.1 198.51.100.2"},
		{[]float32{5, 5}, "198.51.100.1 198.51.100.2"},
		{[]float32{10, 40, 25}, "198.51.100.1*2 198.51.100.2*8 198.51.100.3*5"},
		{[]float32{10, 0, 25}, "198.51.100.1 198.51.100.2 198.51.100.3"},
		{[]float32{0, 10, 25}, "198.51.100.1 198.51.100.2 198.51.100.3"},
		{[]float32{10, 40}, "198.51.100.1 198.51.100.2*4"},
		{[]float32{40, 10}, "198.51.100.1*4 198.51.100.2"},
	} {
		var hops []weighted
		for i, b := range one.bandwidths {
			hops = append(hops, weighted{domain.NextHop{Gateway: netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}), Link: "a"}, b})
		}
		hops = append(hops, weighted{hops[0].NextHop, 77}) // from another reflector
		var got []string
		for _, h := range c.share(hops) {
			s := h.Gateway.String()
			if h.Weight > 1 {
				s += fmt.Sprintf("*%d", h.Weight)
			}
			got = append(got, s)
		}
		if s := strings.Join(got, " "); s != one.want {
			t.Errorf("%v: %s, want %s", one.bandwidths, s, one.want)
		}
	}
}
