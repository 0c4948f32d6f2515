package hostile

import (
	"net/netip"

	"github.com/google/gopacket/layers"
)

// Port is where a flood comes from.
type Port int

const (
	Guest   Port = iota // the attacker's interface
	Overlay             // its interface on the overlay
	Loose               // a tap that is no guest
	Outside             // a host on the fabric
)

// Flood is one flood: what its n-th frame is.
type Flood struct {
	Name  string
	From  Port
	Frame func(s *Scene, n uint32) []byte
}

// Floods are all that are known.
var Floods = []Flood{
	// Neighbour tables, by what the kernel learns.
	{"nd from link-local", Guest, func(s *Scene, n uint32) []byte { return s.Solicit(s.MAC, LinkLocal(n)) }},
	{"nd from own /64", Guest, func(s *Scene, n uint32) []byte { return s.Solicit(s.MAC, Inside(s.Own6, n)) }},
	{"nd from other's /64", Guest, func(s *Scene, n uint32) []byte { return s.Solicit(s.MAC, Inside(s.Other6, n)) }},
	{"nd from other MACs", Guest, func(s *Scene, n uint32) []byte { return s.Solicit(Station(n), LinkLocal(n)) }},
	{"rs from link-local", Guest, func(s *Scene, n uint32) []byte { return s.RouterSolicit(s.MAC, LinkLocal(n)) }},
	{"rs from own /64", Guest, func(s *Scene, n uint32) []byte { return s.RouterSolicit(s.MAC, Inside(s.Own6, n)) }},
	{"ra from link-local", Guest, func(s *Scene, n uint32) []byte { return s.RouterAdvert(s.MAC, LinkLocal(n)) }},
	{"na from own /64", Guest, func(s *Scene, n uint32) []byte {
		return s.NeighborAdvert(s.MAC, Inside(s.Own6, n), Inside(s.Own6, n))
	}},
	{"arp from own subnet", Guest, func(s *Scene, n uint32) []byte {
		return s.ARP(s.MAC, layers.ARPRequest, Inside(s.Routed4, n), s.Gateway4)
	}},
	{"arp from others", Guest, func(s *Scene, n uint32) []byte {
		return s.ARP(Station(n), layers.ARPRequest, Inside(netip.PrefixFrom(s.Own4, 24), n), s.Gateway4)
	}},
	{"arp for others", Guest, func(s *Scene, n uint32) []byte { return s.ARP(s.MAC, layers.ARPRequest, s.Own4, s.Other4) }},
	{"arp probes", Guest, func(s *Scene, n uint32) []byte {
		return s.ARP(s.MAC, layers.ARPRequest, netip.IPv4Unspecified(), Inside(netip.PrefixFrom(s.Own4, 24), n))
	}},
	{"arp replies", Guest, func(s *Scene, n uint32) []byte {
		return s.ARP(Station(n), layers.ARPReply, Inside(netip.PrefixFrom(s.Own4, 24), n), s.Gateway4)
	}},

	// Neighbour tables, by what the kernel is made to ask for.
	{"ping from link-local", Guest, func(s *Scene, n uint32) []byte { return s.Ping6(LinkLocal(n), s.Gateway6, n) }},
	{"ping from own /64", Guest, func(s *Scene, n uint32) []byte { return s.Ping6(Inside(s.Own6, n), s.Gateway6, n) }},
	{"ping from own subnet", Guest, func(s *Scene, n uint32) []byte { return s.Ping4(Inside(s.Routed4, n), s.Gateway4, n) }},
	{"scan of the fabric", Guest, func(s *Scene, n uint32) []byte {
		return s.Ping6(Inside(s.Own6, 1), Inside(s.Fabric6, n), n)
	}},
	{"scan of a guest's /64", Outside, func(s *Scene, n uint32) []byte { return s.Ping6(s.Outside6, Inside(s.Own6, n), n) }},
	{"scan of a guest's subnets", Outside, func(s *Scene, n uint32) []byte {
		if n%2 == 0 {
			return s.Ping4(s.Outside4, Inside(s.Routed4, n), n)
		}
		return s.Ping6(s.Outside6, Inside(s.Routed6, n), n)
	}},

	// Neighbour tables, by errors that the kernel sends before a rule sees the packet, or
	// because it cannot forward it.
	{"options from link-local", Guest, func(s *Scene, n uint32) []byte { return s.Option6(LinkLocal(n), s.Gateway6) }},
	{"options from own /64", Guest, func(s *Scene, n uint32) []byte { return s.Option6(Inside(s.Own6, n), s.Outside6) }},
	{"options from the fabric", Guest, func(s *Scene, n uint32) []byte { return s.Option6(Inside(s.Fabric6, n), s.Outside6) }},
	{"options from a loose tap", Loose, func(s *Scene, n uint32) []byte { return s.Option6(LinkLocal(n), LinkLocalOf(s.Router)) }},
	{"link-local to outside", Guest, func(s *Scene, n uint32) []byte { return s.Ping6(LinkLocal(n), s.Outside6, n) }},
	{"link-local, hop limit 1", Guest, func(s *Scene, n uint32) []byte { return s.Expiring(LinkLocal(n), s.Outside6, n) }},
	{"to link-local of nobody", Guest, func(s *Scene, n uint32) []byte { return s.Ping6(Inside(s.Own6, 1), LinkLocal(n), n) }},

	// Connection tracking.
	{"new flows", Guest, func(s *Scene, n uint32) []byte { return s.SYN(s.Own4, Inside(s.Sink4, n), n) }},
	{"new flows, IPv6", Guest, func(s *Scene, n uint32) []byte { return s.SYN(Inside(s.Own6, n), Inside(s.Sink6, n), n) }},
	{"new flows to transparent", Outside, func(s *Scene, n uint32) []byte { return s.SYN(s.Outside4, s.Transparent, n) }},

	// Path MTU.
	{"path MTU of VXLAN", Guest, func(s *Scene, n uint32) []byte {
		return s.TooBig4(s.Own4, s.Gateway4, Quote(s.VTEP, s.FarVTEP, layers.IPProtocolUDP, uint16(n), 4789))
	}},
	{"path MTU of BGP and BFD", Guest, func(s *Scene, n uint32) []byte {
		to := s.Hypervisor[int(n)%len(s.Hypervisor)]
		switch n % 3 {
		case 0:
			return s.TooBig4(s.Own4, to, Quote(s.Local4, s.Reflector4, layers.IPProtocolTCP, uint16(1024+n), 179))
		case 1:
			return s.TooBig4(s.Own4, to, Quote(s.Local4, s.Reflector4, layers.IPProtocolUDP, uint16(49152+n%16000), 3784))
		}
		return s.TooBig4(s.Own4, to, Quote(s.Local4, s.Reflector4, layers.IPProtocolICMPv4, 0, 0))
	}},
	{"path MTU of IPv6", Guest, func(s *Scene, n uint32) []byte {
		if n%2 == 0 {
			return s.TooBig6(Inside(s.Own6, 1), s.Gateway6, Quote(s.Local6, s.Reflector6, layers.IPProtocolICMPv6, 0, 0))
		}
		return s.TooBig6(Inside(s.Own6, 1), s.Gateway6, Quote(s.Local6, s.Reflector6, layers.IPProtocolTCP, uint16(1024+n), 179))
	}},
	{"path MTU of others", Guest, func(s *Scene, n uint32) []byte {
		if n%2 == 0 {
			return s.TooBig4(s.Own4, s.Other4, Quote(s.Other4, s.Outside4, layers.IPProtocolICMPv4, 0, 0))
		}
		other := Inside(s.Other6, 1)
		return s.TooBig6(Inside(s.Own6, 1), other, Quote(other, s.Outside6, layers.IPProtocolICMPv6, 0, 0))
	}},
	{"path MTU of own addresses", Guest, func(s *Scene, n uint32) []byte {
		return s.TooBig6(Inside(s.Own6, 1), s.Gateway6, Quote(s.Gateway6, Inside(s.Own6, n), layers.IPProtocolICMPv6, 0, 0))
	}},

	{"path MTU of VXLAN from outside", Outside, func(s *Scene, n uint32) []byte {
		return s.TooBig4(s.Outside4, s.Local4, Quote(s.VTEP, s.FarVTEP, layers.IPProtocolUDP, uint16(n), 4789))
	}},

	// Fragments and options.
	{"fragments to the gateway", Guest, func(s *Scene, n uint32) []byte { return s.Fragment4(s.Own4, s.Gateway4, n) }},
	{"fragments to the gateway, IPv6", Guest, func(s *Scene, n uint32) []byte {
		return s.Fragment6(Inside(s.Own6, 1), s.Gateway6, n)
	}},
	{"fragments to others", Guest, func(s *Scene, n uint32) []byte { return s.Fragment4(s.Own4, Inside(s.Sink4, n), n) }},
	{"IP options", Guest, func(s *Scene, n uint32) []byte {
		option := [...]layers.IPv4Option{
			{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}},
			{OptionType: 68, OptionLength: 12, OptionData: []byte{5, 1, 0, 0, 0, 0, 0, 0, 0, 0}},
			{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}},
		}[n%3]
		to := s.Gateway4
		if n%2 == 0 {
			to = s.Outside4
		}
		return s.Ping4(s.Own4, to, n, option)
	}},
	{"hop limits that end here", Guest, func(s *Scene, n uint32) []byte {
		ip := IPv4(s.Own4, s.Outside4, layers.IPProtocolICMPv4)
		ip.TTL = 1
		return s.Send4(ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: uint16(n)})
	}},

	// Services.
	{"dhcp", Guest, func(s *Scene, n uint32) []byte { return s.DHCP(Station(n), n) }},
	{"dhcp answers from a guest", Guest, func(s *Scene, n uint32) []byte {
		return s.DHCPAnswer(s.Own4, s.Hypervisor[int(n)%len(s.Hypervisor)], n)
	}},
	{"dhcp answers from outside", Outside, func(s *Scene, n uint32) []byte { return s.DHCPAnswer(s.Outside4, s.Local4, n) }},
	{"control ports", Guest, func(s *Scene, n uint32) []byte { return s.SYN(s.Own4, s.Hypervisor[int(n)%len(s.Hypervisor)], n) }},

	// The overlay.
	{"overlay arp", Overlay, func(s *Scene, n uint32) []byte {
		return s.ARP(Station(n), layers.ARPRequest, Inside(netip.MustParsePrefix("192.168.0.0/16"), n), s.Hypervisor[int(n)%len(s.Hypervisor)])
	}},
	{"overlay nd", Overlay, func(s *Scene, n uint32) []byte { return s.Solicit(Station(n), LinkLocal(n)) }},

	// A tap before it is attached, or after.
	{"nd from a loose tap", Loose, func(s *Scene, n uint32) []byte { return s.Solicit(s.MAC, LinkLocal(n)) }},
	{"rs from a loose tap", Loose, func(s *Scene, n uint32) []byte { return s.RouterSolicit(s.MAC, LinkLocal(n)) }},
	{"arp from a loose tap", Loose, func(s *Scene, n uint32) []byte {
		return s.ARP(s.MAC, layers.ARPRequest, Inside(netip.MustParsePrefix("192.168.0.0/16"), n), s.Hypervisor[int(n)%len(s.Hypervisor)])
	}},
	{"ping from a loose tap", Loose, func(s *Scene, n uint32) []byte { return s.Ping6(LinkLocal(n), LinkLocalOf(s.Router), n) }},
	{"packets through a loose tap", Loose, func(s *Scene, n uint32) []byte {
		return s.SYN(Inside(s.Other6, n), s.Outside6, n)
	}},
}
