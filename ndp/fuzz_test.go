package ndp

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// again encodes m and parses the result, which must be m.
func again[M interface{ append([]byte) []byte }](t *testing.T, p *Packet, m M, parse func(*Packet) (M, error)) {
	t.Helper()
	q := *p
	q.Body = m.append(nil)
	got, err := parse(&q)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("%+v\nthen %+v, %v", m, got, err)
	}
}

// FuzzFrame checks that what is parsed survives encoding, and that gopacket sees the
// same. The checksum is mended, or the fuzzer would not get past it.
func FuzzFrame(f *testing.F) {
	for _, c := range captures.Read(f, "testdata/captures.txt") {
		f.Add(c.Data)
	}
	ra := fullRA()
	full := packet(gateway, AllNodes, ra.append(nil))
	f.Add(full.appendFrame(nil))
	rd := packet(gateway, vm1, Redirect{Target: gateway, Destination: vm3, TargetLinkAddr: hostMAC, Redirected: []byte("abcdefgh")}.append(nil))
	f.Add(rd.appendFrame(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseFrame(data)
		if err != nil {
			return
		}
		_, _ = p.Check()
		mended := p.appendFrame(nil)
		if p, err = ParseFrame(mended); err != nil {
			t.Fatalf("own frame: %v", err)
		}
		if _, err := p.Check(); err != nil {
			return
		}
		checkMessage(t, &p)
		oracle(t, &p, mended)
	})
}

func checkMessage(t *testing.T, p *Packet) {
	t.Helper()
	switch Type(p.Body[0]) {
	case TypeRouterSolicitation:
		if m, err := ParseRouterSolicitation(p); err == nil {
			again(t, p, m, ParseRouterSolicitation)
		}
	case TypeRouterAdvertisement:
		if m, err := ParseRouterAdvertisement(p); err == nil {
			_ = m.Check()
			again(t, p, m, ParseRouterAdvertisement)
		}
	case TypeNeighborSolicitation:
		if m, err := ParseNeighborSolicitation(p); err == nil {
			again(t, p, m, ParseNeighborSolicitation)
		}
	case TypeNeighborAdvertisement:
		if m, err := ParseNeighborAdvertisement(p); err == nil {
			again(t, p, m, ParseNeighborAdvertisement)
		}
	case TypeRedirect:
		if m, err := ParseRedirect(p); err == nil {
			again(t, p, m, ParseRedirect)
		}
	}
}

// oracle compares with gopacket where it decodes the whole message.
func oracle(t *testing.T, p *Packet, frame []byte) {
	t.Helper()
	g := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if l, ok := g.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation); ok {
		m, err := ParseNeighborSolicitation(p)
		if err == nil && !bytes.Equal(l.TargetAddress, m.Target.AsSlice()) {
			t.Fatalf("%+v, gopacket %+v", m, l)
		}
	}
	if l, ok := g.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement); ok {
		m, err := ParseNeighborAdvertisement(p)
		if err == nil && (!bytes.Equal(l.TargetAddress, m.Target.AsSlice()) || l.Router() != m.Router || l.Solicited() != m.Solicited || l.Override() != m.Override) {
			t.Fatalf("%+v, gopacket %+v", m, l)
		}
	}
	if l, ok := g.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement); ok {
		m, err := ParseRouterAdvertisement(p)
		if err == nil && (l.HopLimit != m.HopLimit || l.ManagedAddressConfig() != m.Managed || int64(l.RouterLifetime) != int64(m.Lifetime.Seconds()) || int64(l.RetransTimer) != m.RetransTimer.Milliseconds()) {
			t.Fatalf("%+v, gopacket %+v", m, l)
		}
	}
}
