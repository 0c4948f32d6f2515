package plan

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
)

// Lab is the plan of one run. The zero value is the published design.
type Lab struct {
	Variant
	// PerHV is how many guests each hypervisor has besides the four; see [Lab.Load].
	PerHV int
	// Stay lists the hypervisors that have reflectors although there are top-of-rack routers.
	Stay []int
	// Away says of guests, by number, which hypervisor they have moved to.
	Away map[int]int
}

// Guest is one virtual machine.
type Guest struct {
	N           int              // 1 to 4
	Name        string           // vm1: node name, and name of its tap on the hypervisor
	HV          int              // where it lives
	MAC         net.HardwareAddr // of eth0
	IPv4        netip.Addr       // configured with the length of [Subnet4]
	Prefix6     netip.Prefix     // what is routed to it: its own /64, or a /128 of [Shared6]
	Anycast     bool             // has [Anycast4] and [Anycast6] on its loopback
	Transparent bool             // [Transparent] is translated to it
	Moves       bool             // can move to another hypervisor
}

// Shared6 is the /64 that all guests believe to share where each has a /128.
var Shared6 = netip.MustParsePrefix("2001:db8:cb00:7100::/64")

// Guests lists all guests in order.
func (l Lab) Guests() []Guest {
	g := func(n, hv int, mac byte, anycast, transparent bool) Guest {
		return Guest{N: n, Name: fmt.Sprintf("vm%d", n), HV: hv,
			MAC:     net.HardwareAddr{0x50, 0x54, 0x33, 0, 0, mac},
			IPv4:    v4(203, 0, 113, n),
			Prefix6: l.prefix6(n),
			Anycast: anycast, Transparent: transparent}
	}
	guests := []Guest{
		g(1, 1, 0x07, true, false),
		g(2, 1, 0x09, false, false),
		g(3, 2, 0x0f, true, false),
		g(4, 3, 0x15, false, true),
	}
	guests[1].Moves = true
	for i := range guests {
		if hv := l.Away[guests[i].N]; hv != 0 {
			guests[i].HV = hv
		}
	}
	return guests
}

// Moved is the plan with one guest on another hypervisor.
func (l Lab) Moved(g Guest, hv int) Lab {
	l.Away = maps.Clone(l.Away)
	if l.Away == nil {
		l.Away = map[int]int{}
	}
	l.Away[g.N] = hv
	return l
}

// GuestsOf returns the guests of hypervisor n.
func (l Lab) GuestsOf(n int) []Guest {
	var out []Guest
	for _, g := range l.Guests() {
		if g.HV == n {
			out = append(out, g)
		}
	}
	return out
}

func (l Lab) prefix6(n int) netip.Prefix {
	a := Shared6.Addr().As16()
	if l.Is("guests", GuestsHost) {
		a[15] = byte(n)
		return netip.PrefixFrom(netip.AddrFrom16(a), 128)
	}
	a[7] = byte(n - 1)
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// IPv6 is the guest's address: its /128, or what it gives itself in its /64 (RFC
// 4862, Section 5.3, from the EUI-64 of its MAC).
func (g Guest) IPv6() netip.Addr {
	if g.Prefix6.IsSingleIP() {
		return g.Prefix6.Addr()
	}
	return eui64(g.Prefix6.Addr(), g.MAC)
}

// OnLink6 is the guest's address with the length of the network that it believes
// to be on its link.
func (g Guest) OnLink6() netip.Prefix { return netip.PrefixFrom(g.IPv6(), 64) }

// LinkLocal is the guest's link-local address.
func (g Guest) LinkLocal() netip.Addr { return eui64(netip.MustParseAddr("fe80::"), g.MAC) }

// Overlay is the guest's address on the overlay 192.168.5.0/24.
func (g Guest) Overlay() netip.Prefix { return netip.PrefixFrom(v4(192, 168, 5, g.N), 24) }

// OverlayMAC is the MAC of the guest's interface on the overlay.
func (g Guest) OverlayMAC() net.HardwareAddr {
	return net.HardwareAddr{0x50, 0x54, 0x33, 1, 0, byte(g.N)}
}

// The interfaces of a hypervisor on the overlay.
const (
	OverlayDevice = "vx100"
	OverlayBridge = "br100"
)

// OverlayTap is the name of the host end of the guest's overlay interface.
func (g Guest) OverlayTap() string { return g.Name + ".vx" }

func eui64(prefix netip.Addr, mac net.HardwareAddr) netip.Addr {
	a := prefix.As16()
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a)
}
