package rib

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestOwnLinkLocal: a session between link-local addresses may have such a next hop alone, and
// sends it where it is the next hop itself.
func TestOwnLinkLocal(t *testing.T) {
	_, ins := benchTable(t, 2)
	c := OutConfig{Families: wire.Families(wire.IPv6Unicast), AS4: true, NextHopSelf: true, NextHop6: wire.NextHop{Addr: ip("fe80::1")}}
	out, err := ins[0].NewOut(c)
	if err != nil {
		t.Fatal(err)
	}
	b := wire.Builder{AS4: true}
	attrs := wire.PathAttrs{LocalPref: ptr(100)}
	b.Reach(nil, wire.IPv6Unicast, attrs.Append(nil), wire.NextHop{Addr: ip("2001:db8::9")})
	b.Add(wire.NLRI{Prefix: pfx("2001:db8:1::/48")})
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true})
	if err == nil {
		err = ins[1].Update(&u)
	}
	if err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); out.Fill(buf) > 0; {
	}
	if c := out.Counters(); c.Announced != 1 || c.NoNextHop != [4]int{} {
		t.Errorf("%d announced, without a next hop %v", c.Announced, c.NoNextHop)
	}
}

// TestUnsendable counts what cannot be sent: a prefix as long as that is so.
func TestUnsendable(t *testing.T) {
	tab, ins := benchTable(t, 2)
	own := wire.NextHop{Addr: netip.MustParseAddr("192.0.2.1")}
	c := OutConfig{Families: wire.Families(families[:]...), AS4: true, NextHop4: own}
	out, err := ins[0].NewOut(c)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, wire.MaxExtendedLen)
	want := func(noNextHop, tooLong [4]int) {
		t.Helper()
		for out.Fill(buf) > 0 {
		}
		if c := out.Counters(); c.NoNextHop != noNextHop || c.TooLong != tooLong {
			t.Errorf("no next hop %v, too long %v; want %v, %v", c.NoNextHop, c.TooLong, noNextHop, tooLong)
		}
	}
	originate := func(prefix string, communities int) {
		t.Helper()
		p := LocalPath{Prefix: pfx(prefix), Attrs: wire.PathAttrs{Communities: make([]wire.Community, communities)}}
		for i := range p.Attrs.Communities {
			p.Attrs.Communities[i] = wire.Community(i)
		}
		if err := tab.Originate(p); err != nil {
			t.Fatal(err)
		}
	}
	want([4]int{}, [4]int{})
	for i := range 300 {
		originate(fmt.Sprintf("2001:db8:%x::/48", i), 0)
	}
	originate("203.0.113.0/24", 0)
	originate("198.51.100.0/24", 1100)
	want([4]int{0, 300}, [4]int{1, 0})
	originate("198.51.100.0/24", 3)
	tab.Withdraw(pfx("2001:db8:7::/48"), 0)
	want([4]int{0, 299}, [4]int{})
	c.NextHop6 = wire.NextHop{Addr: netip.MustParseAddr("2001:db8::1")}
	before := out.Counters().Announced
	if err := out.Reconfigure(c); err != nil {
		t.Fatal(err)
	}
	want([4]int{}, [4]int{})
	if n := out.Counters().Announced - before; n < 299 {
		t.Errorf("%d announced then", n)
	}
	// What the peer itself has announced would not be sent to it.
	alone, err := ins[1].NewOut(OutConfig{Families: c.Families, AS4: true, NextHopSelf: true, NextHop6: c.NextHop6})
	if err != nil {
		t.Fatal(err)
	}
	feed(ins[1], bodies(10, 10, 1))
	for alone.Fill(buf) > 0 {
	}
	if c := alone.Counters(); c.NoNextHop != [4]int{2, 0} {
		t.Errorf("no next hop: %v", c.NoNextHop)
	}
}
