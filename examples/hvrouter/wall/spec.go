package wall

import (
	"net/netip"
	"slices"
)

// Spec is the whole wall as a value. The zero value lets everything pass.
// Interfaces are named, so that the wall stands before they appear; a name that ends in
// "*" stands for all that begin so.
type Spec struct {
	// Table is the name of the nftables table, family inet. "" is "hvrouter".
	// Nobody else may use it: it is replaced as a whole.
	Table string

	// Marks tell the routing domains of packets that arrive, for policy rules: a
	// packet from one of a mark's interfaces has the bits of MarkMask set to its
	// value, before anything is looked up. Other bits stay as they are.
	Marks    []Mark
	MarkMask uint32

	// VRF tells that interfaces belong to VRFs, whose devices are in Domains too: a
	// packet for the hypervisor, or to be forwarded, then comes in on the VRF's device
	// and its interface is remembered beside it. The sources of IPv4 are checked as
	// well, because strict rp_filter takes any interface of a VRF for the right one.
	VRF bool

	// MarksOnly leaves everything else out.
	MarksOnly bool

	// Guests are the interfaces towards guests. What comes from them may reach
	// the hypervisor only as ICMP, neighbour discovery, DHCP, or through Open.
	Guests []string

	// Domains are groups of interfaces between which nothing is forwarded:
	// public (with the guests) and private, for example. An interface that is in
	// none is not restricted.
	Domains [][]string

	// VXLANPorts are UDP ports that only Underlay interfaces may send to.
	// Without a port there is no such rule; without Underlay nobody may.
	VXLANPorts []uint16
	Underlay   []string

	// Isolated are bridges of overlays: the hypervisor neither hears nor speaks
	// on them.
	Isolated []string

	// Translations are the guests' transparent addresses.
	Translations []Translation

	// Open are ports of the hypervisor that guests may use.
	Open []Port

	// LogRate is how many dropped packets a second are logged, each kind of drop
	// by itself. 0 logs none.
	LogRate uint32
}

// Port is a transport protocol (6 TCP, 17 UDP) and a destination port.
type Port struct {
	Protocol uint8
	Port     uint16
}

// Translation rewrites the destination of packets to Address into To, and of the
// answers back.
type Translation struct{ Address, To netip.Addr }

// normal returns the spec in a form in which equal walls are equal values.
func (s Spec) normal() Spec {
	if s.Table == "" {
		s.Table = "hvrouter"
	}
	s.Guests = sorted(s.Guests)
	s.Underlay = sorted(s.Underlay)
	s.Isolated = sorted(s.Isolated)
	s.Domains = slices.Clone(s.Domains)
	for i := range s.Domains {
		s.Domains[i] = sorted(s.Domains[i])
	}
	s.Marks = normalMarks(s.Marks)
	s.VXLANPorts = slices.Compact(slices.Sorted(slices.Values(s.VXLANPorts)))
	s.Open = slices.Clone(s.Open)
	slices.SortFunc(s.Open, func(a, b Port) int {
		return int(a.Protocol)<<16 + int(a.Port) - int(b.Protocol)<<16 - int(b.Port)
	})
	s.Translations = slices.Clone(s.Translations)
	slices.SortFunc(s.Translations, func(a, b Translation) int { return a.Address.Compare(b.Address) })
	return s
}

func (s Spec) equal(o Spec) bool {
	return s.Table == o.Table && s.LogRate == o.LogRate && s.MarkMask == o.MarkMask && s.MarksOnly == o.MarksOnly && s.VRF == o.VRF &&
		slices.EqualFunc(s.Marks, o.Marks, Mark.equal) &&
		slices.Equal(s.Guests, o.Guests) && slices.Equal(s.Underlay, o.Underlay) &&
		slices.Equal(s.Isolated, o.Isolated) && slices.Equal(s.VXLANPorts, o.VXLANPorts) &&
		slices.Equal(s.Open, o.Open) && slices.Equal(s.Translations, o.Translations) &&
		slices.EqualFunc(s.Domains, o.Domains, slices.Equal[[]string])
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
