package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// NextHops are those of the best paths of others.
func TestChangeNextHops(t *testing.T) {
	addr := func(s string) wire.NextHop { return wire.NextHop{Addr: netip.MustParseAddr(s)} }
	c := Change{Paths: []Path{{NextHop: addr("192.0.2.1")}, {NextHop: addr("2001:db8::1")}, {NextHop: addr("192.0.2.3"), Rank: 1}}}
	if got := c.NextHops(); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}) {
		t.Error(got)
	}
	local := Change{Paths: []Path{{Local: true}, {NextHop: addr("192.0.2.3"), Rank: 1}}}
	for _, c := range []Change{local, {}, {Converged: true}} {
		if got := c.NextHops(); got != nil {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestGateway: where packets go, by the next hop and the address of the peer.
func TestGateway(t *testing.T) {
	for _, test := range []struct{ peer, addr, linkLocal, want string }{
		{"192.0.2.9", "192.0.2.1", "", "192.0.2.1"},
		{"192.0.2.9", "2001:db8::1", "fe80::1", "2001:db8::1"},
		{"2001:db8::9", "2001:db8::1", "fe80::1", "2001:db8::1"},
		{"fe80::9%eth0", "fe80::1", "", "fe80::1%eth0"},
		{"fe80::9%eth0", "2001:db8::1", "fe80::1", "fe80::1%eth0"},
		{"fe80::9%eth0", "2001:db8::1", "", "2001:db8::1"},
		{"fe80::9%eth0", "192.0.2.1", "", "192.0.2.1"},
		{"169.254.0.9", "2001:db8::1", "fe80::1", "2001:db8::1"},
	} {
		p := Path{Peer: netip.MustParseAddr(test.peer), NextHop: wire.NextHop{Addr: netip.MustParseAddr(test.addr)}}
		if test.linkLocal != "" {
			p.NextHop.LinkLocal = netip.MustParseAddr(test.linkLocal)
		}
		if got := p.Gateway().String(); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
	if got := (&Path{Local: true}).Gateway(); got.IsValid() {
		t.Errorf("a local path without a next hop: %v", got)
	}
}

// TestGatewaysOfLinks: two routers with the same link-local address, each on a link of its own,
// are two gateways; one that announces a prefix twice is one.
func TestGatewaysOfLinks(t *testing.T) {
	table, err := New(Config{AS: 65000, RouterID: ip("192.0.2.1"), Multipath: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i, link := range []string{"eth0", "eth1"} {
		in, err := table.NewIn(PeerConfig{Addr: ip("fe80::1%" + link), AS: 65000, RouterID: netip.AddrFrom4([4]byte{192, 0, 2, 10 + byte(i)})})
		if err != nil {
			t.Fatal(err)
		}
		for id := range uint32(2) {
			if err := in.Update(reachOf(t, true, wire.PathAttrs{}, via("fe80::1"), wire.NLRI{Prefix: pfx("10.0.0.0/24"), PathID: id})); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := table.Watch(WatchConfig{})
	changes := make([]Change, 1)
	if w.Next(changes) != 1 || fmt.Sprint(changes[0].NextHops()) != "[fe80::1%eth0 fe80::1%eth1]" {
		t.Errorf("%+v", changes[0])
	}
}
