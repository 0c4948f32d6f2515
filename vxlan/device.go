package vxlan

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// MAC is a 48-bit Ethernet address: a comparable array of six octets with
// String, MarshalText and UnmarshalText. Its zero value means "none".
type MAC = ether.MAC

// Port is the UDP port of VXLAN (RFC 7348, Section 8).
const Port = 4789

// Overhead is what VXLAN adds to a guest's packet, in octets: outer IPv4 (20), UDP
// (8), VXLAN (8) and inner Ethernet header (14). Over IPv6 it is 20 more.
const Overhead = 50

// Device is a VXLAN interface as it shall be.
type Device struct {
	Interface string     // interface name, at most 15 octets
	VNI       uint32     // 24 bits
	Local     netip.Addr // the own VTEP; decides the family of the outer header
	Port      uint16     // UDP destination port; 0: Port
	TTL       uint8      // of the outer header; 0: 255, so that a receiver may apply GTSM
	// Learning lets the kernel learn from what it receives: for overlays without
	// per-MAC entries, where flooding teaches. False: only what is written counts
	// ("nolearning").
	Learning bool
	// Limit bounds the forwarding entries ("maxaddress"), those that are learned and those
	// that are written: a frame to a MAC beyond it is flooded. 0: no limit. It cannot be
	// changed while the device exists.
	Limit  uint32
	MTU    uint32 // octets; 0: left to the kernel
	MAC    MAC    // zero: left to the kernel
	Bridge int    // interface index of the bridge it is a port of; 0: none
	// Underlay is the interface index of the device that its UDP packets leave by and come
	// in on: of the VRF that Local belongs to, for example. 0: none, routes decide.
	Underlay int
}

func (d *Device) port() uint16 {
	if d.Port == 0 {
		return Port
	}
	return d.Port
}

func (d *Device) ttl() uint8 {
	if d.TTL == 0 {
		return 255
	}
	return d.TTL
}

// Check reports what of d the kernel would refuse.
func (d *Device) Check() error {
	switch {
	case d.Interface == "" || len(d.Interface) > 15:
		return fmt.Errorf("vxlan: device name %q has not 1 to 15 octets", d.Interface)
	case d.VNI >= 1<<24:
		return fmt.Errorf("vxlan: device %s: VNI %d does not fit 24 bits", d.Interface, d.VNI)
	case !d.Local.IsValid() || d.Local.IsUnspecified() || d.Local.IsMulticast():
		return fmt.Errorf("vxlan: device %s: local address %v is not one host's", d.Interface, d.Local)
	}
	return nil
}

// GuestMTU returns the largest MTU, in octets, that guests may use when the network
// below carries packets of underlay octets to and from the VTEP local. 1550
// below gives 1500 to guests over IPv4, 1570 over IPv6.
func GuestMTU(underlay int, local netip.Addr) int {
	if local.Is6() && !local.Is4In6() {
		return underlay - Overhead - 20
	}
	return underlay - Overhead
}
