package fib

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestVia: gateways are found on the interfaces of their networks, as the kernel finds them.
func TestVia(t *testing.T) {
	r := newRig(t, Config{})
	r.ns.IP("addr add 10.0.0.129/26 dev v1") // a longer prefix on the other link
	r.ns.IP("addr add 192.0.2.1 peer 192.0.2.9/32 dev v1")
	r.ns.IP("addr add 10.7.0.1/24 dev v1 noprefixroute")
	nstest.Wait(t, 5*time.Second, "news of the addresses", func() bool { return r.Via(netip.MustParseAddr("192.0.2.9")) != nil })
	v0, v1 := r.link[0], r.link[1]
	for _, tc := range []struct {
		gateway string
		link    int
	}{
		{"10.0.0.2", v0}, {"10.0.1.2", v1}, {"fd00::2", v0}, {"fd01::2", v1},
		{"10.0.0.130", v1}, {"10.0.0.200", v0},
		{"192.0.2.9", v1}, {"192.0.2.8", 0},
		{"fe80::1%v0", v0}, {"fe80::1%v1", v1}, {"fe80::1", 0}, {"fe80::1%v7", 0},
		{"10.7.0.2", 0}, {"198.51.100.1", 0}, {"2001:db8::1", 0},
	} {
		g := netip.MustParseAddr(tc.gateway)
		want := []NextHop{{Gateway: g.WithZone(""), IfIndex: tc.link}}
		if tc.link == 0 {
			want = nil
		}
		if got := r.Via(g); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: %v, want %v", g, got, want)
		}
	}
	// What it returns the kernel takes.
	prefix := netip.MustParsePrefix("203.0.113.1/32")
	hops := r.Via(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.0.1.2"))
	if err := r.SetRoute(Route{RouteKey: RouteKey{Prefix: prefix}, NextHops: hops}); err != nil || len(hops) != 2 {
		t.Errorf("%v: %v", hops, err)
	}
	r.flush()
}

// TestAdopted: what an earlier run left is known as soon as the kernel was read; persistent
// routes, routes of others and an empty kernel are nothing of that kind.
func TestAdopted(t *testing.T) {
	r := newRig(t, Config{})
	adopted := func(when string, want bool) {
		t.Helper()
		f, err := New(Config{NetNS: r.ns.Path})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		got, err := f.Adopted(ctx)
		if got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", when, got, err, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := f.Adopted(context.Background()); err != ErrClosed {
			t.Errorf("after the end: %v", err)
		}
	}
	r.ns.IP("route add 203.0.113.9/32 via 10.0.0.2")
	if err := r.SetRoute(Route{RouteKey: RouteKey{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, Type: RouteBlackhole, Persistent: true}); err != nil {
		t.Fatal(err)
	}
	r.flush()
	r.stop()
	adopted("others' routes, and a persistent one", false)

	r.start(Config{NetNS: r.ns.Path})
	hops := r.Via(netip.MustParseAddr("10.0.0.2"))
	if err := r.SetRoute(Route{RouteKey: RouteKey{Prefix: netip.MustParsePrefix("203.0.113.1/32")}, NextHops: hops}); err != nil {
		t.Fatal(err)
	}
	r.flush()
	r.stop()
	adopted("a route of an earlier run", true)
}
