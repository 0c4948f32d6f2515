package plan

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// In ModeEBGPToR a fabric is no layer 2 network but routed: in each of two racks a
// top-of-rack router, and a spine that connects them, the edge router behind it. A
// hypervisor speaks eBGP with the two routers of its rack, one a fabric. No link has an
// address but link-local ones. The private networks are a VRF of the same routers, here a
// namespace of its own, whose name ends with p.

// Racks is how many there are in ModeEBGPToR.
const Racks = 2

// Rack is the rack of hypervisor n: the first is alone in its.
func Rack(n int) int { return min(n, Racks) }

// Underlay reports whether the fabrics are routed.
func (v Variant) Underlay() bool { return v.Is("mode", ModeEBGPToR) }

// UnderlayRouter is a router of a routed fabric.
type UnderlayRouter struct {
	Name    string
	Fabric  Fabric
	Private bool // it is the VRF of the private network
	Rack    int  // 0: it is a spine
	AS      uint32
	ID      netip.Addr // BGP identifier
}

// TorName is the node name of the router of a rack on a fabric, SpineName of a fabric's spine.
func TorName(rack int, f Fabric, private bool) string {
	return fmt.Sprintf("tor%d%s", rack, nodeSuffix(f, private))
}

// SpineName is the node name of a fabric's spine.
func SpineName(f Fabric, private bool) string { return "spine" + nodeSuffix(f, private) }

func nodeSuffix(f Fabric, private bool) string {
	s := strings.ToLower(f.String())
	if private {
		s += "p"
	}
	return s
}

// UnderlayRouters lists the routers of the fabrics, top-of-racks first.
func UnderlayRouters() (out []UnderlayRouter) {
	for rack := 1; rack <= Racks+1; rack++ {
		for _, f := range Fabrics {
			for _, private := range []bool{false, true} {
				r := UnderlayRouter{TorName(rack, f, private), f, private, rack, uint32(65000 + 10*rack + int(f) + 1), v4(0, 0, 2, 10*rack+int(f)+1)}
				if rack > Racks {
					r = UnderlayRouter{SpineName(f, private), f, private, 0, 65100, v4(0, 0, 3, int(f)+1)}
				}
				if private {
					r.ID = r.ID.Next().Next().Next().Next()
				}
				out = append(out, r)
			}
		}
	}
	return out
}

// EdgeAS is the AS of the edge router in ModeEBGPToR.
const EdgeAS = 65200

// HVAS is the AS of hypervisor n: the lab's, or in ModeEBGPToR one of its own.
func (v Variant) HVAS(n int) uint32 {
	if v.Underlay() {
		return uint32(AS + n)
	}
	return AS
}

// End is one end of a cable: an interface of a node.
type End struct {
	Node, Link string
	AS         uint32
}

// Cable joins two routers in ModeEBGPToR.
type Cable struct {
	Fabric  Fabric
	Private bool
	Low, Up End // Up is nearer to the spine
	number  byte
}

// MAC is the address of an end.
func (c Cable) MAC(up bool) net.HardwareAddr {
	end := byte(1)
	if up {
		end = 2
	}
	return net.HardwareAddr{2, 0, 0, 0, c.number, end}
}

// LinkLocal is the link-local address of an end.
func (c Cable) LinkLocal(up bool) netip.Addr {
	return eui64(netip.MustParseAddr("fe80::"), c.MAC(up))
}

// Cables lists all of ModeEBGPToR.
func Cables() (out []Cable) {
	v := Variant{Mode: ModeEBGPToR}
	for _, r := range UnderlayRouters() {
		link, number := r.Fabric.Public(), byte(0x10+0x20*int(r.Fabric))
		if r.Private {
			link, number = r.Fabric.Private(), number+0x10
		}
		add := func(low End, upLink string, n int) {
			out = append(out, Cable{r.Fabric, r.Private, low, End{r.Name, upLink, r.AS}, number + byte(n)})
		}
		for n := 1; n <= HVs && r.Rack > 0; n++ {
			if Rack(n) == r.Rack {
				add(End{HVName(n), link, v.HVAS(n)}, HVName(n), n)
			}
		}
		if r.Rack > 0 {
			continue
		}
		for _, t := range UnderlayRouters() {
			if t.Rack > 0 && t.Fabric == r.Fabric && t.Private == r.Private {
				add(End{t.Name, "spine", t.AS}, fmt.Sprintf("tor%d", t.Rack), 8+t.Rack)
			}
		}
		if !r.Private {
			add(End{EdgeName, link, EdgeAS}, EdgeName, 15)
		}
	}
	return out
}

// Adjacency is a neighbour of a router in ModeEBGPToR, as that router sees it.
type Adjacency struct {
	Fabric      Fabric
	Private     bool
	Link        string // of the router
	Local, Peer netip.Addr
	Node        string // the neighbour
	AS          uint32
}

// Adjacencies lists the neighbours of a node.
func Adjacencies(node string) (out []Adjacency) {
	for _, c := range Cables() {
		if c.Low.Node == node {
			out = append(out, Adjacency{c.Fabric, c.Private, c.Low.Link, c.LinkLocal(false), c.LinkLocal(true), c.Up.Node, c.Up.AS})
		}
		if c.Up.Node == node {
			out = append(out, Adjacency{c.Fabric, c.Private, c.Up.Link, c.LinkLocal(true), c.LinkLocal(false), c.Low.Node, c.Low.AS})
		}
	}
	return out
}

// Upstream is the address of the router that a hypervisor or the edge router has on
// a fabric in ModeEBGPToR.
func Upstream(node string, f Fabric, private bool) netip.Addr {
	for _, a := range Adjacencies(node) {
		if a.Fabric == f && a.Private == private {
			return a.Peer
		}
	}
	return netip.Addr{}
}

// Uplinks lists the addresses of hypervisor n on a fabric.
func (v Variant) Uplinks(n int, f Fabric) (out []netip.Addr) {
	if !v.Underlay() {
		return []netip.Addr{HVPublic4(n, f), HVPublic6(n, f), HVPrivate4(n, f)}
	}
	for _, a := range Adjacencies(HVName(n)) {
		if a.Fabric == f {
			out = append(out, a.Local)
		}
	}
	return out
}

// Peer is what hypervisors have their sessions with on a fabric, for people.
func (v Variant) Peer(f Fabric) string {
	if v.Underlay() {
		return "top-of-rack " + strings.ToLower(f.String())
	}
	return "reflector " + RRName(f)
}
