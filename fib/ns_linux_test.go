package fib

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// rig is a namespace with two uplinks v0 and v1 (10.0.0.1/24, fd00::1/64 and
// 10.0.1.1/24, fd01::1/64) whose other ends p0 and p1 live in a second
// namespace, and a FIB that runs in it.
type rig struct {
	testing.TB
	ns, peer *nstest.NS
	*FIB
	link [2]int
	stop func()
	io   kernel.Handles // of the FIB that runs, unless they lose things
}

func newRig(t testing.TB, config Config) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	r := &rig{TB: t, ns: nstest.New(t, "hv"), peer: nstest.New(t, "peer")}
	for i := range 2 {
		nstest.Veth(r.ns, fmt.Sprintf("v%d", i), fmt.Sprintf("10.0.%d.1/24 fd0%d::1/64", i, i),
			r.peer, fmt.Sprintf("p%d", i), fmt.Sprintf("10.0.%d.2/24 10.0.%d.3/24 fd0%d::2/64 fd0%d::3/64", i, i, i, i))
	}
	r.Sysctl("net/ipv6/conf/v0/keep_addr_on_down", "1")
	r.Sysctl("net/ipv6/conf/v1/keep_addr_on_down", "1")
	config.NetNS = r.ns.Path
	r.start(config)
	return r
}

func (r *rig) Sysctl(name, value string) { r.ns.Sysctl(name, value) }

// start opens and runs a FIB.
func (r *rig) start(config Config) {
	r.Helper()
	f, err := New(config)
	if err != nil {
		r.Fatal(err)
	}
	r.run(kernel.With(context.Background(), config.NetNS, opener(func(netns string, protocols ...uint8) (h kernel.Handles, err error) {
		h, err = linux{}.Open(netns, protocols...)
		r.io = h
		return h, err
	})), f)
}

// run runs f and waits until it has read the kernel.
func (r *rig) run(ctx context.Context, f *FIB) {
	r.Helper()
	w := f.Watch(WatchOptions{})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	r.FIB = f
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			r.Errorf("Run: %v", err)
		}
	}
	r.Cleanup(func() { r.stop() })
	for e, err := range w.All(ctx) {
		if err != nil {
			r.Fatal(err)
		}
		if e.Kind == EventSynced {
			break
		}
	}
	w.Close()
	r.readLinks()
}

func (r *rig) readLinks() {
	for _, l := range r.Links() {
		for i := range r.link {
			if l.Interface == fmt.Sprintf("v%d", i) {
				r.link[i] = l.IfIndex
			}
		}
	}
	if r.link[0] == 0 || r.link[1] == 0 {
		r.Fatalf("links: %v", r.Links())
	}
}

func (r *rig) flush() {
	r.Helper()
	if err := r.tryFlush(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) tryFlush() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return r.Flush(ctx)
}

func (r *rig) set(routes ...Route) {
	r.Helper()
	for _, route := range routes {
		if err := r.SetRoute(route); err != nil {
			r.Fatal(err)
		}
	}
}

var nhid = regexp.MustCompile(`nhid \d+`)

// routes returns `ip route show table T` with blanks squeezed, one line a route.
func (r *rig) routes(family, table string) []string {
	r.Helper()
	var lines []string
	for _, l := range strings.Split(r.ns.Exec("sh", "-c", "ip "+family+" route show table "+table+" 2>/dev/null || true"), "\n") {
		fields := nhid.ReplaceAllString(strings.Join(strings.Fields(l), " "), "nhid N")
		switch {
		case fields == "":
		case strings.HasPrefix(l, "\t"):
			lines[len(lines)-1] += " | " + fields
		default:
			lines = append(lines, fields)
		}
	}
	return lines
}

func (r *rig) expect(family, table string, want ...string) {
	r.Helper()
	got := r.routes(family, table)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.Errorf("table %s %s:\n  %s\nwant:\n  %s", family, table, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// wait waits for the table to look so, and not longer than limit on a machine that runs.
func (r *rig) wait(limit time.Duration, family, table string, want ...string) {
	r.Helper()
	var got []string
	if !nstest.Promptly(limit, func() bool {
		got = r.routes(family, table)
		return strings.Join(got, "\n") == strings.Join(want, "\n")
	}) {
		r.Fatalf("not within %v: table %s %s:\n  %s\nwant:\n  %s", limit, family, table, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// via makes next hops from "gateway" and link pairs.
func (r *rig) via(gateways ...string) (hops []NextHop) {
	for _, g := range gateways {
		a := netip.MustParseAddr(g)
		link := 0
		if strings.HasPrefix(g, "10.0.1.") || strings.HasPrefix(g, "fd01:") {
			link = 1
		}
		hops = append(hops, NextHop{Gateway: a, IfIndex: r.link[link]})
	}
	return hops
}

func TestRouteTypes(t *testing.T) {
	r := newRig(t, Config{})
	routes := []Route{
		Route{RouteKey: key(90, "0.0.0.0/0", 4294967294), Type: RouteBlackhole, Persistent: true},
		Route{RouteKey: key(90, "203.0.113.0/24", 0), Type: RouteUnreachable},
		Route{RouteKey: key(90, "203.0.114.0/24", 5), Type: RouteProhibit},
		Route{RouteKey: key(90, "203.0.115.0/24", 5), Type: RouteThrow},
		Route{RouteKey: key(90, "203.0.113.1/32", 10), NextHops: []NextHop{{IfIndex: r.link[0]}}},
		Route{RouteKey: key(90, "203.0.113.10/32", 10), NextHops: []NextHop{{IfIndex: r.link[0], Gateway: netip.MustParseAddr("203.0.113.1"), OnLink: true}}},
		Route{RouteKey: key(90, "203.0.113.3/32", 0), NextHops: r.via("10.0.0.2", "10.0.1.2"), PrefSrc: netip.MustParseAddr("10.0.0.1"), MTU: 1400, AdvMSS: 1360},
		Route{RouteKey: key(90, "203.0.113.4/32", 0), NextHops: r.via("fd00::2", "10.0.1.2")},
		Route{RouteKey: key(90, "203.0.113.5/32", 0), NextHops: r.via("fd00::2")},
		Route{RouteKey: key(90, "203.0.113.6/32", 0), NextHops: []NextHop{{r.via("10.0.0.2")[0].Gateway, r.link[0], 3, false}, {r.via("10.0.1.2")[0].Gateway, r.link[1], 1, false}}, RTAMultipath: true},
		Route{RouteKey: RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.7/32"), TOS: 8}, NextHops: r.via("10.0.0.3")},
		Route{RouteKey: key(90, "::/0", 4294967294), Type: RouteBlackhole, Persistent: true},
		Route{RouteKey: key(90, "2001:db8:1::/64", 10), NextHops: r.via("fd00::2")},
		Route{RouteKey: key(90, "2001:db8:2::/64", 0), NextHops: r.via("fd00::2", "fd01::2")},
		Route{RouteKey: key(90, "2001:db8:3::/64", 0), NextHops: r.via("fd00::2", "fd01::2"), RTAMultipath: true},
		Route{RouteKey: key(90, "2001:db8:4::/64", 0), NextHops: []NextHop{{IfIndex: r.link[1]}}},
		Route{RouteKey: key(90, "2001:db8:5::/64", 0), Type: RouteUnreachable},
		Route{RouteKey: key(100000, "10.9.0.0/16", 0), NextHops: r.via("10.0.0.2")},
	}
	r.set(routes...)
	r.flush()
	r.expect("", "90",
		"blackhole default proto 202 metric 4294967294",
		"unreachable 203.0.113.0/24 proto 201",
		"203.0.113.1 dev v0 proto 201 scope link metric 10",
		"203.0.113.3 nhid N proto 201 src 10.0.0.1 mtu 1400 advmss 1360 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1",
		"203.0.113.4 nhid N proto 201 | nexthop via 10.0.1.2 dev v1 weight 1 | nexthop via inet6 fd00::2 dev v0 weight 1",
		"203.0.113.5 via inet6 fd00::2 dev v0 proto 201",
		"203.0.113.6 proto 201 | nexthop via 10.0.0.2 dev v0 weight 3 | nexthop via 10.0.1.2 dev v1 weight 1",
		"203.0.113.7 tos 0x08 via 10.0.0.3 dev v0 proto 201",
		"203.0.113.10 via 203.0.113.1 dev v0 proto 201 metric 10 onlink",
		"prohibit 203.0.114.0/24 proto 201 metric 5",
		"throw 203.0.115.0/24 proto 201 metric 5")
	r.expect("-6", "90",
		"2001:db8:1::/64 via fd00::2 dev v0 proto 201 metric 10 pref medium",
		"2001:db8:2::/64 nhid N proto 201 metric 1024 pref medium | nexthop via fd00::2 dev v0 weight 1 | nexthop via fd01::2 dev v1 weight 1",
		"2001:db8:3::/64 proto 201 metric 1024 pref medium | nexthop via fd00::2 dev v0 weight 1 | nexthop via fd01::2 dev v1 weight 1",
		"2001:db8:4::/64 dev v1 proto 201 metric 1024 pref medium",
		"unreachable 2001:db8:5::/64 dev lo proto 201 metric 1024 pref medium",
		"blackhole default dev lo proto 202 metric 4294967294 pref medium")
	r.expect("", "100000", "10.9.0.0/16 via 10.0.0.2 dev v0 proto 201")
	if d := r.Diff(); len(d) > 0 {
		t.Errorf("differences: %v", d)
	}
	for s := range r.Routes() {
		if s.State != StateInstalled {
			t.Errorf("%v is %v: %v", s.RouteKey, s.State, s.Err)
		}
	}
	// A restart with the same desire writes nothing at all.
	r.stop()
	r.start(Config{NetNS: r.ns.Path})
	if n := r.Stats().Stale; n != len(routes) {
		t.Errorf("%d stale, want %d", n, len(routes))
	}
	r.set(routes...)
	r.Sweep()
	r.flush()
	if s := r.Stats(); s.Adds+s.Replaces+s.Deletes+s.ObjectWrites != 0 || s.Installed != len(routes) {
		t.Errorf("restart wrote: %+v", s)
	}
	for _, route := range routes {
		r.DeleteRoute(route.RouteKey)
	}
	r.flush()
	r.expect("", "90")
	r.expect("-6", "90")
}
