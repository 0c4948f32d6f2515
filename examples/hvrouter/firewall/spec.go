package firewall

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// Spec is the whole firewall of one network namespace as a value. What arrives on an
// interface that it does not name is dropped. Interfaces are named, not numbered.
type Spec struct {
	// Table is the name of the nftables tables, of the families inet and arp. "" is
	// "hvrouter". Nobody else may use it: they are replaced as a whole.
	Table string

	// Marks tell the routing domains of packets that arrive, for policy rules: a
	// packet from one of a mark's interfaces has the bits of MarkMask set to its
	// value, before anything is looked up. Other bits stay as they are.
	Marks    []Mark
	MarkMask uint32

	// VRF says that interfaces belong to VRFs, whose devices are in Host and in Domains,
	// too: a packet for the hypervisor, or to be forwarded, then comes in on the VRF's
	// device and its interface is remembered beside it. The sources of IPv4 are checked
	// as well, because strict rp_filter takes any interface of a VRF for the right one.
	VRF bool

	// MarksOnly leaves everything else out.
	MarksOnly bool

	// Host are the hypervisor's own interfaces besides its uplinks: lo, the loopback,
	// management. They are not restricted, and what they carry is tracked as others want
	// it.
	Host []string

	// Uplinks are the interfaces towards the fabrics.
	Uplinks []string

	// Peers are neighbours on uplinks that may ask for us at any rate: those of sessions, for example.
	// Others are limited as long as they are new.
	Peers []Peer

	// Room4 and Room6 are how many entries of the kernel's tables of neighbours there are for
	// each uplink: the table's divided by [Shares]. Zero is of the default, 1,024.
	Room4, Room6 uint32

	// Local are our addresses of IPv4. What is asked of others by ARP is not limited.
	Local []netip.Addr

	// OnLink are prefixes of which the kernel resolves each address by itself: those of
	// the uplinks' addresses, for example. What a guest sends there may make it begin to
	// ask for some addresses a second, no more.
	OnLink []netip.Prefix

	// Guests are those that are attached.
	Guests []Guest

	// Domains are groups of interfaces between which nothing is forwarded:
	// public (with the guests) and private, for example. An interface that is in
	// none is not restricted.
	Domains [][]string

	// VXLANPorts are UDP ports that only Underlay interfaces may send to.
	// Without a port there is no such rule; without Underlay nobody may.
	VXLANPorts []uint16
	Underlay   []string

	// VTEPs are our addresses that overlays' packets come from: ICMP errors about those
	// are believed from Underlay alone.
	VTEPs []netip.Addr

	// Isolated are bridges of overlays: the hypervisor neither hears nor speaks
	// on them, but for what Gateways says.
	Isolated []string

	// Gateways are those of Isolated on which the hypervisor routes for guests.
	Gateways []Gateway

	// Open are ports of the hypervisor that guests may use.
	Open []Port

	// LogRate is how many dropped packets a second are logged, each kind of drop
	// by itself. 0 logs none.
	LogRate uint32
}

// Guest is what one interface may say. What comes from it may reach the hypervisor only
// as ICMP to one of its Gateways, ARP and neighbour discovery from Neighbors, DHCP, or
// through [Spec.Open].
type Guest struct {
	Interface string
	// MAC is what ARP and neighbour discovery must come from. The zero value binds none.
	MAC ether.MAC
	// Neighbors are the addresses that the kernel may learn of, and answer to: those for
	// which it has a permanent entry, or those that it must resolve by itself. What the
	// guest says in ARP and neighbour discovery from others never reaches the kernel.
	Neighbors []netip.Addr
	// Resolved says that the kernel resolves the Neighbors by itself: there is no
	// permanent entry, and the guest's answers are let in, from any MAC.
	Resolved bool
	// Prefixes are the guest's own: ICMP errors are forwarded only about packets that
	// were sent to them.
	Prefixes []netip.Prefix
	// Gateways are the hypervisor's addresses on the interface.
	Gateways []netip.Addr
	// Translations are the guest's transparent addresses.
	Translations []Translation
}

// Port is a transport protocol (6 TCP, 17 UDP) and a destination port.
type Port struct {
	Protocol uint8
	Port     uint16
}

// Translation rewrites the destination of packets to Address into To, and of the
// answers back. Only these are tracked.
type Translation struct{ Address, To netip.Addr }

// normal returns the spec in a form in which equal firewalls are equal values.
func (s Spec) normal() Spec {
	if s.Table == "" {
		s.Table = "hvrouter"
	}
	s.Host, s.Uplinks, s.Underlay, s.Isolated = sorted(s.Host), sorted(s.Uplinks), sorted(s.Underlay), sorted(s.Isolated)
	s.Domains = slices.Clone(s.Domains)
	for i := range s.Domains {
		s.Domains[i] = sorted(s.Domains[i])
	}
	s.Marks = normalMarks(s.Marks)
	s.Gateways = normalGateways(s.Gateways)
	s.VXLANPorts = slices.Compact(slices.Sorted(slices.Values(s.VXLANPorts)))
	s.VTEPs, s.Local = distinct(s.VTEPs), distinct(s.Local)
	s.Peers = slices.Clone(s.Peers)
	slices.SortFunc(s.Peers, func(a, b Peer) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), a.Address.Compare(b.Address))
	})
	s.Peers = slices.Compact(s.Peers)
	s.OnLink = widest(s.OnLink)
	s.Open = slices.Clone(s.Open)
	slices.SortFunc(s.Open, func(a, b Port) int { return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port)) })
	s.Open = slices.Compact(s.Open)
	s.Guests = slices.Clone(s.Guests)
	for i := range s.Guests {
		s.Guests[i] = s.Guests[i].normal()
	}
	slices.SortFunc(s.Guests, func(a, b Guest) int { return strings.Compare(a.Interface, b.Interface) })
	s.Guests = slices.CompactFunc(s.Guests, func(a, b Guest) bool { return a.Interface == b.Interface })
	return s
}

func (g Guest) normal() Guest {
	g.Neighbors, g.Gateways, g.Prefixes = distinct(g.Neighbors), distinct(g.Gateways), widest(g.Prefixes)
	g.Translations = slices.Clone(g.Translations)
	slices.SortFunc(g.Translations, func(a, b Translation) int { return a.Address.Compare(b.Address) })
	return g
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

func distinct(addrs []netip.Addr) []netip.Addr {
	out := slices.Clone(addrs)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// widest returns the prefixes that no other one contains: the intervals of a set must
// not overlap.
func widest(prefixes []netip.Prefix) (out []netip.Prefix) {
	all := make([]netip.Prefix, len(prefixes))
	for i, p := range prefixes {
		all[i] = p.Masked()
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	for _, p := range all {
		if n := len(out); n == 0 || !out[n-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}
