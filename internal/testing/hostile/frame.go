// Package hostile makes what a hostile guest sends: frames for floods and for single
// misdeeds, by gopacket, which knows nothing of the code under test.
package hostile

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Scene is who is who in the frames of a flood.
type Scene struct {
	MAC, Router        net.HardwareAddr // the sender's, and the next hop's on its link
	Own4, Other4       netip.Addr       // the attacker and another guest
	Own6, Other6       netip.Prefix     // their /64
	Routed4, Routed6   netip.Prefix     // through the attacker
	Transparent        netip.Addr       // the attacker's
	Gateway4, Gateway6 netip.Addr
	Outside4, Outside6 netip.Addr   // a host behind the uplink
	Fabric6            netip.Prefix // of the uplink
	Sink4, Sink6       netip.Prefix // routed to somebody who says nothing
	Hypervisor         []netip.Addr // its addresses elsewhere
	VTEP, FarVTEP      netip.Addr
	Reflector4, Local4 netip.Addr
	Reflector6, Local6 netip.Addr
}

// spread turns a counter into numbers that have nothing to do with each other.
func spread(n uint32) uint64 {
	x := uint64(n)*0x9e3779b97f4a7c15 + 0x1234567
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// Inside returns the n-th made-up address of a prefix.
func Inside(p netip.Prefix, n uint32) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	r := binary.BigEndian.AppendUint64(nil, spread(n))
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		at := bit / 8
		b[at] |= r[(at)%8] & (0x80 >> (bit % 8))
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Station returns the n-th made-up Ethernet address.
func Station(n uint32) net.HardwareAddr {
	b := binary.BigEndian.AppendUint64(nil, spread(n))
	return net.HardwareAddr{0x02, b[1], b[2], b[3], b[4], b[5]}
}

func LinkLocal(n uint32) netip.Addr { return Inside(netip.MustParsePrefix("fe80::/64"), n) }

func (s *Scene) eth(src, dst net.HardwareAddr, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: kind}
}

var broadcast = net.HardwareAddr{255, 255, 255, 255, 255, 255}

// pack joins layers; lengths and checksums are right.
func pack(list ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func IPv4(src, dst netip.Addr, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func IPv6(src, dst netip.Addr, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: next, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func (s *Scene) Send4(ip *layers.IPv4, rest ...gopacket.SerializableLayer) []byte {
	return pack(append([]gopacket.SerializableLayer{s.eth(s.MAC, s.Router, layers.EthernetTypeIPv4), ip}, rest...)...)
}

func (s *Scene) Send6(ip *layers.IPv6, rest ...gopacket.SerializableLayer) []byte {
	return pack(append([]gopacket.SerializableLayer{s.eth(s.MAC, s.Router, layers.EthernetTypeIPv6), ip}, rest...)...)
}

func icmp6(ip *layers.IPv6, kind uint8) *layers.ICMPv6 {
	return icmp6code(ip, kind, 0)
}

func icmp6code(ip *layers.IPv6, kind, code uint8) *layers.ICMPv6 {
	h := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
	_ = h.SetNetworkLayerForChecksum(ip)
	return h
}

// Solicit asks for the gateway in neighbour discovery.
func (s *Scene) Solicit(mac net.HardwareAddr, src netip.Addr) []byte {
	ip := IPv6(src, netip.MustParseAddr("ff02::1:ff00:1"), layers.IPProtocolICMPv6)
	return pack(s.eth(mac, net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1}, layers.EthernetTypeIPv6), ip, icmp6(ip, 135),
		&layers.ICMPv6NeighborSolicitation{TargetAddress: s.Gateway6.AsSlice(), Options: layers.ICMPv6Options{
			{Type: layers.ICMPv6OptSourceAddress, Data: mac}}})
}

func (s *Scene) RouterSolicit(mac net.HardwareAddr, src netip.Addr) []byte {
	ip := IPv6(src, netip.MustParseAddr("ff02::2"), layers.IPProtocolICMPv6)
	return pack(s.eth(mac, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 2}, layers.EthernetTypeIPv6), ip, icmp6(ip, 133),
		&layers.ICMPv6RouterSolicitation{Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac}}})
}

// RouterAdvert seems to come from a router.
func (s *Scene) RouterAdvert(mac net.HardwareAddr, src netip.Addr) []byte {
	ip := IPv6(src, netip.MustParseAddr("ff02::1"), layers.IPProtocolICMPv6)
	return pack(s.eth(mac, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, layers.EthernetTypeIPv6), ip, icmp6(ip, 134),
		&layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800, Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac}}})
}

func (s *Scene) NeighborAdvert(mac net.HardwareAddr, src, target netip.Addr) []byte {
	ip := IPv6(src, s.Gateway6, layers.IPProtocolICMPv6)
	return pack(s.eth(mac, s.Router, layers.EthernetTypeIPv6), ip, icmp6(ip, 136),
		&layers.ICMPv6NeighborAdvertisement{Flags: 0x20, TargetAddress: target.AsSlice(), Options: layers.ICMPv6Options{
			{Type: layers.ICMPv6OptTargetAddress, Data: mac}}})
}

func (s *Scene) ARP(mac net.HardwareAddr, op uint16, sender, target netip.Addr) []byte {
	dst := broadcast
	if op == layers.ARPReply {
		dst = s.Router
	}
	return pack(s.eth(mac, dst, layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
		HwAddressSize: 6, ProtAddressSize: 4, Operation: op, SourceHwAddress: mac, SourceProtAddress: sender.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice()})
}

func (s *Scene) Ping4(src, dst netip.Addr, n uint32, options ...layers.IPv4Option) []byte {
	ip := IPv4(src, dst, layers.IPProtocolICMPv4)
	ip.Options = options
	return s.Send4(ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: uint16(n), Seq: uint16(n >> 16)}, gopacket.Payload("flood"))
}

func (s *Scene) Ping6(src, dst netip.Addr, n uint32) []byte {
	ip := IPv6(src, dst, layers.IPProtocolICMPv6)
	return s.Send6(ip, icmp6(ip, 128), &layers.ICMPv6Echo{Identifier: uint16(n), SeqNumber: uint16(n >> 16)}, gopacket.Payload("flood"))
}

// Option6 has a hop-by-hop option that nobody knows, of a kind (10 in the upper bits) that
// asks for an ICMPv6 error: RFC 8200, Section 4.2.
func (s *Scene) Option6(src, dst netip.Addr) []byte {
	const noNextHeader = 59
	return s.Send6(IPv6(src, dst, layers.IPProtocolIPv6HopByHop), gopacket.Payload{noNextHeader, 0, 0x9e, 4, 0, 0, 0, 0})
}

// Expiring is a ping whose hop limit ends at the hypervisor.
func (s *Scene) Expiring(src, dst netip.Addr, n uint32) []byte {
	ip := IPv6(src, dst, layers.IPProtocolICMPv6)
	ip.HopLimit = 1
	return s.Send6(ip, icmp6(ip, 128), &layers.ICMPv6Echo{Identifier: uint16(n), SeqNumber: uint16(n >> 16)})
}

// SYN opens a connection, from a port and to a port of its own each time.
func (s *Scene) SYN(src, dst netip.Addr, n uint32) []byte {
	tcp := &layers.TCP{SrcPort: layers.TCPPort(1024 + spread(n)%60000), DstPort: layers.TCPPort(1 + n%65535), Seq: n, SYN: true, Window: 1000}
	if src.Is4() {
		ip := IPv4(src, dst, layers.IPProtocolTCP)
		_ = tcp.SetNetworkLayerForChecksum(ip)
		return s.Send4(ip, tcp)
	}
	ip := IPv6(src, dst, layers.IPProtocolTCP)
	_ = tcp.SetNetworkLayerForChecksum(ip)
	return s.Send6(ip, tcp)
}

// Quote is the beginning of a packet that somebody is said to have sent.
func Quote(src, dst netip.Addr, proto layers.IPProtocol, sport, dport uint16) []byte {
	rest := binary.BigEndian.AppendUint16(nil, sport)
	rest = binary.BigEndian.AppendUint16(rest, dport)
	rest = append(rest, 0, 200, 0, 0, 8, 0, 0, 0, 0, 0, 100, 0) // as much of VXLAN as is looked at: flags, VNI 100
	switch proto {
	case layers.IPProtocolICMPv4, layers.IPProtocolICMPv6:
		rest = append([]byte{0, 0, 0, 0, 0, 1, 0, 1}, rest...)
		if proto == layers.IPProtocolICMPv6 {
			rest[0] = 129
		}
	}
	if src.Is4() {
		ip := IPv4(src, dst, proto)
		ip.Flags = layers.IPv4DontFragment
		return pack(ip, gopacket.Payload(rest))
	}
	return pack(IPv6(src, dst, proto), gopacket.Payload(rest))
}

// TooBig4 says that a packet needs fragmentation.
func (s *Scene) TooBig4(src, dst netip.Addr, quoted []byte) []byte {
	ip := IPv4(src, dst, layers.IPProtocolICMPv4)
	return s.Send4(ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4), Seq: 552}, gopacket.Payload(quoted))
}

func (s *Scene) TooBig6(src, dst netip.Addr, quoted []byte) []byte {
	ip := IPv6(src, dst, layers.IPProtocolICMPv6)
	return s.Send6(ip, icmp6(ip, 2), gopacket.Payload(append([]byte{0, 0, 5, 0}, quoted...)))
}

// Fragment4 is the first of several fragments that never follow.
func (s *Scene) Fragment4(src, dst netip.Addr, n uint32) []byte {
	ip := IPv4(src, dst, layers.IPProtocolUDP)
	ip.Id, ip.Flags = uint16(spread(n)), layers.IPv4MoreFragments
	return s.Send4(ip, gopacket.Payload(make([]byte, 1024)))
}

func (s *Scene) Fragment6(src, dst netip.Addr, n uint32) []byte {
	head := []byte{byte(layers.IPProtocolICMPv6), 0, 0, 1}
	head = binary.BigEndian.AppendUint32(head, uint32(spread(n)))
	head = append(head, 128, 0, 0, 0)
	return s.Send6(IPv6(src, dst, layers.IPProtocolIPv6Fragment), gopacket.Payload(append(head, make([]byte, 1020)...)))
}

// DHCP is a DISCOVER, or the answer of a server to a relay.
func (s *Scene) DHCP(mac net.HardwareAddr, n uint32) []byte {
	ip := IPv4(netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255"), layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return pack(s.eth(mac, broadcast, layers.EthernetTypeIPv4), ip, udp, &layers.DHCPv4{Operation: layers.DHCPOpRequest,
		HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: n, ClientHWAddr: mac, Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{1}), layers.NewDHCPOption(layers.DHCPOptEnd, nil)}})
}

func (s *Scene) DHCPAnswer(src, dst netip.Addr, n uint32) []byte {
	ip := IPv4(src, dst, layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: 67, DstPort: 67}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return s.Send4(ip, udp, &layers.DHCPv4{Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: n,
		ClientHWAddr: Station(n), YourClientIP: net.IP{203, 0, 113, 66}, RelayAgentIP: dst.AsSlice(), Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{2}), layers.NewDHCPOption(layers.DHCPOptEnd, nil)}})
}

// LinkLocalOf is the address that the kernel makes of a MAC.
func LinkLocalOf(m net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// For returns the scene as another station sees it: who it is, and its next hop.
func (s *Scene) For(mac, router net.HardwareAddr) *Scene {
	o := *s
	o.MAC, o.Router = mac, router
	return &o
}

// Redirect4 sends a packet elsewhere next time, and Quench4 asks for fewer.
func (s *Scene) Redirect4(src, dst netip.Addr, quoted []byte) []byte {
	return s.icmp4(src, dst, 5, 1, quoted)
}

func (s *Scene) Quench4(src, dst netip.Addr, quoted []byte) []byte {
	return s.icmp4(src, dst, 4, 0, quoted)
}

func (s *Scene) icmp4(src, dst netip.Addr, kind, code uint8, quoted []byte) []byte {
	ip := IPv4(src, dst, layers.IPProtocolICMPv4)
	return s.Send4(ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code)}, gopacket.Payload(quoted))
}

// Split cuts an IPv4 packet into two fragments, of which the first has so many octets of
// its payload, a multiple of 8.
func Split(frame []byte, first int) (fragments [2][]byte) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	eth, ip := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	payload := ip.Payload
	a, b := *ip, *ip
	a.Id, b.Id = 4711, 4711
	a.Flags, b.Flags = layers.IPv4MoreFragments, 0
	b.FragOffset = uint16(first / 8)
	fragments[0] = pack(eth, &a, gopacket.Payload(payload[:first]))
	fragments[1] = pack(eth, &b, gopacket.Payload(payload[first:]))
	return fragments
}

// Payload is so many octets of a UDP datagram to port 7, header included.
func Payload(n int) gopacket.Payload {
	b := make([]byte, n)
	copy(b, []byte{0x13, 0x88, 0, 7, byte(n >> 8), byte(n)}) // no checksum
	return b
}
