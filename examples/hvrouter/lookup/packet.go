package lookup

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Packet is what a forwarding decision looks at.
type Packet struct {
	Dst netip.Addr
	Src netip.Addr // may be invalid: it matches rules without From only
	// IIF is the interface that the packet came in by; the zero value is a packet of this
	// host's own, which rules match as from lo.
	IIF Link
	// OIF is the link that a link-local Dst is on, as its zone says; the zero value is any. Routes over others do
	// not count.
	OIF  Link
	Mark uint32 // of the firewall, when routes are looked up
	MAC  net.HardwareAddr
}

// String formats the packet as the arguments of `ip route get`.
func (p Packet) String() string {
	var b strings.Builder
	b.WriteString(p.Dst.String())
	if p.Src.IsValid() {
		fmt.Fprintf(&b, " from %v", p.Src)
	}
	if p.IIF.Index != 0 {
		fmt.Fprintf(&b, " iif %s", p.IIF.Name)
	}
	if p.OIF.Index != 0 && p.IIF.Index == 0 {
		fmt.Fprintf(&b, " oif %s", p.OIF.Name)
	}
	if p.Mark != 0 {
		fmt.Fprintf(&b, " mark %#x", p.Mark)
	}
	return b.String()
}

// Link is an interface.
type Link struct {
	Index int
	Name  string
	// Up and Carrier are IFF_UP and IFF_LOWER_UP.
	Up, Carrier bool
	// Master is the interface that it belongs to, 0 for none; Table is that of a VRF, 0 for
	// any other interface.
	Master int
	Table  uint32
	VNI    uint32 // of a VXLAN device; 0 for any other interface, and for one without a VNI of its own
	Bridge bool
	// Lower is the interface that it is on, as a VLAN is, or the peer of a veth; 0: none in this namespace.
	Lower int
}

// Neighbour is an entry of the neighbour table.
type Neighbour struct {
	Addr     netip.Addr
	IfIndex  int
	MAC      net.HardwareAddr
	State    string // reachable, stale, delay, probe, permanent, incomplete, failed, noarp, none
	Proxy    bool   // the kernel answers for the address (NTF_PROXY)
	Protocol uint8
}

// NextHopObject is a next-hop object or group of the kernel.
type NextHopObject struct {
	ID        uint32
	Blackhole bool
	Hop       Hop      // of an object
	Members   []uint32 // of a group; nil for an object
	Weights   []uint16
	Protocol  uint8
	Flags     uint8 // flagDead, flagLinkDown
}
