package bfd

import (
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestNamespaceName: a session goes on in its namespace when that loses its name, and
// takes dead next hops out of it; added again after the name was given to another
// namespace, it is made anew there.
func TestNamespaceName(t *testing.T) { nstest.Steady(t, stillness, testNamespaceName) }

func testNamespaceName(t testing.TB) {
	p := newPair(t)
	p.a.IP("addr add 10.9.1.1/24 dev v0")
	p.b.IP("addr add 10.9.1.2/24 dev v0")
	link, _ := strconv.Atoi(strings.SplitN(p.a.IP("-o link show v0"), ":", 2)[0])
	p.a.IP("nexthop add id 101 via 10.9.0.2 dev v0")
	p.a.IP("nexthop add id 102 via 10.9.1.2 dev v0")
	p.a.IP("nexthop add id 201 group 101/102 proto 201")
	p.a.IP("route add 198.51.100.0/24 nhid 201")
	one, two := fast(p.key("10.9.0.2")), fast(p.key("10.9.0.2"))
	two.Peer, two.Local = netip.MustParseAddr("10.9.1.2"), netip.MustParseAddr("10.9.1.1")
	one.Failover = []NextHop{{ID: 101, IfIndex: link, Gateway: netip.MustParseAddr("10.9.0.2"), Guards: []Key{two.Key}}}
	two.Failover = []NextHop{{ID: 102, IfIndex: link, Gateway: netip.MustParseAddr("10.9.1.2"), Guards: []Key{one.Key}}}
	p.remote(t, p.mirror(one), p.mirror(two))
	s := newServer(t)
	s.add(one)
	s.add(two)
	up := func(st Status) bool { return st.State == StateUp }
	s.statusIs(one.Key, "Up", up)
	s.statusIs(two.Key, "Up", up)

	p.b.Exec("nft", "add table ip t")
	p.b.Exec("nft", "add chain ip t out { type filter hook output priority 0; }")
	discr := s.status(two.Key).Discr
	name := func(word string) {
		if out, err := exec.Command("ip", "netns", word, p.a.Name).CombinedOutput(); err != nil {
			t.Fatalf("ip netns %s: %v, %s", word, err, out)
		}
	}
	name("del")
	p.b.Exec("nft", "add rule ip t out ip saddr 10.9.0.2 drop")
	if r := s.failover(one.Key); len(r) != 1 || !r[0].Deleted {
		t.Errorf("in a namespace without a name: %+v", r)
	}
	s.add(two)
	if st := s.status(two.Key); st.Discr != discr || st.State != StateUp {
		t.Errorf("added again without a name: %v, discriminator %d, was %d", st.State, st.Discr, discr)
	}
	name("add")
	s.add(two)
	s.statusIs(two.Key, "made anew in another namespace", func(st Status) bool { return st.Discr != discr && st.State == StateDown && st.Err != "" })
	s.add(one)
	if err := s.Remove(one.Key); err != nil {
		t.Error(err)
	}
	if err := s.Remove(two.Key); err != nil {
		t.Error(err)
	}
}
