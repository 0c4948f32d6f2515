package fib

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// viaRig is a rig whose links have no IPv4 address, and whose neighbours have the same link-local
// address, fe80::1, on both links.
func viaRig(t *testing.T) *rig {
	r := newRig(t, Config{})
	for i := range 2 {
		r.ns.IP(fmt.Sprintf("addr del 10.0.%d.1/24 dev v%[1]d", i))
		r.peer.IP(fmt.Sprintf("addr add fe80::1/64 dev p%d nodad", i))
	}
	r.ns.IP("link set lo up")
	r.ns.IP("addr add 198.51.100.1/32 dev lo")
	return r
}

// tor is the address of both routers.
var tor = netip.MustParseAddr("fe80::1")

// tors are next hops by fe80::1 on links.
func (r *rig) tors(links ...int) (hops []NextHop) {
	for _, l := range links {
		hops = append(hops, NextHop{Gateway: tor, IfIndex: r.link[l]})
	}
	return hops
}

// counters count what arrives for an address in the peer namespace, by interface.
func (r *rig) counters(dst string) func() [2]int {
	family := map[bool]string{false: "ip", true: "ip6"}[strings.Contains(dst, ":")]
	script := "table inet count {\n"
	for i := range 2 {
		script += fmt.Sprintf("counter p%d {}\n", i)
	}
	script += "chain in { type filter hook input priority 0;\n"
	for i := range 2 {
		script += fmt.Sprintf("iifname p%d %s daddr %s counter name p%d\n", i, family, dst, i)
	}
	cmd := r.peer.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script + "}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("nft: %v: %s", err, out)
	}
	return func() (n [2]int) {
		var answer struct {
			Nftables []struct {
				Counter *struct {
					Name    string
					Packets int
				}
			}
		}
		if err := json.Unmarshal([]byte(r.peer.Exec("nft", "-j", "list", "counters")), &answer); err != nil {
			r.Fatal(err)
		}
		for _, x := range answer.Nftables {
			if x.Counter != nil {
				n[x.Counter.Name[1]-'0'] = x.Counter.Packets
			}
		}
		return n
	}
}

// TestIPv4OverIPv6: IPv4 routes by link-local IPv6 gateways (RFC 8950, Section 3), of links without
// an IPv4 address, in each form that a route has: what the kernel shows, what a successor finds
// (nothing to write), what others change, and GatewayDown.
func TestIPv4OverIPv6(t *testing.T) {
	r := viaRig(t)
	r.Sweep()
	weighted := r.tors(0, 1)
	weighted[1].Weight = 3
	mixed := append(r.tors(0), NextHop{Gateway: netip.MustParseAddr("10.0.1.2"), IfIndex: r.link[1], OnLink: true})
	routes := []Route{
		{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: r.tors(0)},
		{RouteKey: key(90, "10.2.0.0/16", 0), NextHops: r.tors(0, 1)},
		{RouteKey: key(90, "10.3.0.0/16", 0), NextHops: weighted, RTAMultipath: true},
		{RouteKey: key(90, "10.4.0.0/16", 0), NextHops: mixed},
		{RouteKey: key(90, "10.5.0.0/16", 0), NextHops: mixed, RTAMultipath: true},
		{RouteKey: key(90, "10.6.0.0/16", 0), NextHops: r.tors(1), PrefSrc: netip.MustParseAddr("198.51.100.1")},
		{RouteKey: key(90, "10.7.0.0/16", 0), NextHops: r.tors(0, 1), Buckets: 16},
		{RouteKey: key(90, "2001:db8::/32", 1024), NextHops: r.tors(0, 1)},
	}
	r.set(routes...)
	r.flush()
	want := []string{
		"10.1.0.0/16 via inet6 fe80::1 dev v0 proto 201",
		"10.2.0.0/16 nhid N proto 201 | nexthop via inet6 fe80::1 dev v0 weight 1 | nexthop via inet6 fe80::1 dev v1 weight 1",
		"10.3.0.0/16 proto 201 | nexthop via inet6 fe80::1 dev v0 weight 1 | nexthop via inet6 fe80::1 dev v1 weight 3",
		"10.4.0.0/16 nhid N proto 201 | nexthop via inet6 fe80::1 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1 onlink",
		"10.5.0.0/16 proto 201 | nexthop via inet6 fe80::1 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1 onlink",
		"10.6.0.0/16 via inet6 fe80::1 dev v1 proto 201 src 198.51.100.1",
		"10.7.0.0/16 nhid N proto 201 | nexthop via inet6 fe80::1 dev v0 weight 1 | nexthop via inet6 fe80::1 dev v1 weight 1",
	}
	same := func(when string) {
		t.Helper()
		got := r.routes("", "90")
		for i := range got { // the order of a group is that of the ids
			parts := strings.Split(got[i], " | ")
			slices.SortFunc(parts[1:], func(a, b string) int {
				return strings.Compare(a[strings.Index(a, "dev"):], b[strings.Index(b, "dev"):])
			})
			got[i] = strings.Join(parts, " | ")
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n  %s\nwant\n  %s", when, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		r.expect("-6", "90", "2001:db8::/32 nhid N proto 201 metric 1024 pref medium | nexthop via fe80::1 dev v0 weight 1 | nexthop via fe80::1 dev v1 weight 1")
		if d := r.Diff(); len(d) > 0 {
			t.Errorf("%s: differences %v", when, d)
		}
	}
	same("at first")

	// IPv4 and IPv6 routes by the same gateway share its object.
	if n := len(r.NextHops()); n != 3 {
		t.Errorf("%d next-hop objects, want fe80::1 twice and 10.0.1.2: %v", n, r.NextHops())
	}

	// A successor finds what it wants.
	r.stop()
	r.start(Config{NetNS: r.ns.Path})
	r.set(routes...)
	r.Sweep()
	r.flush()
	same("after a restart")
	if s := r.Stats(); s.Adds+s.Replaces+s.Deletes+s.ObjectWrites != 0 {
		t.Errorf("a successor wrote %+v", s)
	}

	// Others change them.
	for _, change := range []string{
		"route replace 10.1.0.0/16 via inet6 fe80::9 dev v0 proto 201 table 90",
		"route replace 10.1.0.0/16 via inet6 fe80::1 dev v1 proto 201 table 90",
		"route del 10.3.0.0/16 table 90",
		"route replace 10.5.0.0/16 proto 201 table 90 nexthop via inet6 fe80::1 dev v0 nexthop via inet6 fe80::1 dev v1",
		fmt.Sprintf("nexthop del id %d", r.NextHops()[0].ID),
		fmt.Sprintf("nexthop replace id %d via fe80::9 dev v0 proto 201", r.NextHops()[0].ID),
	} {
		r.ns.IP(change)
		if !nstest.Promptly(heal, func() bool { return len(r.routes("", "90")) == len(want) && len(r.Diff()) == 0 }) {
			t.Errorf("not mended: %s", change)
		}
		same(change)
	}

	// A dead gateway goes out of every route that has another, by one deletion.
	before := r.Stats()
	r.GatewayDown(r.link[0], tor)
	r.wait(heal, "", "90",
		want[0],
		"10.2.0.0/16 nhid N via inet6 fe80::1 dev v1 proto 201",
		"10.3.0.0/16 via inet6 fe80::1 dev v1 proto 201",
		"10.4.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201 onlink",
		"10.5.0.0/16 via 10.0.1.2 dev v1 proto 201 onlink",
		want[5],
		"10.7.0.0/16 nhid N via inet6 fe80::1 dev v1 proto 201")
	r.wait(heal, "-6", "90", "2001:db8::/32 nhid N proto 201 metric 1024 pref medium | nexthop via fe80::1 dev v1 weight 1")
	r.flush()
	if s := r.Stats(); s.ObjectWrites-before.ObjectWrites != 1 || s.Replaces-before.Replaces != 2 {
		t.Errorf("failover: %d object messages, %d replaces; want 1, and 2 of RTA_MULTIPATH", s.ObjectWrites-before.ObjectWrites, s.Replaces-before.Replaces)
	}
	r.GatewayUp(r.link[0], tor)
	nstest.Promptly(heal, func() bool { return strings.Contains(strings.Join(r.routes("", "90"), "\n"), want[4]) })
	r.flush()
	same("after GatewayUp")
}

// TestIPv4OverIPv6Packets: IPv4 packets go by link-local gateways, to both where there are two,
// and none is lost when one of them is taken out.
func TestIPv4OverIPv6Packets(t *testing.T) {
	r := viaRig(t)
	const dst = "203.0.113.1"
	r.peer.IP("addr add " + dst + " dev lo")
	r.peer.IP("link set lo up")
	guest := r.guest(false)
	r.set(Route{RouteKey: RouteKey{Prefix: netip.MustParsePrefix(dst + "/32")}, NextHops: r.tors(0, 1)})
	r.flush()
	for i := range 2 { // as who has a BFD session with it
		mac := strings.TrimSpace(r.peer.Exec("cat", fmt.Sprintf("/sys/class/net/p%d/address", i)))
		r.ns.IP(fmt.Sprintf("neigh replace fe80::1 lladdr %s dev v%d", mac, i))
	}
	r.Sysctl("net/ipv4/fib_multipath_hash_policy", "1")
	count, arrived := r.counters(dst), r.listen(dst)
	burst := func() int { // 200 flows of 5 packets
		sent := 0
		for range 200 {
			stop := r.stream(guest, dst)
			time.Sleep(5 * time.Millisecond)
			n, failed := stop()
			if sent += n; failed > 0 {
				t.Fatalf("%d not sent", failed)
			}
		}
		return sent
	}
	sent := burst()
	got := count()
	if got[0] < sent/4 || got[1] < sent/4 || got[0]+got[1] != sent {
		t.Errorf("of %d packets %v came over the two links", sent, got)
	}
	t.Logf("%d packets: %d over v0, %d over v1", sent, got[0], got[1])

	stop := r.stream(guest, dst)
	for range 20 {
		r.GatewayDown(r.link[0], tor)
		r.flush()
		time.Sleep(5 * time.Millisecond)
		r.GatewayUp(r.link[0], tor)
		r.flush()
		time.Sleep(5 * time.Millisecond)
	}
	more, failed := stop()
	sent += more
	if !nstest.Promptly(5*time.Second, func() bool { return arrived() == sent }) || failed > 0 {
		t.Errorf("%d sent, %d not sent, %d arrived", sent, failed, arrived())
	}
	r.GatewayDown(r.link[0], tor)
	r.flush()
	before := count()
	sent = burst()
	if after := count(); after[0] != before[0] || after[1]-before[1] != sent {
		t.Errorf("with fe80::1%%v0 down %d packets went %v -> %v", sent, before, after)
	}
}
