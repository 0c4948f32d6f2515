package plan

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
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

// Routed reports whether hypervisor n has top-of-rack routers and routed fabrics; otherwise it
// has two networks and their reflectors.
func (l Lab) Routed(n int) bool { return l.ToRs() && !slices.Contains(l.Stay, n) }

// ToRs reports whether there are routed fabrics, and with them the edge router.
func (l Lab) ToRs() bool { return l.Is("mode", ModeEBGPToR) }

// Reflected lists the hypervisors that have reflectors.
func (l Lab) Reflected() (out []int) {
	for n := 1; n <= HVs; n++ {
		if !l.Routed(n) {
			out = append(out, n)
		}
	}
	return out
}

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

// UnderlayRouters lists the routers of routed fabrics, top-of-racks first.
func (l Lab) UnderlayRouters() (out []UnderlayRouter) {
	if !l.ToRs() {
		return nil
	}
	for rack := 1; rack <= Racks+1; rack++ {
		for _, f := range Fabrics {
			for _, private := range []bool{false, true} {
				r := UnderlayRouter{TorName(rack, f, private), f, private, rack, uint32(65000 + 10*rack + int(f) + 1), v4(0, 0, 2, 10*rack+int(f)+1)}
				if rack > Racks {
					r = UnderlayRouter{SpineName(f, private), f, private, 0, l.spineAS(), v4(0, 0, 3, int(f)+1)}
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

// HVAS is the AS of hypervisor n: the lab's, or on routed fabrics one of its own.
func (l Lab) HVAS(n int) uint32 {
	if l.Routed(n) {
		return uint32(AS + n)
	}
	return AS
}

// End is one end of a cable: an interface of a node.
type End struct {
	Node, Link string
	AS         uint32
}

// Cable joins two routers of a routed fabric.
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

// Cables lists all of routed fabrics.
func (l Lab) Cables() (out []Cable) {
	routers := l.UnderlayRouters()
	for _, r := range routers {
		link, number := r.Fabric.Public(), byte(0x10+0x20*int(r.Fabric))
		if r.Private {
			link, number = r.Fabric.Private(), number+0x10
		}
		add := func(low End, upLink string, n int) {
			out = append(out, Cable{r.Fabric, r.Private, low, End{r.Name, upLink, r.AS}, number + byte(n)})
		}
		for n := 1; n <= HVs && r.Rack > 0; n++ {
			if l.Routed(n) && Rack(n) == r.Rack {
				add(End{HVName(n), link, l.HVAS(n)}, HVName(n), n)
			}
		}
		if r.Rack > 0 {
			continue
		}
		for _, t := range routers {
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

// Adjacency is a neighbour of a router on a routed fabric, as that router sees it.
type Adjacency struct {
	Fabric      Fabric
	Private     bool
	Link        string // of the router
	Local, Peer netip.Addr
	Node        string // the neighbour
	AS          uint32
}

// Adjacencies lists the neighbours that a node has on routed fabrics.
func (l Lab) Adjacencies(node string) (out []Adjacency) {
	for _, c := range l.Cables() {
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
// a routed fabric; the zero Addr says that it has none.
func (l Lab) Upstream(node string, f Fabric, private bool) netip.Addr {
	for _, a := range l.Adjacencies(node) {
		if a.Fabric == f && a.Private == private {
			return a.Peer
		}
	}
	return netip.Addr{}
}

// Uplinks lists the addresses of hypervisor n on a fabric.
func (l Lab) Uplinks(n int, f Fabric) (out []netip.Addr) {
	if !l.Routed(n) {
		return []netip.Addr{HVPublic4(n, f), HVPublic6(n, f), HVPrivate4(n, f)}
	}
	for _, a := range l.Adjacencies(HVName(n)) {
		if a.Fabric == f {
			out = append(out, a.Local)
		}
	}
	return out
}

// Hops lists the addresses that next hops of hypervisor n name on a fabric's public network: of
// the other hypervisors, of the spine, or of the router.
func (l Lab) Hops(n int, f Fabric) (out []netip.Addr) {
	if up := l.Upstream(HVName(n), f, false); up.IsValid() {
		return []netip.Addr{up}
	}
	for _, m := range l.Reflected() {
		if m != n {
			out = append(out, HVPublic4(m, f), HVPublic6(m, f))
		}
	}
	if l.Mixed() {
		out = append(out, SpinePublic4(f), SpinePublic6(f))
	}
	return out
}

// Peer is what hypervisors have their sessions with on a fabric, for people.
func (l Lab) Peer(f Fabric) string {
	if l.ToRs() {
		return "top-of-rack " + strings.ToLower(f.String())
	}
	return "reflector " + RRName(f)
}
