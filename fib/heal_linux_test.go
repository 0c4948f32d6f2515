package fib

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// heal is how long a repair may take.
const heal = 100 * time.Millisecond

func TestSelfHeal(t *testing.T) {
	r := newRig(t, Config{})
	r.Sweep()
	want := []string{
		"blackhole default proto 202 metric 4294967294",
		"10.5.0.0/16 nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1",
		"10.6.0.0/16 via 10.0.0.2 dev v0 proto 201",
		"203.0.113.1 dev v0 proto 201 scope link metric 10",
	}
	want6 := []string{
		"2001:db8:1::/64 via fd00::2 dev v0 proto 201 metric 1024 pref medium",
		"2001:db8:2::/64 nhid N proto 201 metric 1024 pref medium | nexthop via fd00::2 dev v0 weight 1 | nexthop via fd01::2 dev v1 weight 1",
	}
	routes := []Route{
		{RouteKey: key(90, "0.0.0.0/0", 4294967294), Type: RouteBlackhole, Persistent: true},
		{RouteKey: key(90, "10.5.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")},
		{RouteKey: key(90, "10.6.0.0/16", 0), NextHops: r.via("10.0.0.2")},
		{RouteKey: key(90, "203.0.113.1/32", 10), NextHops: []NextHop{{IfIndex: r.link[0]}}},
		{RouteKey: key(90, "2001:db8:1::/64", 0), NextHops: r.via("fd00::2")},
		{RouteKey: key(90, "2001:db8:2::/64", 0), NextHops: r.via("fd00::2", "fd01::2")},
	}
	r.set(routes...)
	r.flush()
	r.expect("", "90", want...)
	r.expect("-6", "90", want6...)
	check := func(what string, limit time.Duration) {
		t.Helper()
		start := time.Now()
		r.wait(limit, "", "90", want...)
		r.wait(limit, "-6", "90", want6...)
		t.Logf("%-40s %v", what, time.Since(start).Round(time.Millisecond))
	}
	object := func(gateway string) uint32 {
		for _, o := range r.NextHops() {
			if o.Gateway.String() == gateway {
				return o.ID
			}
		}
		return 0
	}
	group := func(gateway string) uint32 {
		member := uitoa(object(gateway))
		for line := range strings.Lines(r.ns.IP("nexthop")) { // id 1213595651 group 1213595649/1213595650 proto 201
			w := strings.Fields(line)
			if i := slices.Index(w, "group"); i == 2 && slices.ContainsFunc(strings.Split(w[3], "/"), func(m string) bool { m, _, _ = strings.Cut(m, ","); return m == member }) {
				id, err := strconv.ParseUint(w[1], 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				return uint32(id)
			}
		}
		return 0
	}
	for _, c := range []string{
		"route del 10.5.0.0/16 table 90",
		"route del 10.6.0.0/16 table 90",
		"route replace 10.6.0.0/16 via 10.0.0.3 table 90 proto static",
		"route change 10.6.0.0/16 via 10.0.0.3 table 90 proto 201",
		"-6 route del 2001:db8:2::/64 table 90",
		"-6 route append 2001:db8:1::/64 via fd01::3 table 90 metric 1024",
		"route del default table 90 metric 4294967294",
		"nexthop flush",
		"nexthop flush proto 201",
		// What this package never writes, under our protocol number (F9).
		"route change 10.6.0.0/16 via 10.0.0.2 table 90 proto 201 realm 5",
		"route change 10.6.0.0/16 via 10.0.0.2 dev v0 onlink table 90 proto 201",
		"route change 10.6.0.0/16 via 10.0.0.2 table 90 proto 201 src 10.0.0.1",
	} {
		r.ns.IP(c)
		check("ip "+c, heal)
	}
	r.stop() // and with it the brake of what was repaired so often
	r.start(Config{NetNS: r.ns.Path})
	r.set(routes...)
	r.Sweep()
	r.flush()
	for _, c := range []string{
		"route change 10.6.0.0/16 via 10.0.0.2 table 90 proto 201 mtu 1300",
		"route change 10.6.0.0/16 via 10.0.0.2 table 90 proto 201 advmss 1000",
		"route change 10.6.0.0/16 via 10.0.0.2 table 90 proto 201 rtt 100",
		"route append 10.6.0.0/16 via 10.0.0.3 table 90 proto 201",
		"route prepend 10.6.0.0/16 via 10.0.0.3 table 90 proto 201",
		"-6 route replace 2001:db8:1::/64 via fd00::2 table 90 metric 1024 proto 201 pref high",
		"-6 route replace 2001:db8:1::/64 via fd00::2 table 90 metric 1024 proto 201 expires 1000",
		"-6 route replace 2001:db8:1::/64 via fd00::2 table 90 metric 1024 proto 201 mtu 1300",
		"-6 route replace 2001:db8:1::/64 via fd00::2 table 90 metric 1024 proto 201 hoplimit 3",
		"-6 route del 2001:db8:1::/64 table 90",
		// Objects and groups, in every way that the kernel takes (F2).
		fmt.Sprintf("nexthop replace id %d via 10.0.1.3 dev v1", object("10.0.0.2")),
		fmt.Sprintf("nexthop replace id %d via 10.0.0.2 dev v0 onlink proto 201", object("10.0.0.2")),
		fmt.Sprintf("nexthop replace id %d via fd00::9 dev v0", object("fd00::2")),
		fmt.Sprintf("nexthop replace id %d via 10.0.0.2 dev v0 proto 4", object("10.0.0.2")),
		fmt.Sprintf("nexthop replace id %d group %d", group("10.0.0.2"), object("10.0.1.2")),
		fmt.Sprintf("nexthop replace id %d group %d,7/%d", group("10.0.0.2"), object("10.0.0.2"), object("10.0.1.2")),
		fmt.Sprintf("nexthop del id %d", group("10.0.0.2")),
		fmt.Sprintf("nexthop del id %d", group("fd00::2")),
	} {
		r.ns.IP(c)
		check("ip "+c, heal)
		if s := r.ns.IP("nexthop"); strings.Count(s, "proto 201") != strings.Count(s, "id ") {
			t.Errorf("after %s:\n%s", c, s)
		}
	}
	r.ns.IP("nexthop del id " + uitoa(object("10.0.0.2")))
	check("nexthop del", heal)
	r.ns.IP("nexthop del id " + uitoa(object("fd01::2")))
	check("nexthop del v6", heal)

	r.ns.IP("link set v0 down")
	r.wait(heal, "", "90",
		"blackhole default proto 202 metric 4294967294",
		"10.5.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201")
	r.ns.IP("link set v0 up")
	check("link down and up", 3*time.Second) // carrier takes its time
	r.peer.IP("link set p0 down")
	r.wait(time.Second, "-6", "90", want6[0][:len("2001:db8:1::/64 via fd00::2 dev v0")]+" proto 201 metric 1024 linkdown pref medium",
		"2001:db8:2::/64 nhid N proto 201 metric 1024 pref medium | nexthop via fd01::2 dev v1 weight 1")
	r.peer.IP("link set p1 down")
	r.wait(time.Second, "-6", "90", want6[0][:len("2001:db8:1::/64 via fd00::2 dev v0")]+" proto 201 metric 1024 linkdown pref medium")
	r.peer.IP("link set p0 up")
	r.peer.IP("link set p1 up")
	check("carrier lost and back", 3*time.Second)

	r.ns.IP("addr del 10.0.0.1/24 dev v0")
	r.wait(heal, "", "90", // 10.6 can not be had without the connected route
		want[0], want[1], want[3])
	r.ns.IP("addr add 10.0.0.1/24 dev v0")
	check("last address away and back", heal)
	if d := r.Diff(); len(d) > 0 {
		t.Errorf("differences: %v", d)
	}
}

func uitoa(n uint32) string { return itoa(int(n)) }

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestForeign(t *testing.T) {
	for _, policy := range []ForeignPolicy{ForeignRefuse, ForeignWait, ForeignTake} {
		t.Run([]string{"refuse", "wait", "take"}[policy], func(t *testing.T) {
			r := newRig(t, Config{OnForeign: policy})
			r.ns.IP("route add 10.5.0.0/16 via 10.0.0.3 table 90 proto static")
			r.ns.IP("route add 2001:db8:5::/64 via fd00::3 table 90 proto static")
			r.set(Route{RouteKey: key(90, "10.5.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")},
				Route{RouteKey: key(90, "2001:db8:5::/64", 0), NextHops: r.via("fd00::2", "fd01::2")})
			_ = r.tryFlush()
			ours := []string{"10.5.0.0/16 nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1"}
			ours6 := []string{"2001:db8:5::/64 nhid N proto 201 metric 1024 pref medium | nexthop via fd00::2 dev v0 weight 1 | nexthop via fd01::2 dev v1 weight 1"}
			if policy == ForeignTake {
				r.expect("", "90", ours...)
				r.expect("-6", "90", ours6...)
				return
			}
			r.expect("", "90", "10.5.0.0/16 via 10.0.0.3 dev v0 proto static")
			r.expect("-6", "90", "2001:db8:5::/64 via fd00::3 dev v0 proto static metric 1024 pref medium")
			for s := range r.Routes() {
				if s.State != StateForeign {
					t.Errorf("%v is %v", s.RouteKey, s.State)
				}
			}
			r.ns.IP("route del 10.5.0.0/16 table 90")
			r.ns.IP("route del 2001:db8:5::/64 table 90")
			if policy == ForeignWait {
				r.wait(heal, "", "90", ours...)
				r.wait(heal, "-6", "90", ours6...)
				return
			}
			time.Sleep(20 * time.Millisecond)
			r.expect("", "90")
			r.set(Route{RouteKey: key(90, "10.5.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")})
			r.flush()
			r.expect("", "90", ours...)
		})
	}
}

func TestGatewayDown(t *testing.T) {
	r := newRig(t, Config{})
	r.Sweep()
	both := " nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1"
	routes := []Route{
		{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")},
		{RouteKey: key(90, "10.2.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.0.3", "10.0.1.2")},
		{RouteKey: key(90, "10.3.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2"), RTAMultipath: true},
		{RouteKey: key(90, "10.4.0.0/16", 0), NextHops: r.via("10.0.0.2")},
	}
	r.set(routes...)
	r.flush()
	before := r.Stats()
	r.GatewayDown(r.link[0], netip.MustParseAddr("10.0.0.2"))
	r.wait(heal, "", "90",
		"10.1.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201",
		"10.2.0.0/16 nhid N proto 201 | nexthop via 10.0.1.2 dev v1 weight 1 | nexthop via 10.0.0.3 dev v0 weight 1",
		"10.3.0.0/16 via 10.0.1.2 dev v1 proto 201",
		"10.4.0.0/16 via 10.0.0.2 dev v0 proto 201")
	r.flush()
	if s := r.Stats(); s.ObjectWrites-before.ObjectWrites != 1 || s.Replaces-before.Replaces != 1 {
		t.Errorf("failover: %d object messages, %d replaces; want 1 and 1 (the classic one)", s.ObjectWrites-before.ObjectWrites, s.Replaces-before.Replaces)
	}
	// The second of two: 10.1 has nothing else and keeps it, through a clone,
	// since 10.2 gains from the deletion.
	r.GatewayDown(r.link[1], netip.MustParseAddr("10.0.1.2"))
	r.wait(heal, "", "90",
		"10.1.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201",
		"10.2.0.0/16 nhid N via 10.0.0.3 dev v0 proto 201",
		"10.3.0.0/16 proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1",
		"10.4.0.0/16 via 10.0.0.2 dev v0 proto 201")
	r.GatewayUp(r.link[0], netip.MustParseAddr("10.0.0.2"))
	r.wait(heal, "", "90",
		"10.1.0.0/16 nhid N via 10.0.0.2 dev v0 proto 201",
		"10.2.0.0/16 nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.0.3 dev v0 weight 1",
		"10.3.0.0/16 via 10.0.0.2 dev v0 proto 201",
		"10.4.0.0/16 via 10.0.0.2 dev v0 proto 201")
	r.GatewayUp(r.link[1], netip.MustParseAddr("10.0.1.2"))
	r.wait(heal, "", "90",
		"10.1.0.0/16"+both,
		"10.2.0.0/16 nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1 | nexthop via 10.0.0.3 dev v0 weight 1",
		"10.3.0.0/16"+strings.Replace(both, " nhid N", "", 1),
		"10.4.0.0/16 via 10.0.0.2 dev v0 proto 201")
	// Everything that was only for the time in between is collected.
	if !nstest.Promptly(3*time.Second, func() bool {
		return len(r.NextHops()) == 3 && len(strings.Split(strings.TrimSpace(r.ns.IP("nexthop")), "\n")) == 5
	}) {
		t.Fatalf("left over:\n%s", r.ns.IP("nexthop"))
	}
}

func TestRestartWithDeadGateway(t *testing.T) {
	r := newRig(t, Config{})
	route := Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")}
	r.set(route)
	r.flush()
	var dead uint32
	for _, o := range r.NextHops() {
		if o.Gateway.String() == "10.0.0.2" {
			dead = o.ID
		}
	}
	r.stop()
	r.ns.IP("nexthop del id " + uitoa(dead)) // as the BFD process does
	r.start(Config{NetNS: r.ns.Path})
	r.GatewayDown(r.link[0], netip.MustParseAddr("10.0.0.2"))
	r.set(route)
	r.Sweep()
	r.flush()
	r.expect("", "90", "10.1.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201")
	if s := r.Stats(); s.Adds+s.Replaces+s.Deletes+s.ObjectWrites != 0 {
		t.Errorf("wrote %+v", s)
	}
	r.GatewayUp(r.link[0], netip.MustParseAddr("10.0.0.2"))
	r.wait(heal, "", "90", "10.1.0.0/16 nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1")
}

func TestSmallObjects(t *testing.T) {
	r := newRig(t, Config{})
	link := r.link[0]
	rules := []Rule{
		{Family: FamilyIPv4, Priority: 0, Table: 255},
		{Family: FamilyIPv4, Priority: 21, IIF: "lo", Table: 254},
		{Family: FamilyIPv4, Priority: 26, IIF: "v0", Table: 20},
		{Family: FamilyIPv4, Priority: 99, Table: 90},
		{Family: FamilyIPv6, Priority: 0, Table: 255},
		{Family: FamilyIPv6, Priority: 53, Table: 90},
		{Family: FamilyIPv4, Priority: 40, From: netip.MustParsePrefix("10.0.0.0/8"), To: netip.MustParsePrefix("10.1.0.0/16"), OIF: "v1", Mark: 7, Mask: 0xff,
			UIDs: UIDRange{true, 0, 10}, IPProto: 6, SourcePorts: Range{1, 2}, DestPorts: Range{80, 80}, Table: 100000, Suppress: true},
		{Family: FamilyIPv4, Priority: 41, Action: RuleGoto, Target: 99},
		{Family: FamilyIPv4, Priority: 42, Mark: 9, Action: RuleBlackhole},
		{Family: FamilyIPv4, Priority: 43, Mark: 10, Not: true, Action: RuleProhibit, TOS: 8},
	}
	setup := func() {
		for _, rule := range rules {
			if err := r.SetRule(rule); err != nil {
				t.Fatal(err)
			}
		}
		for _, ban := range []Rule{{Family: FamilyIPv4, Priority: 32766, Table: 254}, {Family: FamilyIPv4, Priority: 32767, Table: 253}, {Family: FamilyIPv6, Priority: 32766, Table: 254}} {
			if err := r.SetRuleAbsent(ban); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range []error{
			r.SetAddress(Address{IfIndex: link, Prefix: netip.MustParsePrefix("203.0.113.254/32"), Scope: ScopeLink}),
			r.SetAddress(Address{IfIndex: link, Prefix: netip.MustParsePrefix("fe80::1/64"), NoDAD: true}),
			r.SetNeighbor(Neighbor{IfIndex: link, Addr: netip.MustParseAddr("203.0.113.1"), MAC: [6]byte{0x50, 0x54, 0x33, 0, 0, 7}}),
			r.SetNeighbor(Neighbor{IfIndex: link, Addr: netip.MustParseAddr("203.0.113.3"), Proxy: true}),
			r.SetSysctl(Sysctl{"net/ipv4/conf/v0/proxy_arp", "1"}),
			r.SetSysctl(Sysctl{"net/ipv4/conf/later/proxy_arp", "1"}),
			r.SetSysctl(Sysctl{"net/ipv6/conf/all/forwarding", "1"}),
			r.SetSysctl(Sysctl{"net/ipv4/conf/v1/forwarding", "1"}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		r.Sweep()
		_ = r.tryFlush() // "later" does not exist
	}
	setup()
	want := "0: from all lookup local\n21: from all iif lo lookup main proto 201\n26: from all iif v0 lookup 20 proto 201\n" +
		"40: from 10.0.0.0/8 to 10.1.0.0/16 fwmark 0x7/0xff oif v1 uidrange 0-10 ipproto tcp sport 1-2 dport 80 lookup 100000 suppress_prefixlength 0 proto 201\n" +
		"41: from all goto 99 proto 201\n42: from all fwmark 0x9 blackhole proto 201\n43: not from all tos 0x08 fwmark 0xa prohibit proto 201\n99: from all lookup 90 proto 201"
	rulesNow := func(args string) string {
		return strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(r.ns.IP(args), "\t", " "), " \n", "\n"))
	}
	same := func(when string) {
		t.Helper()
		if !nstest.Promptly(heal, func() bool {
			return rulesNow("rule") == want && rulesNow("-6 rule") == "0: from all lookup local\n53: from all lookup 90 proto 201"
		}) {
			t.Fatalf("%s:\n%s\n%s\nwant:\n%s", when, rulesNow("rule"), rulesNow("-6 rule"), want)
		}
	}
	same("start")
	// Each in turn is broken by hand and must come back.
	for _, c := range [][]string{
		{"rule del priority 21"}, {"rule add priority 32766 lookup main"}, {"-6 rule del priority 53"},
	} {
		for _, args := range c {
			r.ns.IP(args)
			same(args)
		}
	}
	until := func(what string, limit time.Duration, cond func() bool) {
		t.Helper()
		if !nstest.Promptly(limit, cond) {
			t.Errorf("not within %v: %s", limit, what)
		}
	}
	has := func(args, text string) func() bool {
		return func() bool { return strings.Contains(r.ns.IP(args), text) }
	}
	addr := has("-4 addr show dev v0", "203.0.113.254/32 scope link")
	until("address", 0, addr)
	r.ns.IP("addr del 203.0.113.254/32 dev v0")
	until("address back", heal, addr)
	until("fe80::1", 0, has("-6 addr show dev v0", "fe80::1/64"))
	neigh := has("neigh show dev v0", "203.0.113.1 lladdr 50:54:33:00:00:07 PERMANENT")
	until("neighbour", 0, neigh)
	r.ns.IP("neigh del 203.0.113.1 dev v0")
	until("neighbour back", heal, neigh)
	until("proxy", 0, has("neigh show proxy", "203.0.113.3 dev v0"))
	sysctl := func(name, value string) func() bool {
		return func() bool { return strings.TrimSpace(r.ns.Exec("cat", "/proc/sys/"+name)) == value }
	}
	until("sysctl", 0, sysctl("net/ipv4/conf/v0/proxy_arp", "1"))
	r.Sysctl("net/ipv4/conf/v0/proxy_arp", "0")
	until("sysctl back", heal, sysctl("net/ipv4/conf/v0/proxy_arp", "1"))
	r.ns.Exec("sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
	until("forwarding back", heal, sysctl("net/ipv6/conf/all/forwarding", "1"))
	r.ns.Exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.ip_forward=0") // resets all interfaces
	until("forwarding of v1 back", heal, sysctl("net/ipv4/conf/v1/forwarding", "1"))
	r.ns.IP("link add later type bridge")
	until("sysctl of a new link", heal, sysctl("net/ipv4/conf/later/proxy_arp", "1"))
	r.ns.IP("link del later")
	r.ns.IP("link add later type bridge")
	until("sysctl of a link made again", heal, sysctl("net/ipv4/conf/later/proxy_arp", "1"))
	r.Sysctl("net/ipv4/conf/later/proxy_arp", "0")
	until("and back", heal, sysctl("net/ipv4/conf/later/proxy_arp", "1"))
	defer func() {
		r.DeleteAddress(Address{IfIndex: link, Prefix: netip.MustParsePrefix("203.0.113.254/32")})
		r.DeleteNeighbor(Neighbor{IfIndex: link, Addr: netip.MustParseAddr("203.0.113.1")})
		r.DeleteSysctl("net/ipv4/conf/v0/proxy_arp")
		r.DeleteSysctl("net/ipv4/conf/later/proxy_arp")
		r.DeleteRule(Rule{Family: FamilyIPv4, Priority: 42, Mark: 9, Action: RuleBlackhole})
		r.flush()
		r.Sysctl("net/ipv4/conf/v0/proxy_arp", "0")
		until("address gone", 0, func() bool { return !addr() })
		until("neighbour gone", 0, func() bool { return !neigh() })
		until("rule gone", 0, func() bool { return !strings.Contains(r.ns.IP("rule"), "42:") })
		time.Sleep(20 * time.Millisecond)
		until("sysctl forgotten", 0, sysctl("net/ipv4/conf/v0/proxy_arp", "0"))
	}()
	for range 20 {
		r.stop()
		r.start(Config{NetNS: r.ns.Path})
		setup()
		if s := r.Stats(); s.RuleWrites+s.OtherWrites != 0 {
			t.Fatalf("restart wrote %+v: %v, failing %v", s, rulesNow("rule"), r.tryFlush())
		}
	}
	same("20 restarts")
	if d := r.Diff(); len(d) > 0 {
		t.Errorf("differences: %v", d)
	}
}

func TestLearn(t *testing.T) {
	r := newRig(t, Config{})
	r.ns.IP("route add 10.1.0.0/16 via 10.0.0.2 table 90")
	r.ns.IP("route add blackhole default table 90 metric 4294967294")
	r.ns.IP("route add 10.2.0.0/16 via 10.0.0.2 table 90 proto 201")
	r.ns.IP("route add 10.3.0.0/16 via 10.0.0.2 table 91")
	r.ns.IP("route add 2001:db8:1::/64 table 90 nexthop via fd00::2 dev v0 nexthop via fd01::2 dev v1")
	l := r.Learn(Filter{Tables: []uint32{90}})
	defer l.Close()
	synced := false
	next := func() (string, bool) {
		ctx, cancel := context.WithTimeout(context.Background(), nstest.Patience)
		defer cancel()
		var out []string
		var buf [16]LearnChange
		n, err := l.Next(ctx, buf[:])
		if err != nil {
			return err.Error(), synced
		}
		for _, c := range buf[:n] {
			if c.Synced {
				synced = true
				continue
			}
			s := c.RouteKey.String()
			if c.Gone {
				s = "-" + s
			}
			for _, h := range c.NextHops {
				s += " " + h.Gateway.String()
				if h.OnLink {
					s += " onlink"
				}
			}
			out = append(out, s)
		}
		return strings.Join(out, ","), synced
	}
	expect := func(want string) {
		t.Helper()
		got, synced := next()
		for !synced { // the snapshot may come in parts
			var more string
			if more, synced = next(); more != "" {
				got += "," + more
			}
		}
		parts := strings.Split(got, ",") // in no order
		slices.Sort(parts)
		if got = strings.Join(parts, ","); got != want {
			t.Errorf("learned %q, want %q", got, want)
		}
	}
	expect("10.1.0.0/16 table 90 10.0.0.2,2001:db8:1::/64 table 90 metric 1024 fd00::2 fd01::2")
	start := time.Now()
	r.ns.IP("route add 203.0.113.10/32 via 203.0.113.1 dev v0 onlink table 90 metric 10")
	expect("203.0.113.10/32 table 90 metric 10 203.0.113.1 onlink")
	t.Logf("ip and learning: %v", time.Since(start))
	r.ns.IP("route del 203.0.113.10/32 table 90 metric 10")
	expect("-203.0.113.10/32 table 90 metric 10")
	r.ns.IP("route replace 10.1.0.0/16 via 10.0.0.3 table 90")
	expect("10.1.0.0/16 table 90 10.0.0.3")
	r.ns.IP("-6 route del 2001:db8:1::/64 via fd00::2 dev v0 table 90")
	expect("2001:db8:1::/64 table 90 metric 1024 fd01::2")
	r.ns.IP("link set v0 down") // no RTM_DELROUTE in IPv4
	expect("-10.1.0.0/16 table 90")
	r.ns.IP("link set v1 down")
	expect("-2001:db8:1::/64 table 90 metric 1024")
}

// Resilient groups: made, shrunk, put together again, adopted.
func TestResilient(t *testing.T) {
	r := newRig(t, Config{})
	route := Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2"), Buckets: 32}
	other := Route{RouteKey: key(90, "10.2.0.0/16", 0), NextHops: route.NextHops}
	r.set(route, other)
	r.Sweep()
	r.flush()
	groups := func() string { return r.ns.IP("nexthop show groups") }
	if g := groups(); strings.Count(g, "type resilient buckets 32 ") != 1 || strings.Count(g, "group") != 2 {
		t.Fatal(g)
	}
	hop := route.NextHops[0]
	r.GatewayDown(hop.IfIndex, hop.Gateway)
	r.wait(heal, "", "90", "10.1.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201", "10.2.0.0/16 nhid N via 10.0.1.2 dev v1 proto 201")
	r.GatewayUp(hop.IfIndex, hop.Gateway)
	r.flush()
	both := " nhid N proto 201 | nexthop via 10.0.0.2 dev v0 weight 1 | nexthop via 10.0.1.2 dev v1 weight 1"
	r.expect("", "90", "10.1.0.0/16"+both, "10.2.0.0/16"+both)
	if d := r.Diff(); len(d) > 0 || strings.Count(groups(), "type resilient buckets 32 ") != 1 {
		t.Errorf("%v\n%s", d, groups())
	}
	r.stop()
	r.start(Config{NetNS: r.ns.Path})
	r.set(route, other)
	r.Sweep()
	r.flush()
	if s := r.Stats(); s.Adds+s.Replaces+s.Deletes+s.ObjectWrites != 0 {
		t.Errorf("restart wrote %+v", s)
	}
}

// The end of Run leaves no goroutine and no descriptor, and New makes none.
func TestNoLeak(t *testing.T) {
	r := newRig(t, Config{})
	r.stop()
	before, files := runtime.NumGoroutine(), descriptors(t)
	for range 5 {
		r.start(Config{NetNS: r.ns.Path})
		r.set(Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: r.via("10.0.0.2", "10.0.1.2")})
		r.flush()
		l := r.Learn(Filter{Tables: []uint32{90}})
		r.stop()
		for _, err := range l.All(t.Context()) {
			if err != nil && err != ErrClosed {
				t.Error(err)
			}
		}
		for what, err := range map[string]error{"SetRoute": r.SetRoute(Route{}), "DeleteRoute": r.DeleteRoute(RouteKey{}), "DeleteRule": r.DeleteRule(Rule{}), "DeleteAddress": r.DeleteAddress(Address{}),
			"DeleteNeighbor": r.DeleteNeighbor(Neighbor{}), "DeleteSysctl": r.DeleteSysctl(""), "Run": r.Run(t.Context())} {
			if err != ErrClosed {
				t.Errorf("%s after the end: %v", what, err)
			}
		}
		if err := r.Flush(t.Context()); err != ErrClosed {
			t.Errorf("Flush after the end: %v", err)
		}
	}
	if _, err := New(Config{NetNS: r.ns.Path}); err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, time.Second, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
	if n := descriptors(t); n > files {
		t.Errorf("%d descriptors, %d before", n, files)
	}
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A group with many routes is not replaced in place: the kernel would tell of each
// route, under RTNL. It is built anew, and the routes are moved.
func TestBigGroup(t *testing.T) {
	r := newRig(t, Config{})
	r.Sweep()
	const n = 4096 + 1000 // more than what is replaced in place
	for _, v6 := range []bool{false, true} {
		for i := range n {
			r.set(Route{RouteKey: RouteKey{Table: 90, Prefix: benchPrefix(v6, i)}, NextHops: r.benchHops(v6, 2, false)})
		}
	}
	r.flush()
	before := r.Stats()
	hop := r.benchHops(false, 1, false)[0]
	r.GatewayDown(hop.IfIndex, hop.Gateway)
	r.flush()
	if s := r.Stats(); s.ObjectWrites != before.ObjectWrites+1 || s.Replaces != before.Replaces {
		t.Errorf("failover of %d routes: %d object messages and %d of routes", n, s.ObjectWrites-before.ObjectWrites, s.Replaces-before.Replaces)
	}
	r.GatewayUp(hop.IfIndex, hop.Gateway)
	r.flush()
	if s := r.Stats(); s.Replaces != before.Replaces+n || s.Installed != 2*n {
		t.Errorf("repair replaced %d routes, want %d; %d installed", s.Replaces-before.Replaces, n, s.Installed)
	}
	if got := strings.Count(r.ns.IP("route show table 90"), "via 10.0.0.2 dev v0"); got != n {
		t.Errorf("%d routes have the gateway back, want %d", got, n)
	}
	if !nstest.Promptly(3*time.Second, func() bool { return strings.Count(r.ns.IP("nexthop"), "group") == 2 }) {
		t.Fatalf("left over:\n%s", r.ns.IP("nexthop"))
	}
}
