package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/ndp"
)

var mac = arp.MAC{2, 0, 0, 0, 0, 1}

// segment is a TCP segment to the BGP port.
func segment(t *testing.T, seq uint32, payload []byte) gopacket.Packet {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: mac[:], DstMAC: mac[:], EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 255, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{198, 51, 100, 101}, DstIP: net.IP{198, 51, 100, 126}}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: bgpPort, Seq: seq, ACK: true}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true}
	if err := gopacket.SerializeLayers(buf, opts, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return gopacket.NewPacket(buf.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
}

func newStreams() *streams { return &streams{flows: make(map[flow]*stream)} }

func TestBGP(t *testing.T) {
	o := wire.Open{AS: 65000, HoldTime: 90e9, ID: netip.MustParseAddr("0.0.1.1")}
	data := wire.AppendKeepalive(o.Append(nil))
	data = wire.AppendEndOfRIB(data, wire.IPv6Unicast)
	s := newStreams()
	var lines []string
	for at := 0; at < len(data); at += 10 { // in small segments
		lines = append(lines, describe(segment(t, uint32(at), data[at:min(at+10, len(data))]), s)...)
	}
	// The first ten octets are not a whole marker, so nothing can begin there.
	if len(lines) != 0 {
		t.Errorf("%q", lines)
	}
	s = newStreams()
	lines = describe(segment(t, 0, data[:40]), s)
	lines = append(lines, describe(segment(t, 40, data[40:]), s)...)
	if len(lines) != 3 || !strings.Contains(lines[0], "198.51.100.101 > 198.51.100.126 OPEN AS 65000, hold time 1m30s, id 0.0.1.1") ||
		!strings.Contains(lines[1], "KEEPALIVE") || !strings.Contains(lines[2], "End-of-RIB") {
		t.Errorf("%q", lines)
	}
	// A lost segment: wait for the next message that starts one.
	lines = describe(segment(t, 5000, data[5:]), s)
	lines = append(lines, describe(segment(t, 9000, wire.AppendKeepalive(nil)), s)...)
	if len(lines) != 1 {
		t.Errorf("%q", lines)
	}
}

func TestOthers(t *testing.T) {
	frame, _ := arp.NewProbe(mac, netip.MustParseAddr("203.0.113.1")).On(0).AppendBinary(nil)
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if lines := describe(p, newStreams()); len(lines) != 1 || lines[0] != "ARP probe 203.0.113.1 by 02:00:00:00:00:01" {
		t.Errorf("%q", lines)
	}
	na := ndp.Unsolicited(0, mac, netip.MustParseAddr("2001:db8::1"), true)
	frame, _ = na.AppendBinary(nil)
	p = gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if lines := describe(p, newStreams()); len(lines) != 1 || !strings.HasPrefix(lines[0], "NA 2001:db8::1 > ff02::1 2001:db8::1 is at 02:00:00:00:00:01") {
		t.Errorf("%q", lines)
	}
}
