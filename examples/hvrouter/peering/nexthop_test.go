package peering

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// two is a hypervisor whose sessions, one a fabric, carry two domains.
const two = `router-id: 0.0.1.1
as: 65000
domains:
  - {name: public, table: 90, community: "65000:90"}
  - {name: private, table: 20, community: "65000:20"}
sessions:
  - {fabric: A, interface: a.public, local: 198.51.100.101, peer: 198.51.100.126, families: [ipv4, ipv6], next-hop6: "2001:db8:c633:6400::1",
     advertise-next-hops: [{domain: public}, {domain: private, interface: a.private, next-hop4: 172.22.15.101, probe: 172.22.15.126}]}
  - {fabric: B, interface: b.public, local: 198.51.100.201, peer: 198.51.100.226, families: [ipv4, ipv6], next-hop6: "2001:db8:c633:6401::1",
     advertise-next-hops: [{domain: public}, {domain: private, interface: b.private, next-hop4: 172.22.15.201, probe: 172.22.15.226}]}
`

// one is a hypervisor with one session for both fabrics.
const one = `router-id: 0.0.1.1
as: 65000
domains:
  - name: public
    table: 90
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.101, peer: 198.51.100.126,
         advertise-next-hops: [{fabric: A}, {fabric: B, interface: b.public, next-hop4: 198.51.100.201, probe: 198.51.100.226}]}
`

func parse(t *testing.T, file string) *config.Config {
	t.Helper()
	c, err := config.Parse("f", []byte(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWatchesOfWays(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"communities": {two, `
198.51.100.101 -> 198.51.100.126%a.public: public 4 a.public, public 6 a.public; wide
198.51.100.201 -> 198.51.100.226%b.public: public 4 b.public, public 6 b.public; wide
172.22.15.101 -> 172.22.15.126%a.private: private 4 a.private; probe
172.22.15.201 -> 172.22.15.226%b.private: private 4 b.private; probe`},
		"without probes": {strings.NewReplacer(", probe: 172.22.15.126", "", ", probe: 172.22.15.226", "").Replace(two), `
198.51.100.101 -> 198.51.100.126%a.public: public 4 a.public, public 6 a.public, private 4 a.private
198.51.100.201 -> 198.51.100.226%b.public: public 4 b.public, public 6 b.public, private 4 b.private`},
		"single": {one, `
198.51.100.101 -> 198.51.100.126%a.public: public 4 a.public; wide
198.51.100.201 -> 198.51.100.226%b.public: public 4 b.public; probe`},
	} {
		var b strings.Builder
		all := Watches(parse(t, c.file))
		for _, w := range all {
			var nextHops []string
			for _, nextHop := range w.NextHops {
				nextHops = append(nextHops, fmt.Sprintf("%s %d %s", nextHop.Domain, map[bool]int{false: 4, true: 6}[nextHop.IPv6], nextHop.Link))
			}
			fmt.Fprintf(&b, "\n%v: %s", w.Key, strings.Join(nextHops, ", "))
			if w.Probe() {
				b.WriteString("; probe")
			}
			if w.Wide {
				b.WriteString("; wide")
			}
		}
		if b.String() != c.want {
			t.Errorf("%s: %s\nwant%s", name, b.String(), c.want)
		}
		// Each way has an alternative on the other fabric, watched by another session.
		for _, w := range all {
			for _, nextHop := range w.NextHops {
				if keys, alone := guards(w, nextHop, all); !alone || len(keys) != 1 || keys[0] == w.Key {
					t.Errorf("%s: %+v of %v is guarded by %v", name, nextHop, w.Key, keys)
				}
			}
		}
	}
}

// A probe that is the peer of another session is one BFD session that speaks for both.
func TestProbeIsPeer(t *testing.T) {
	c := parse(t, one+`      - {fabric: B, interface: b.public, local: 198.51.100.201, peer: 198.51.100.226}`+"\n")
	all := Watches(c)
	if len(all) != 2 || all[1].Probe() || all[1].Peer.Addr != addr("198.51.100.226") || len(all[1].NextHops) != 1 {
		t.Errorf("%+v", all)
	}
	key := bfd.Key{Local: addr("198.51.100.201"), Peer: addr("198.51.100.226"), Interface: "b.public"}
	if all[1].Key != key {
		t.Errorf("key %v", all[1].Key)
	}
}

// advertised says what a peer is sent of a prefix: next hops and communities, sorted.
func advertised(t *testing.T, out *rib.Out, p netip.Prefix) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	for out.Fill(buf) > 0 {
	}
	var list []string
	ids := map[uint32]bool{}
	for _, a := range out.Advertised(p) {
		s := a.Attrs.NextHop().Addr.String()
		for c := range a.Attrs.Communities().All() {
			s += " " + c.String()
		}
		list, ids[a.PathID] = append(list, s), true
	}
	if len(ids) != len(list) {
		t.Errorf("%d paths with %d identifiers", len(list), len(ids))
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// Both domains originate the default route. Each session announces both, with its own
// next hop in each domain, and only what is alive.
func TestOnly(t *testing.T) {
	c := parse(t, two)
	members := Members(c, c.Domains[1])
	if len(members) != 2 || members[0].NextHops != 1 || members[1].Community != wire.NewCommunity(65000, 20) {
		t.Fatalf("%+v", members)
	}
	table, in := newTable(t, nil)
	all4, all6 := prefix("0.0.0.0/0"), prefix("::/0")
	for no, m := range members {
		for _, p := range []netip.Prefix{all4, all6} {
			_ = table.Originate(rib.LocalPath{Prefix: p, PathID: PathID(no, 0), Attrs: wire.PathAttrs{Communities: []wire.Community{m.Community}}})
		}
	}
	nextHops := Announce(c.Sessions[1], members)
	both := wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)
	config := rib.OutConfig{Families: both, AddPath: both, AS4: true, NextHopSelf: true, NextHop4: wire.NextHop{Addr: addr("198.51.100.201")},
		NextHop6: wire.NextHop{Addr: addr("2001:db8:c633:6401::1")}, Export: Only(nextHops, nil)}
	out, err := in.NewOut(config)
	if err != nil {
		t.Fatal(err)
	}
	const public, private = "198.51.100.201 65000:90", "172.22.15.201 65000:20"
	if got := advertised(t, out, all4); got != private+"; "+public {
		t.Errorf("IPv4: %s", got)
	}
	if got := advertised(t, out, all6); got != "2001:db8:c633:6401::1 65000:90" {
		t.Errorf("IPv6, which the private network does not have: %s", got)
	}
	nextHops[1].NextHops[0].Addr = netip.Addr{} // the private way died
	config.Export = Only(nextHops, nil)
	if err := out.Reconfigure(config); err != nil {
		t.Fatal(err)
	}
	if got := advertised(t, out, all4); got != public {
		t.Errorf("with a dead way: %s", got)
	}
	// The session's own policy has the last word.
	config.Export = Only(Announce(c.Sessions[1], members), func(r *rib.Route) rib.Verdict {
		if r.HasCommunity(wire.NewCommunity(65000, 90)) {
			return rib.VerdictReject
		}
		return rib.VerdictAccept
	})
	_ = out.Reconfigure(config)
	if got := advertised(t, out, all4); got != private {
		t.Errorf("with a policy: %s", got)
	}
}

// One session for two fabrics: two paths, told apart by their identifiers.
func TestSecondNextHop(t *testing.T) {
	c := parse(t, one)
	members := Members(c, c.Domains[0])
	if len(members) != 1 || members[0].NextHops != 2 || members[0].Community != 0 {
		t.Fatalf("%+v", members)
	}
	if p := Peer(c, c.Domains[0].Reflectors[0], netip.Addr{}); len(p.AddPathSend) != 1 || len(p.OffLinkPrefixes) == 0 {
		t.Errorf("%+v", p)
	}
	table, in := newTable(t, nil)
	vm := prefix("203.0.113.1/32")
	for n := range members[0].NextHops {
		_ = table.Originate(rib.LocalPath{Prefix: vm, PathID: PathID(0, n)})
	}
	four := wire.Families(wire.IPv4Unicast)
	out, err := in.NewOut(rib.OutConfig{Families: four, AddPath: four, AS4: true, NextHopSelf: true,
		NextHop4: wire.NextHop{Addr: addr("198.51.100.101")}, Export: Only(Announce(c.Domains[0].Reflectors[0], members), nil)})
	if err != nil {
		t.Fatal(err)
	}
	if got := advertised(t, out, vm); got != "198.51.100.101; 198.51.100.201" {
		t.Error(got)
	}
}

// A peer announces two default routes and one that is nobody's: each table gets its own.
func TestSplit(t *testing.T) {
	c := parse(t, two)
	members := Members(c, c.Domains[0])
	table, in := newTable(t, Known(members, nil))
	all := prefix("0.0.0.0/0")
	say := func(id uint32, hop string, communities ...wire.Community) {
		t.Helper()
		b := wire.Builder{AS4: true, AddPath: wire.Families(wire.IPv4Unicast)}
		attrs := wire.PathAttrs{Communities: communities}
		b.Reach(nil, wire.IPv4Unicast, attrs.Append(nil), wire.NextHop{Addr: addr(hop)})
		b.Add(wire.NLRI{Prefix: all, PathID: id})
		u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true, AddPath: b.AddPath})
		if err == nil {
			err = in.Update(&u)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	say(1, "198.51.100.1", wire.NewCommunity(65000, 90), wire.NewCommunity(65000, 7))
	say(2, "172.22.15.1", wire.NewCommunity(65000, 20))
	say(3, "192.0.2.1", wire.NewCommunity(65000, 7))
	say(4, "192.0.2.2")
	paths := table.Lookup(all)
	var room []rib.Path // what it has from the domain before does not count
	for no, want := range []string{"198.51.100.1", "172.22.15.1"} {
		room = members[no].Of(paths, room)
		got := Remote(room)
		if len(got) != 1 || got[0].NextHop != addr(want) {
			t.Errorf("%s: %v, want %s", members[no].Domain, got, want)
		}
	}
	if n := in.Counters(wire.IPv4Unicast).Refused[rib.ReasonRejected]; n != 2 {
		t.Errorf("%d refused for lack of a community, want 2", n)
	}
}

func newTable(t *testing.T, imports rib.Policy) (*rib.Table, *rib.In) {
	t.Helper()
	table, err := rib.New(rib.Config{AS: 65000, RouterID: addr("0.0.1.1")})
	if err != nil {
		t.Fatal(err)
	}
	in, err := table.NewIn(rib.PeerConfig{Addr: addr("198.51.100.226"), AS: 65000, RouterID: addr("198.51.100.226"), Import: imports})
	if err != nil {
		t.Fatal(err)
	}
	return table, in
}

// TestProfile: a session, a neighbour and a probe that name a profile have its intervals; what
// the profile leaves out is the file's.
func TestProfile(t *testing.T) {
	c := parse(t, strings.NewReplacer("peer: 198.51.100.126", "peer: 198.51.100.126, bfd-profile: slow", "probe: 172.22.15.126", "probe: 172.22.15.126, bfd-profile: slow").Replace(two)+
		"bfd: {interval: 50ms, multiplier: 7, profiles: [{name: slow, interval: 300ms, passive: true}]}\n")
	slow, other := 0, 0
	for _, w := range Watches(c) {
		s := w.Config
		switch {
		case s.DesiredMinTx == 300*time.Millisecond && s.RequiredMinRx == 300*time.Millisecond && s.Multiplier == 7 && s.Passive:
			slow++
		case s.DesiredMinTx == 50*time.Millisecond && s.Multiplier == 7 && !s.Passive:
			other++
		default:
			t.Errorf("%+v", s)
		}
	}
	if slow != 2 || other != 2 {
		t.Errorf("%d by the profile, %d by the file's bfd, want 2 and 2", slow, other)
	}
}
