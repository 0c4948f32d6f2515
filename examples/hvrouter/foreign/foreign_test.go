package foreign

import (
	"fmt"
	"net/netip"
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
}

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
	list, err = Find(tables{}, []nftrace.ForeignChain{{Text: "a", Drops: true}, {Text: "b", Rules: 2}, {Text: "c"}}, want)
	if err != nil || len(list) != 2 || list[0].Unsure || !list[1].Unsure {
		t.Errorf("%v, %v", list, err)
	}
}
