package bfd

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestFailover: two next hops with a group each way, watched by two sessions. The
// one that goes Down takes its object along; the other one, its guard gone, does
// not. Objects that are not what they were, or stand alone, are left.
func TestFailover(t *testing.T) { nstest.Steady(t, stillness, testFailover) }

func testFailover(t testing.TB) {
	p := newPair(t)
	p.a.IP("addr add 10.9.1.1/24 dev v0")
	p.b.IP("addr add 10.9.1.2/24 dev v0")
	shown := p.a.IP("-o link show v0")
	link, err := strconv.Atoi(strings.SplitN(shown, ":", 2)[0])
	if err != nil {
		t.Fatalf("%q", shown)
	}
	p.a.IP("nexthop add id 101 via 10.9.0.2 dev v0")
	p.a.IP("nexthop add id 102 via 10.9.1.2 dev v0")
	p.a.IP("nexthop add id 103 via 10.9.0.7 dev v0")
	p.a.IP("nexthop add id 104 via 10.9.0.2 dev v0")
	p.a.IP("nexthop add id 200 group 101/102/103")
	p.a.IP("nexthop add id 201 group 101/102 proto 201")
	p.a.IP("route add 198.51.100.0/24 nhid 201")

	one, two := fast(p.key("10.9.0.2")), fast(p.key("10.9.0.2"))
	two.Peer, two.Local = netip.MustParseAddr("10.9.1.2"), netip.MustParseAddr("10.9.1.1")
	via := netip.MustParseAddr
	one.Failover = []NextHop{
		{ID: 101, IfIndex: link, Gateway: via("10.9.0.2"), Guards: []Key{two.Key}},
		{ID: 103, IfIndex: link, Gateway: via("10.9.0.2")}, // has another gateway now
		{ID: 104, IfIndex: link, Gateway: via("10.9.0.2")}, // in no group
		{ID: 999, IfIndex: link, Gateway: via("10.9.0.2")}, // gone
	}
	two.Failover = []NextHop{{ID: 102, IfIndex: link, Gateway: via("10.9.1.2"), Guards: []Key{one.Key}}}

	remote := p.remote(t, p.mirror(one), p.mirror(two))
	s := newServer(t)
	s.add(one)
	s.add(two)
	for _, k := range []Key{one.Key, two.Key} {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
	}
	cut := func(addr string) { p.b.Exec("nft", "add rule ip t out ip saddr "+addr+" drop") }
	p.b.Exec("nft", "add table ip t")
	p.b.Exec("nft", "add chain ip t out { type filter hook output priority 0; }")

	cut("10.9.0.2")
	results := s.failover(one.Key)
	if len(results) != 4 || !results[0].Deleted || results[0].Took > 50*time.Millisecond {
		t.Fatalf("%+v", results)
	}
	for i, want := range []string{"", "another object", "no group", "no such object"} {
		if i > 0 && !strings.Contains(results[i].Err, want) {
			t.Errorf("%+v, want %q", results[i], want)
		}
	}
	t.Logf("deleted %v after the Down", results[0].Took)
	if out := p.a.IP("nexthop show"); strings.Contains(out, "id 101 ") || !strings.Contains(out, "id 201 group 102 proto 201") {
		t.Error(out)
	}

	cut("10.9.1.2")
	results = s.failover(two.Key)
	if len(results) != 1 || results[0].Deleted || !strings.Contains(results[0].Err, "guards") {
		t.Errorf("the last path was taken away: %+v", results)
	}
	if out := p.a.IP("route show 198.51.100.0/24"); !strings.Contains(out, "nhid 201") {
		t.Error("route is gone:", out)
	}
	_ = remote

	t.Log("an object that one group cannot spare is taken out of the others")
	p.b.Exec("nft", "flush chain ip t out")
	for _, k := range []Key{one.Key, two.Key} {
		s.statusIs(k, "Up", func(st Status) bool { return st.State == StateUp })
	}
	p.a.IP("nexthop add id 101 via 10.9.0.2 dev v0")
	p.a.IP("nexthop add id 105 via 10.9.0.9 dev v0")
	p.a.IP("nexthop replace id 201 group 101/102")
	p.a.IP("nexthop add id 202 group 101/105")
	one.Failover = []NextHop{
		{ID: 101, IfIndex: link, Gateway: via("10.9.0.2"), Guards: []Key{two.Key}},
		{ID: 105, IfIndex: link, Gateway: via("10.9.0.9"), Guards: []Key{two.Key}},
	}
	s.add(one)
	s.clear()
	cut("10.9.0.2")
	results = s.failover(one.Key)
	if len(results) != 2 || results[0].Deleted || !strings.Contains(results[0].Err, "taken out of 1") || results[1].Deleted {
		t.Errorf("%+v", results)
	}
	if out := p.a.IP("nexthop show"); !strings.Contains(out, "id 201 group 102 proto 201") || !strings.Contains(out, "id 202 group 101/105") {
		t.Error(out)
	}
	if out := p.a.IP("route show 198.51.100.0/24"); !strings.Contains(out, "nhid 201") {
		t.Error("route is gone:", out)
	}
}

// failover waits for the report.
func (r *trial) failover(k Key) []FailoverResult {
	r.tb.Helper()
	for {
		if e := r.until(k, StateDown); e.Failover != nil {
			return e.Failover
		}
	}
}
