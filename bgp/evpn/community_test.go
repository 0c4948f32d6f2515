package evpn

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

func TestCommunities(t *testing.T) {
	target := func(as, value uint32) wire.ExtCommunity {
		c, err := RouteTarget(as, value)
		if err != nil || !IsRouteTarget(c) {
			t.Error(c, err)
		}
		return c
	}
	for _, c := range []struct {
		community wire.ExtCommunity
		bits      uint64
		text      string
	}{
		{target(65000, 100), 0x0002_fde8_0000_0064, "rt:65000:100"},
		{target(65000, 0x10000064), 0x0002_fde8_1000_0064, "rt:65000:268435556"},
		{target(4200000001, 100), 0x0202_fa56_ea01_0064, "rt:4200000001:100"},
		{Encapsulation(TunnelVXLAN), 0x030c_0000_0000_0008, "encapsulation:VXLAN"},
		{Encapsulation(99), 0x030c_0000_0000_0063, "encapsulation:Tunnel(99)"},
		{Mobility{Sequence: 2}.Community(), 0x0600_0000_0000_0002, "mobility:2"},
		{Mobility{Sticky: true}.Community(), 0x0600_0100_0000_0000, "mobility:0:sticky"},
		{RouterMAC(MAC{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}), 0x0603_5254_00aa_bbcc, "router-mac:52:54:00:aa:bb:cc"},
		{DefaultGateway, 0x030d_0000_0000_0000, "default-gateway"},
		{ESILabel{Label: 100}.Community(), 0x0601_0000_0000_0064, "esi-label:100:all-active"},
		{ESILabel{SingleActive: true}.Community(), 0x0601_0100_0000_0000, "esi-label:0:single-active"},
		{wire.ExtCommunity(0x0602_aabb_ccdd_eeff), 0x0602_aabb_ccdd_eeff, "0x0602aabbccddeeff"},
	} {
		if uint64(c.community) != c.bits || CommunityString(c.community) != c.text {
			t.Errorf("%016x %s, want %016x %s", uint64(c.community), CommunityString(c.community), c.bits, c.text)
		}
	}
	if c, err := RouteTarget(4200000001, 65536); err == nil {
		t.Error(c)
	}
	if m, ok := MobilityOf(Mobility{Sequence: 7, Sticky: true}.Community()); !ok || m != (Mobility{Sequence: 7, Sticky: true}) {
		t.Error(m, ok)
	}
	if m, ok := RouterMACOf(RouterMAC(MAC{1, 2, 3, 4, 5, 6})); !ok || m != (MAC{1, 2, 3, 4, 5, 6}) {
		t.Error(m, ok)
	}
	for _, c := range []wire.ExtCommunity{DefaultGateway, Encapsulation(TunnelMPLS)} {
		_, a := MobilityOf(c)
		_, b := RouterMACOf(c)
		_, d := ESILabelOf(c)
		if a || b || d || IsRouteTarget(c) {
			t.Errorf("%016x", uint64(c))
		}
	}
}

func TestPMSI(t *testing.T) {
	for _, c := range []struct {
		PMSI
		octets []byte
		text   string
	}{
		{PMSI{Kind: IngressReplication, Label: 100, Endpoint: netip.MustParseAddr("10.9.0.2")}, []byte{0, 6, 0, 0, 100, 10, 9, 0, 2}, "ingress replication 10.9.0.2 label 100"},
		{PMSI{Flags: 1, Kind: 3, Label: 1, Identifier: []byte{1, 2}}, []byte{1, 3, 0, 0, 1, 1, 2}, "TunnelKind(3) 0102 label 1"},
	} {
		p, ok := ParsePMSI(c.octets)
		if again := p.AppendBinary(nil); !ok || !bytes.Equal(again, c.octets) || p.String() != c.text || p.Endpoint != c.Endpoint {
			t.Errorf("%x became %x: %v", c.octets, again, &p)
		}
	}
	for _, b := range [][]byte{nil, {0, 6, 0, 0}, {0, 6, 0, 0, 1, 10, 0, 0}} {
		if p, ok := ParsePMSI(b); ok {
			t.Errorf("%x: %v", b, &p)
		}
	}
}

func TestRD(t *testing.T) {
	for text, octets := range map[string]RD{
		"192.0.2.1:5":  {0, 1, 192, 0, 2, 1, 0, 5},
		"65000:100000": {0, 0, 0xfd, 0xe8, 0, 1, 0x86, 0xa0},
		"4200000001:9": {0, 2, 0xfa, 0x56, 0xea, 0x01, 0, 9},
	} {
		if rd, err := ParseRD(text); err != nil || rd != octets || rd.String() != text {
			t.Errorf("%s is %x: %v", text, rd[:], err)
		}
	}
	for _, text := range []string{"", "1", ":", "1:", "192.0.2.1:65536", "4200000001:65536", "2001:db8::1:5", "x:1", "1:2:3"} {
		if rd, err := ParseRD(text); err == nil {
			t.Errorf("%q is %v", text, rd)
		}
	}
	if s := (RD{0, 9, 1}).String(); s != "0x0009010000000000" {
		t.Error(s)
	}
}
