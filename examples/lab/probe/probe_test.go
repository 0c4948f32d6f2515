package probe

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var (
	guest = net.HardwareAddr{0x50, 0x54, 0x33, 0, 0, 7}
	tap   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
)

// Frames say what they should, by the judgement of another implementation.
func TestFrame(t *testing.T) {
	for _, c := range []struct{ src, dst string }{
		{"203.0.113.99:7100", "203.0.113.4:7100"},
		{"[2001:db8:cb00:7101::9]:7100", "[2001:db8:cb00:7103::4]:7100"},
	} {
		f := Frame{SrcMAC: guest, DstMAC: tap, Src: netip.MustParseAddrPort(c.src), Dst: netip.MustParseAddrPort(c.dst), Payload: []byte("odd")}
		b := f.encode()
		p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Fatalf("%s: %v", c.src, e.Error())
		}
		eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		net := p.NetworkLayer().NetworkFlow()
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if eth.SrcMAC.String() != guest.String() || eth.DstMAC.String() != tap.String() ||
			net.Src().String() != f.Src.Addr().String() || net.Dst().String() != f.Dst.Addr().String() ||
			udp.SrcPort != 7100 || udp.DstPort != 7100 || string(udp.Payload) != "odd" {
			t.Errorf("%v", p)
		}
		checkSums(t, p, b)
	}
}

// checkSums writes the packet again with gopacket's checksums and compares.
func checkSums(t *testing.T, p gopacket.Packet, want []byte) {
	t.Helper()
	var parts []gopacket.SerializableLayer
	for _, l := range p.Layers() {
		if udp, ok := l.(*layers.UDP); ok {
			if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
		}
		parts = append(parts, l.(gopacket.SerializableLayer))
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	// gopacket pads Ethernet to 60 octets.
	if have := buf.Bytes()[:min(len(want), len(buf.Bytes()))]; string(have) != string(want) {
		t.Errorf("checksums: have %x\nwant %x", want, have)
	}
}

func TestARP(t *testing.T) {
	from, who := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.3")
	b := arpRequest(guest, from, who)
	arp := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeARP).(*layers.ARP)
	if arp.Operation != layers.ARPRequest || net.IP(arp.SourceProtAddress).String() != from.String() ||
		net.IP(arp.DstProtAddress).String() != who.String() || net.HardwareAddr(arp.SourceHwAddress).String() != guest.String() {
		t.Errorf("%+v", arp)
	}
	if a := arpSender(b); a.IsValid() {
		t.Errorf("a request passes for the reply of %s", a)
	}
	b[21] = 2
	if a := arpSender(b); a != from {
		t.Errorf("reply of %s, want %s", a, from)
	}
	if a := arpSender(b[:40]); a.IsValid() {
		t.Error("a truncated reply passes")
	}
}

func TestPingAnswer(t *testing.T) {
	to := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	p := pinger{to: to, answered: make([]bool, 2), id: 0x1234}
	ip := make([]byte, 20)
	ip[0] = 0x45
	for _, icmp := range [][]byte{
		{8, 0, 0, 0, 0x12, 0x34, 0, 1}, // a request
		{0, 0, 0, 0, 0x12, 0x35, 0, 1}, // somebody else's
		{0, 0, 0, 0, 0x12, 0x34, 0, 9}, // never asked for
		{0, 0, 0, 0},
	} {
		p.answer(append(ip[:20:20], icmp...))
	}
	if len(p.silent()) != 2 {
		t.Errorf("answered: %v", p.answered)
	}
	p.answer(append(ip[:20:20], 0, 0, 0, 0, 0x12, 0x34, 0, 1))
	if s := p.silent(); len(s) != 1 || s[0] != to[0] || p.done() {
		t.Errorf("silent: %v", s)
	}
}
