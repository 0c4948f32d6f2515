package foreign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
)

var prefix = netip.MustParsePrefix

// tables is a kernel as a value.
type tables struct {
	rules  []lookup.Rule
	routes []lookup.Route
	links  []lookup.Link
}

func (t tables) Links() []lookup.Link { return t.links }

func (t tables) Rules(six bool) (list []lookup.Rule, err error) {
	if !six {
		list = t.rules
	}
	return list, nil
}

func (t tables) Foreign(table uint32, six bool, f func(lookup.Route)) error {
	for _, r := range t.routes {
		if r.Table == table && r.Prefix.Addr().Is6() == six {
			f(r)
		}
	}
	return nil
}

var want = Want{
	NetNS:    "red",
	Rules:    []domain.Rule{{Priority: 53, IIF: "vm1", Table: 90}, {Priority: 99, Table: 90}, {IPv6: true, Priority: 200, Table: 90}},
	Routes:   []Route{{90, prefix("203.0.113.2/32"), 10}, {90, prefix("203.0.113.0/24"), 4000}, {90, prefix("2001:db8:1::/64"), 1024}},
	Uplink:   func(link string) bool { return link == "a.public" },
	Overlay:  func(link string) bool { return link == "vx7" || link == "br7" },
	Concerns: func(link string) bool { return link == "a.public" || link == "vm1" },
	Own:      func(a netip.Addr) bool { return a == netip.MustParseAddr("198.51.100.101") },
}

func TestRules(t *testing.T) {
	const boot = 3
	for _, c := range []struct {
		rule lookup.Rule
		want string
	}{
		{lookup.Rule{Priority: 5, Action: lookup.ActionProhibit, Protocol: boot}, "5: from all prohibit"},
		{lookup.Rule{Priority: 99, Action: lookup.ActionTable, Table: 77, Suppress: -1, Protocol: boot}, "99: from all lookup 77"},
		{lookup.Rule{Priority: 100, Action: lookup.ActionProhibit, Protocol: boot}, ""}, // after our last
		{lookup.Rule{Priority: 5, Action: lookup.ActionNop, Protocol: boot}, ""},
		{lookup.Rule{Priority: 0, Action: lookup.ActionTable, Table: 255, Suppress: -1, Protocol: 2}, ""}, // the kernel's
		{lookup.Rule{Priority: 5, Action: lookup.ActionProhibit, Protocol: lookup.Ours}, ""},
		{lookup.Rule{Priority: 5, IIF: "lo", Action: lookup.ActionProhibit, Protocol: boot}, ""},
		{lookup.Rule{Priority: 5, IIF: "mgmt", Action: lookup.ActionProhibit, Protocol: boot}, ""},
		{lookup.Rule{Priority: 5, IIF: "vm1", Action: lookup.ActionBlackhole, Protocol: boot}, "5: from all iif vm1 blackhole"},
		{lookup.Rule{Priority: 5, OIF: "a.public", Action: lookup.ActionProhibit, Protocol: boot}, ""},
		{lookup.Rule{Priority: 5, UIDs: true, Action: lookup.ActionProhibit, Protocol: boot}, ""},
		{lookup.Rule{Priority: 5, From: prefix("198.51.100.101/32"), Action: lookup.ActionTable, Table: 7, Suppress: -1, Protocol: boot}, ""}, // the host's own packets
		{lookup.Rule{Priority: 5, From: prefix("203.0.113.1/32"), Action: lookup.ActionUnreachable, Protocol: boot}, "5: from 203.0.113.1/32 unreachable"},
		{lookup.Rule{Priority: 5, Mark: 1, Mask: 1, Action: lookup.ActionProhibit, Protocol: boot}, "5: from all fwmark 0x1/0x1 prohibit unsure"},
	} {
		list, err := Find(tables{rules: []lookup.Rule{c.rule}}, nil, want)
		got := ""
		for _, f := range list {
			got = f.What
			if f.Unsure {
				got += " unsure"
			}
			if f.Kind != "rule" || f.NetNS != "red" || !strings.Contains(f.Why, "before ours") {
				t.Errorf("%+v", f)
			}
		}
		if got != c.want || err != nil {
			t.Errorf("%v: %q, %v; want %q", c.rule, got, err, c.want)
		}
	}
}

func TestRoutes(t *testing.T) {
	over := func(link string) []lookup.Hop { return []lookup.Hop{{Link: link, IfIndex: 2}} }
	for _, c := range []struct {
		route lookup.Route
		want  string
	}{
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.2/32"), Metric: 1, Type: lookup.Unicast, Hops: over("vm1")}, "beats ours, which has metric 10"},
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.2/32"), Metric: 20, Type: lookup.Unicast, Hops: over("vm1")}, ""},
		{lookup.Route{Table: 91, Prefix: prefix("203.0.113.2/32"), Metric: 1, Type: lookup.Unicast, Hops: over("vm1")}, ""},
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.7/32"), Type: lookup.Unicast, Hops: over("vm7")}, ""}, // a guest of another program
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.7/32"), Type: lookup.Unicast, Hops: over("a.public")}, "a part of ours to 203.0.113.0/24 out over a.public"},
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.7/32"), Type: lookup.Blackhole}, "takes a part out of ours to 203.0.113.0/24"},
		{lookup.Route{Table: 90, Prefix: prefix("0.0.0.0/0"), Type: lookup.Unicast, Hops: over("a.public")}, ""},
		{lookup.Route{Table: 90, Prefix: prefix("192.0.2.0/24"), Type: lookup.Unicast, Hops: over("a.public")}, ""},
		{lookup.Route{Table: 90, Prefix: prefix("2001:db8:1::/64"), Metric: 1, Type: lookup.Unreachable}, "beats ours, which has metric 1024"},
	} {
		list, err := Find(tables{routes: []lookup.Route{c.route}}, nil, want)
		if err != nil || len(list) > 1 || (len(list) == 1) != (c.want != "") || len(list) == 1 && !strings.Contains(list[0].Why, c.want) {
			t.Errorf("%v: %+v, %v; want %q", c.route, list, err, c.want)
		}
	}
}

// TestBGP: a foreign route in the place of one that BGP has, or that takes a part out of it, says what of both counts.
func TestBGP(t *testing.T) {
	over := func(links ...string) (list []lookup.Hop) {
		for i, link := range links {
			list = append(list, lookup.Hop{Link: link, IfIndex: 2 + i})
		}
		return list
	}
	p := prefix("192.0.2.0/24")
	bgp := BGP{Prefix: p, Metric: 64, Text: "192.0.2.0/24 via 198.51.100.126 dev a.public metric 64"}
	taken, waits, whole := bgp, bgp, BGP{Prefix: prefix("0.0.0.0/0"), Metric: 64, Text: "TEXT", Taken: true}
	taken.Taken, waits.Waits = true, true
	const ours = "192.0.2.0/24 via 198.51.100.126 dev a.public metric 64"
	for _, c := range []struct {
		route lookup.Route
		bgp   BGP
		want  string
	}{
		{lookup.Route{Prefix: p, Metric: 1, Type: lookup.Unicast, Hops: over("eth9")}, bgp, "it beats BGP's, " + ours + ": packets for it go there"},
		{lookup.Route{Prefix: p, Metric: 1, Type: lookup.Blackhole}, bgp, "it beats BGP's, " + ours + ": packets for it are dropped"},
		{lookup.Route{Prefix: p, Metric: 1, Type: lookup.Throw}, bgp, "it beats BGP's, " + ours + ": packets for it are for the rules that follow"},
		{lookup.Route{Prefix: p, Metric: 65, Type: lookup.Blackhole}, bgp, ""},
		{lookup.Route{Prefix: p, Metric: 65, TOS: 8, Type: lookup.Local}, bgp, "it beats BGP's, " + ours + ", for packets with that TOS: packets for it are for this host"},
		{lookup.Route{Prefix: p, Metric: 64, Type: lookup.Blackhole}, bgp, ""}, // it stands behind ours
		{lookup.Route{Prefix: p, Metric: 64, Type: lookup.Blackhole}, waits, "BGP's, " + ours + ", waits, since this one was there before it with the same metric: packets for it are dropped"},
		{lookup.Route{Prefix: p, Metric: 900, Type: lookup.Unicast, Hops: over("a.public")}, taken, "BGP's, " + ours + ", is not written, since this one is announced: packets for it go there"},
		{lookup.Route{Prefix: p, Metric: 900, Type: lookup.Unicast, Hops: over("vm1", "a.public")}, taken, "BGP's, " + ours + ", is not written, since this one is announced: packets for it go there"},
		{lookup.Route{Prefix: p, Type: lookup.Unicast, Hops: over("vm1")}, taken, ""}, // a guest's, that is elsewhere as well
		{lookup.Route{Prefix: p, Type: lookup.Unicast, Hops: over("docker0")}, taken, "unsure BGP's, " + ours + ", is not written, since this one is announced: packets for it go there"},
		{lookup.Route{Prefix: prefix("0.0.0.0/0"), Type: lookup.Unicast, Hops: over("eth9")}, whole, "BGP's, TEXT, is not written, since this one is announced: packets for it go there"},
		{lookup.Route{Prefix: prefix("192.0.2.7/32"), Type: lookup.Unicast, Hops: over("vm1")}, bgp, ""},
		{lookup.Route{Prefix: prefix("192.0.2.7/32"), Type: lookup.Unicast, Hops: over("a.public")}, bgp, "it takes a part out of BGP's, " + ours + ": packets for it go there"},
		{lookup.Route{Prefix: prefix("192.0.2.7/32"), Type: lookup.Unreachable}, bgp, "it takes a part out of BGP's, " + ours + ": packets for it are dropped"},
		{lookup.Route{Prefix: p, Type: lookup.Blackhole}, BGP{}, ""},
		// What it does to BGP's is said of one that takes a part out of ours, too, if it is for the same prefix.
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.9/32"), Metric: 1, Type: lookup.Blackhole}, BGP{Prefix: prefix("203.0.113.9/32"), Metric: 64, Text: "TEXT"}, "it beats BGP's, TEXT: packets for it are dropped"},
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.9/32"), Metric: 65, Type: lookup.Blackhole}, BGP{Prefix: prefix("203.0.113.9/32"), Metric: 64, Text: "TEXT"}, "it takes a part out of ours to 203.0.113.0/24"},
		{lookup.Route{Table: 90, Prefix: prefix("203.0.113.9/32"), Metric: 1, Type: lookup.Blackhole}, BGP{Prefix: prefix("203.0.0.0/16"), Metric: 64, Text: "TEXT"}, "it takes a part out of ours to 203.0.113.0/24"},
		{lookup.Route{Table: 91, Prefix: p, Type: lookup.Blackhole}, bgp, ""}, // no table of ours
	} {
		if c.route.Table == 0 {
			c.route.Table = 92 // which has nothing of ours but what BGP brings
		}
		w := want
		w.Tables = []uint32{90, 92}
		w.BGP = func(list []lookup.Route) []BGP { return slices.Repeat([]BGP{c.bgp}, len(list)) }
		list, err := Find(tables{routes: []lookup.Route{c.route}}, nil, w)
		got := ""
		for _, f := range list {
			if got = f.Why; f.Unsure {
				got = "unsure " + got
			}
			if f.Kind != "route" || f.NetNS != "red" || f.What != c.route.String() {
				t.Errorf("%+v", f)
			}
		}
		if got != c.want || err != nil {
			t.Errorf("%v: %q, %v; want %q", c.route, got, err, c.want)
		}
	}
}

// BGP is asked about a few hundred routes at a time, and no more once there is enough to say.
func TestBGPAtOnce(t *testing.T) {
	var k tables
	for i := range 10 * atOnce {
		k.routes = append(k.routes, lookup.Route{Table: 90, Prefix: prefix(fmt.Sprintf("192.0.%d.%d/32", i/256, i%256)), Type: lookup.Blackhole})
	}
	asked, replaced := 0, true
	w := want
	w.Tables = []uint32{90}
	w.BGP = func(list []lookup.Route) (out []BGP) {
		if asked += len(list); len(list) > atOnce {
			t.Errorf("asked about %d at once", len(list))
		}
		for _, r := range list {
			b := BGP{Metric: 64}
			if replaced {
				b.Prefix = r.Prefix
			}
			out = append(out, b)
		}
		return out
	}
	if list, err := Find(k, nil, w); err != nil || len(list) != Most || asked != atOnce {
		t.Errorf("%d, %v, asked about %d", len(list), err, asked)
	}
	asked, replaced = 0, false
	if list, err := Find(k, nil, w); err != nil || len(list) != 0 || asked != 10*atOnce {
		t.Errorf("%d, %v, asked about %d", len(list), err, asked)
	}
}

// However much others have, the answer is bounded; what is certain of chains is told from what is not.
func TestMost(t *testing.T) {
	var k tables
	for i := range 3 * Most {
		k.routes = append(k.routes, lookup.Route{Table: 90, Prefix: prefix(fmt.Sprintf("203.0.113.%d/32", i%256)), Type: lookup.Blackhole})
	}
	list, err := Find(k, nil, want)
	if err != nil || len(list) != Most {
		t.Errorf("%d, %v", len(list), err)
	}
	// Of more than that, in several tables, each look has the same, and rules and chains have a place of their own.
	k, before := tables{}, ""
	for i := range Most + 10 {
		text := fmt.Sprintf("%d.0/24", i)
		k.rules = append(k.rules, lookup.Rule{Priority: 5, Mask: 1, Action: lookup.ActionProhibit, Protocol: 3})
		k.routes = append(k.routes, lookup.Route{Table: 92, Prefix: prefix("100.0." + text), Type: lookup.Blackhole}, lookup.Route{Table: 90, Prefix: prefix("101.0." + text), Type: lookup.Blackhole},
			lookup.Route{Table: 91, Prefix: prefix(fmt.Sprintf("2001:db8::%d/128", i)), Type: lookup.Blackhole}, lookup.Route{Table: 91, Prefix: prefix("102.0." + text), Type: lookup.Blackhole})
	}
	k.rules = append(k.rules, lookup.Rule{Priority: 5, Action: lookup.ActionProhibit, Protocol: 3}) // the only one that is certain
	w := want
	w.Tables = []uint32{92, 91, 90}
	w.BGP = func(list []lookup.Route) (out []BGP) {
		for _, r := range list {
			out = append(out, BGP{Metric: 64, Prefix: r.Prefix, Text: "TEXT"})
		}
		return out
	}
	for range 20 {
		list, err := Find(k, []nftrace.ForeignChain{{Text: "a", Drops: true}}, w)
		of := map[string]int{}
		for _, f := range list {
			of[f.Kind]++
		}
		if err != nil || fmt.Sprint(of) != fmt.Sprintf("map[chain:1 route:%d rule:%d]", Most, Most) || list[0].Unsure {
			t.Fatalf("%v, %v, %+v", of, err, list[0])
		}
		if now := fmt.Sprint(list); before != "" && now != before {
			t.Fatal("another look has others")
		} else {
			before = now
		}
	}
	list, err = Find(tables{}, []nftrace.ForeignChain{{Text: "a", Drops: true}, {Text: "b", Rules: 2}, {Text: "c"}}, want)
	if err != nil || len(list) != 2 || list[0].Unsure || !list[1].Unsure {
		t.Errorf("%v, %v", list, err)
	}
}
