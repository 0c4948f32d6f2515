package firewall

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/ndp"
)

// TestAdvertisementFlood: forged router advertisements on an uplink do not fill the kernel's table of neighbours, and a
// few are heard. With VRFs as well: neighbour discovery is on the interface that it came in on, as here without a VRF.
func TestAdvertisementFlood(t *testing.T) {
	t.Run("rules", func(t *testing.T) { advertisementFlood(t, false) })
	t.Run("vrf", func(t *testing.T) { advertisementFlood(t, true) })
}

func advertisementFlood(t *testing.T, vrf bool) {
	l := newLab(t)
	s := spec()
	s.VRF = vrf
	l.apply(t, s)
	began := time.Now()
	sends(t, l.public, "eth0", seq(2000, func(n uint32) []byte {
		mac := ndp.MAC{2, 0, 0, 9, byte(n >> 8), byte(n)}
		from := netip.MustParseAddr(fmt.Sprintf("fe80::f:%x", n+1))
		body, err := ndp.RouterAdvertisement{SourceLinkAddr: mac}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := (&ndp.Packet{SrcMAC: mac, DstMAC: ndp.GroupMAC(ndp.AllNodes), Src: from, Dst: ndp.AllNodes, HopLimit: 255, Body: body}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return frame
	})...)
	most := 2*advertBurst + advertRate*int(time.Since(began)/time.Second+1)
	if n := l.neighbours("a.public"); n < advertBurst/2 || n > most {
		t.Errorf("%d neighbours after 2000 advertisements, want some %d, %d at most", n, advertBurst, most)
	}
	if n := l.drops(t, "advertisement-flood"); n < uint64(2000-most) {
		t.Errorf("dropped: %d", n)
	}
}

// TestNothingIsLearnedInVRF: with VRFs, where neighbour discovery stays on the interface that it came in on, the kernel learns
// nothing of a guest's either, and hears the guest's own solicitation. Here there is no VRF: what else guests send
// to the hypervisor is not looked at.
func TestNothingIsLearnedInVRF(t *testing.T) {
	l := newLab(t)
	of := spec()
	of.VRF = true
	l.apply(t, of)
	s := l.scene(t)
	own := netip.MustParseAddr("fe80::5254:33ff:fe00:7")
	answers := func(frames ...[]byte) int {
		return hears(t, l.guest, "eth0", has(layers.LayerTypeICMPv6NeighborAdvertisement), func() { sends(t, l.guest, "eth0", frames...) })
	}
	for name, frame := range map[string]func(uint32) []byte{
		"NS from link-local": func(n uint32) []byte { return s.Solicit(s.MAC, hostile.LinkLocal(n)) },
		"NS from its /64":    func(n uint32) []byte { return s.Solicit(s.MAC, hostile.Inside(s.Own6, n)) },
		"NS of another MAC":  func(n uint32) []byte { return s.Solicit(hostile.Station(n), own) },
		"RS":                 func(n uint32) []byte { return s.RouterSolicit(s.MAC, hostile.LinkLocal(n)) },
		"RA":                 func(n uint32) []byte { return s.RouterAdvert(s.MAC, hostile.LinkLocal(n)) },
		"NA":                 func(n uint32) []byte { return s.NeighborAdvert(s.MAC, own, hostile.Inside(s.Own6, n)) },
	} {
		if a, n := answers(seq(20, frame)...), l.neighbours("vm1"); n+a > 0 {
			t.Errorf("%s: %d neighbours learned, %d answers by the kernel", name, n, a)
		}
	}
	if a, n := answers(s.Solicit(s.MAC, own)), l.neighbours("vm1"); a != 1 || n > 0 {
		t.Errorf("its own solicitation: %d answers, %d learned", a, n)
	}
}
