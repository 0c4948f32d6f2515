package capture

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/net/bpf"
)

// packet builds one of IPv4 or IPv6.
func packet(t *testing.T, from, to string, options int, fragment uint16, transport gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	protocol := layers.IPProtocolTCP
	if _, ok := transport.(*layers.UDP); ok {
		protocol = layers.IPProtocolUDP
	}
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	var ip gopacket.SerializableLayer
	if src.Is4() {
		v4 := &layers.IPv4{Version: 4, TTL: 255, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), FragOffset: fragment, Flags: layers.IPv4DontFragment}
		for range options {
			v4.Options = append(v4.Options, layers.IPv4Option{OptionType: 1, OptionLength: 1})
		}
		ip = v4
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, eth, ip, transport, gopacket.Payload("0123456789")); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestFilter(t *testing.T) {
	const a4, b4, c4 = "198.51.100.101", "198.51.100.126", "198.51.100.102"
	const a6, b6, c6 = "2001:db8::101", "2001:db8::126", "2001:db8::102"
	tcp := func(from, to uint16) *layers.TCP {
		return &layers.TCP{SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), DataOffset: 5}
	}
	udp := func(to uint16) *layers.UDP { return &layers.UDP{SrcPort: 50000, DstPort: layers.UDPPort(to)} }
	for _, x := range []struct {
		what, from, to string
		options        int
		fragment       uint16
		transport      gopacket.SerializableLayer
		taken          bool
		alsoIPv6       bool
	}{
		{"to the peer", a4, b4, 0, 0, tcp(40000, 179), true, true},
		{"from the peer", b4, a4, 0, 0, tcp(179, 40000), true, true},
		{"with IP options", b4, a4, 8, 0, tcp(179, 40000), true, false},
		{"another TCP port", a4, b4, 0, 0, tcp(40000, 22), false, true},
		{"BFD", a4, b4, 0, 0, udp(3784), true, true},
		{"BFD, options", b4, a4, 4, 0, udp(3784), true, false},
		{"BFD, several hops", b4, a4, 0, 0, udp(4784), true, true},
		{"BFD echo", a4, a4, 0, 0, udp(3785), true, true},
		{"UDP to the port of BGP", a4, b4, 0, 0, udp(179), false, true},
		{"DNS", a4, b4, 0, 0, udp(53), false, true},
		{"another peer", a4, c4, 0, 0, tcp(40000, 179), false, true},
		{"from another peer", c4, a4, 0, 0, tcp(179, 40000), false, true},
		{"a later fragment", a4, b4, 0, 100, udp(3784), false, false},
	} {
		check := func(from, to, local, peer string) {
			t.Helper()
			raw, err := filter(netip.MustParseAddr(local), netip.MustParseAddr(peer), 179)
			if err != nil {
				t.Fatal(err)
			}
			code, ok := bpf.Disassemble(raw)
			if !ok {
				t.Fatalf("not to be read back: %v", raw)
			}
			vm, err := bpf.NewVM(code)
			if err != nil {
				t.Fatal(err)
			}
			n, err := vm.Run(packet(t, from, to, x.options, x.fragment, x.transport))
			if err != nil || n > 0 != x.taken {
				t.Errorf("%s, %s to %s: %d, %v; want taken %v", x.what, from, to, n, err, x.taken)
			}
		}
		check(x.from, x.to, a4, b4)
		if six := map[string]string{a4: a6, b4: b6, c4: c6}; x.alsoIPv6 {
			check(six[x.from], six[x.to], a6, b6)
		}
	}
}
