package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/hostile"
)

// asker asks for an address of ours on an uplink as one of many neighbours.
type asker struct {
	frame  func(n uint32) []byte
	is     func(n uint32) netip.Addr
	answer func(gopacket.Packet) bool // nil: there is none
}

func (l lab) askers(t *testing.T) map[string]asker {
	s := &hostile.Scene{Router: hardware(t, l.hv, "a.public"), Gateway4: netip.MustParseAddr("198.51.100.101"), Gateway6: netip.MustParseAddr("2001:db8:64::1")}
	in4 := func(n uint32) netip.Addr { return netip.AddrFrom4([4]byte{10, 7, byte(n >> 8), byte(n)}) }
	in6 := func(n uint32) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:64::f:%x", n+1)) }
	local := func(n uint32) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fe80::f:%x", n+1)) }
	return map[string]asker{
		"ARP": {func(n uint32) []byte { return s.ARP(hostile.Station(n), layers.ARPRequest, in4(n), s.Gateway4) }, in4, arpReply},
		"NS":  {func(n uint32) []byte { return s.Solicit(hostile.Station(n), in6(n)) }, in6, has(layers.LayerTypeICMPv6NeighborAdvertisement)},
		"RS":  {func(n uint32) []byte { return s.RouterSolicit(hostile.Station(n), local(n)) }, local, nil},
	}
}

// TestNeighbourFlood: who forges others' questions on an uplink does not fill the kernel's table of neighbours. Peers of
// the configuration and neighbours that have asked before are answered meanwhile, a new one when it asks
// again, and the kernel resolves whom it asks for itself. With VRFs as well: see [TestAdvertisementFlood].
func TestNeighbourFlood(t *testing.T) {
	for _, kind := range []string{"ARP", "NS", "RS"} {
		for _, vrf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s vrf=%v", kind, vrf), func(t *testing.T) {
				l := newLab(t)
				floodNeighbours(t, l, l.askers(t)[kind], vrf)
			})
		}
	}
}

func floodNeighbours(t *testing.T, l lab, a asker, vrf bool) {
	const flood, peer, known, fresh = 300, 5000, 5001, 5002 // below what all tests together share, should nothing bound it
	s := spec()
	s.VRF = vrf
	s.Local = addrs("198.51.100.101")
	s.Peers = []Peer{{"a.public", a.is(peer)}}
	s.Room4, s.Room6 = 256, 256
	l.apply(t, s)
	answered := func(n uint32) bool {
		return hears(t, l.public, "eth0", a.answer, func() { sends(t, l.public, "eth0", a.frame(n)) }) > 0
	}
	if a.answer != nil && !answered(known) {
		t.Fatal("a first neighbour is not answered")
	}
	began := time.Now()
	sends(t, l.public, "eth0", seq(flood, a.frame)...)
	most := 32 + 8 + 8*int(time.Since(began)/time.Second+1)
	if n := l.neighbours("a.public"); n < 32 || n > most {
		t.Errorf("%d neighbours after %d questions, want some 32, %d at most", n, flood, most)
	}
	if n := l.drops(t, neighbourFlood); n < uint64(flood-most) {
		t.Errorf("dropped: %d", n)
	}
	if all, err := l.firewall.Flooded(); err != nil || len(all[neighbourFlood]) != 1 || all[neighbourFlood]["a.public"] != l.drops(t, neighbourFlood) {
		t.Errorf("flooded: %v %v", all, err)
	}
	if a.answer == nil {
		return
	}
	next := uint32(flood)
	for range 3 {
		sends(t, l.public, "eth0", seq(200, func(n uint32) []byte { return a.frame(next + n) })...)
		next += 200
		if !answered(peer) || !answered(known) {
			t.Error("a peer, or one that is known, is not answered")
		}
	}
	// What has come back of the first rate meanwhile is taken by others.
	sends(t, l.public, "eth0", append(seq(50, func(n uint32) []byte { return a.frame(next + n) }), a.frame(fresh))...)
	if strings.Contains(l.hv.IP("neigh show dev a.public"), a.is(fresh).String()+" ") {
		t.Error("a new one gets in although there is no room")
	}
	for range 2 { // again, and as one that is known
		if !answered(fresh) {
			t.Error("a new one that asks again is not answered")
		}
	}
	// A daemon that is back writes the table as a whole: who is known stays so.
	l.firewall = New(l.hv.Path)
	l.apply(t, s)
	sends(t, l.public, "eth0", seq(200, func(n uint32) []byte { return a.frame(9000 + n) })...)
	if !answered(known) || !answered(fresh) {
		t.Error("one that was known is not answered after a restart")
	}
	l.hv.IP("neigh flush dev a.public")
	for _, to := range []string{"198.51.100.1", "2001:db8:64::ff"} {
		if err := l.hv.Command("ping", "-c1", "-W2", to).Run(); err != nil {
			t.Errorf("the kernel does not resolve %s: %v", to, err)
		}
	}
	// Nobody is limited in asking for somebody else, as all do on a large link.
	before := l.drops(t, neighbourFlood)
	others := &hostile.Scene{}
	sends(t, l.public, "eth0", seq(100, func(n uint32) []byte {
		return others.ARP(hostile.Station(n), layers.ARPRequest, netip.AddrFrom4([4]byte{10, 8, 0, byte(n)}), netip.MustParseAddr("198.51.100.77"))
	})...)
	if n := l.drops(t, neighbourFlood) - before; n > 0 {
		t.Errorf("%d questions for others were dropped", n)
	}
}
