package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// EVPN has an overlay announce its guests' MAC and IP addresses over BGP and learn where those of
// others are, instead of flooding and learning (RFC 8365, Section 5). It is negotiated on the sessions
// with reflectors of the domains that announce the loopback address, or of all domains if none does.
type EVPN struct {
	// RouteTarget marks what is announced, and is imported: AS:NUMBER. Default: our AS and the VNI,
	// as FRR has it; where both are over 65535 that does not exist, and it is required.
	RouteTarget RouteTarget `yaml:"route-target,omitempty" json:"route-target"`
	// Import are more route targets that are imported. Default: none.
	Import []RouteTarget `yaml:"import,omitempty" json:"import,omitempty"`
	// RD tells our routes from those of others: ADDRESS:NUMBER or AS:NUMBER. No two overlays have the
	// same. Default: the router id, and the VNI modulo 65536.
	RD RD `yaml:"rd,omitempty" json:"rd"`
	// DuplicateMoves is after how many moves the MAC of a guest is a duplicate, whose sequence number is
	// raised no more (RFC 7432, Section 15.1). Default 5.
	DuplicateMoves int `yaml:"duplicate-moves,omitempty" json:"duplicate-moves"`
	// DuplicateTime is in what time that many moves count, and without how long a move it is over.
	// Default 180s.
	DuplicateTime Duration `yaml:"duplicate-time,omitempty" json:"duplicate-time"`
}

// OverlayPort is an interface of a guest on an overlay.
type OverlayPort struct {
	// Overlay is the name of the overlay. Required.
	Overlay string `yaml:"overlay" json:"overlay"`
	// Interface is the host's side, a tap or veth, which becomes a port of the overlay's bridge.
	// Required.
	Interface string `yaml:"interface" json:"interface"`
	// MAC of the guest on the overlay. Required.
	MAC MAC `yaml:"mac" json:"mac,omitzero"`
	// IPv4 addresses of the guest on the overlay. They are not routed by the hypervisor, and other
	// overlays may have the same.
	IPv4 []Addr `yaml:"ipv4,omitempty" json:"ipv4,omitempty"`
	// IPv6 addresses of the guest on the overlay.
	IPv6 []Addr `yaml:"ipv6,omitempty" json:"ipv6,omitempty"`
}

// Addresses returns the addresses of both families.
func (p OverlayPort) Addresses() (list []netip.Addr) {
	for _, a := range slices.Concat(p.IPv4, p.IPv6) {
		list = append(list, a.Addr)
	}
	return list
}

// OverlayOnly reports whether a guest is on overlays and has nothing that is routed.
func (g *Guest) OverlayOnly() bool {
	return len(g.Overlays) > 0 && g.MAC.IsZero() && len(g.IPv4)+len(g.IPv6)+len(g.Routed)+len(g.Transparent) == 0
}

// RouteTarget is a route target in the file. The zero value means "not given".
type RouteTarget struct{ wire.ExtCommunity }

// RD is a route distinguisher in the file. The zero value means "not given".
type RD struct{ evpn.RD }

// L2VPN is the family of EVPN. It is not written in the file, but follows from its overlays.
const L2VPN Family = "evpn"

// RTConstrain is the family of route target constraint. It follows from EVPN and bgp.rt-constrain.
const RTConstrain Family = "rt-constrain"

// Imports returns the route targets that are imported, as they are in the file.
func (e *EVPN) Imports() []RouteTarget { return append([]RouteTarget{e.RouteTarget}, e.Import...) }

// Imports returns the route targets that some overlay imports, sorted.
func (c *Config) Imports() (list []wire.ExtCommunity) {
	for _, o := range c.Overlays {
		if o.EVPN != nil {
			for _, t := range o.EVPN.Imports() {
				list = append(list, t.ExtCommunity)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// IsZero reports whether no target was given.
func (t RouteTarget) IsZero() bool { return t.ExtCommunity == 0 }

// String returns AS:NUMBER.
func (t RouteTarget) String() string {
	if t.IsZero() {
		return ""
	}
	return evpn.CommunityString(t.ExtCommunity)[len("rt:"):]
}

// MarshalText returns what String does.
func (t RouteTarget) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalYAML reads AS:NUMBER.
func (t *RouteTarget) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a route target: AS:NUMBER, of which one fits 16 bits (in quotes)", func(s string) (err error) {
		var as, number uint32
		if _, err = fmt.Sscanf(s, "%d:%d", &as, &number); err == nil {
			if t.ExtCommunity, err = evpn.RouteTarget(as, number); err == nil && (t.String() != s || as == 0) {
				err = fmt.Errorf("more than two numbers")
			}
		}
		return err
	})
}

// IsZero reports whether none was given.
func (d RD) IsZero() bool { return d.RD == evpn.RD{} }

// MarshalText returns what String does.
func (d RD) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalYAML reads ADDRESS:NUMBER or AS:NUMBER.
func (d *RD) UnmarshalYAML(node ast.Node) error {
	return scan(node, "a route distinguisher: ADDRESS:NUMBER or AS:NUMBER (in quotes)", func(s string) (err error) {
		d.RD, err = evpn.ParseRD(s)
		if err == nil && d.IsZero() {
			err = fmt.Errorf("none") // it would read as not given
		}
		return err
	})
}

func (o *Overlay) fillEVPN(routerID Addr, as uint32) {
	if o.EVPN == nil {
		return
	}
	if o.EVPN.RouteTarget.IsZero() {
		o.EVPN.RouteTarget.ExtCommunity, _ = evpn.RouteTarget(as, o.VNI) // the check says what is missing
	}
	if o.EVPN.RD.IsZero() {
		o.EVPN.RD.RD = evpn.NewRD(routerID.Addr, uint16(o.VNI))
	}
	def(&o.EVPN.DuplicateMoves, 5)
	defDuration(&o.EVPN.DuplicateTime, 180*time.Second)
}

// fillEVPN has sessions negotiate EVPN, if an overlay has it, and route target constraint.
func (c *Config) fillEVPN() {
	if !slices.ContainsFunc(c.Overlays, func(o Overlay) bool { return o.EVPN != nil }) {
		return
	}
	all := !slices.ContainsFunc(c.Domains, func(d Domain) bool { return d.Loopback })
	shared := false
	carry := func(list []Reflector) {
		for i := range list {
			if list[i].AS == c.AS && !slices.Contains(list[i].Families, L2VPN) {
				list[i].Families = append(slices.Clip(list[i].Families), L2VPN)
				if c.BGP.RTConstrain {
					list[i].Families = append(list[i].Families, RTConstrain)
				}
			}
		}
	}
	for i, d := range c.Domains {
		if all || d.Loopback {
			carry(c.Domains[i].Reflectors)
			shared = shared || c.Shares(d.Name)
		}
	}
	if shared {
		carry(c.Sessions)
	}
}

// CarriesEVPN reports whether a session of a domain negotiates EVPN.
func (c *Config) CarriesEVPN(d Domain) bool {
	sessions, _ := c.SessionsOf(d)
	return slices.ContainsFunc(sessions, func(r Reflector) bool { return slices.Contains(r.Families, L2VPN) })
}

// overlayEVPN checks what an overlay announces and imports.
func (k *checker) overlayEVPN(path string, o Overlay, c *Config, rds unique[evpn.RD]) {
	e := o.EVPN
	if e == nil {
		return
	}
	if e.RouteTarget.IsZero() {
		k.bad(path+".evpn", "route-target is missing: AS %d and VNI %d are both over 65535, so that the usual one does not exist", c.AS, o.VNI)
	}
	rds.add(k, path+".evpn.rd", "route distinguisher", e.RD.RD)
	seen := unique[RouteTarget]{}
	seen.add(k, path+".evpn.route-target", "route target", e.RouteTarget)
	for i, t := range e.Import {
		seen.add(k, fmt.Sprintf("%s.evpn.import[%d]", path, i), "route target", t)
	}
	if n := e.DuplicateMoves; n < 2 || n > 1000000 {
		k.bad(path+".evpn.duplicate-moves", "%d: want 2 to 1000000", n)
	}
	if t := e.DuplicateTime.Duration; t < time.Second || t > 24*time.Hour {
		k.bad(path+".evpn.duplicate-time", "%v: want 1s to 24h", t)
	}
	if o.VTEPs.IsValid() {
		k.bad(path+".vteps", "the overlay has evpn, which says who its VTEPs are")
	}
	if !slices.ContainsFunc(c.Domains, c.CarriesEVPN) {
		k.bad(path+".evpn", "no domain that announces the loopback address has a session with a reflector in our AS, which EVPN needs")
	}
}

// overlayPorts checks a guest's interfaces on overlays.
func (a *Admission) overlayPorts(k *checker, g Guest) {
	interfaces, overlays := map[string]bool{g.Interface: true}, map[string]bool{}
	for i, p := range g.Overlays {
		at := fmt.Sprintf(".overlays[%d]", i)
		if k.need(at+".overlay", p.Overlay != "") && !slices.ContainsFunc(a.config.Overlays, func(o Overlay) bool { return o.Name == p.Overlay }) {
			k.bad(at+".overlay", "there is no overlay %s", p.Overlay)
		}
		if overlays[p.Overlay] {
			k.bad(at+".overlay", "the guest is on %s already", p.Overlay)
		}
		overlays[p.Overlay] = true
		if k.need(at+".interface", p.Interface != "") {
			k.link(at+".interface", p.Interface)
			if interfaces[p.Interface] {
				k.bad(at+".interface", "%s is another interface of the guest", p.Interface)
			}
			interfaces[p.Interface] = true
			for _, o := range a.interfaces {
				if o.name == p.Interface {
					k.bad(at+".interface", "%s is %s", p.Interface, o.what)
				}
			}
			if slices.Contains(a.host.Default, p.Interface) {
				k.odd(at+".interface", "the host's default route leads over %s", p.Interface)
			}
		}
		if k.need(at+".mac", !p.MAC.IsZero()) && p.MAC[0]&1 != 0 {
			k.bad(at+".mac", "%v is a multicast address", p.MAC)
		}
		if n := len(p.IPv4) + len(p.IPv6); n > mostOverlayAddresses {
			k.bad(at, "%d addresses: want at most %d", n, mostOverlayAddresses)
		}
		a.gatewayOf(k, at, p)
		seen := unique[Addr]{}
		for j, list := range [][]Addr{p.IPv4, p.IPv6} {
			name := []string{"ipv4", "ipv6"}[j]
			for n, addr := range list {
				field := fmt.Sprintf("%s.%s[%d]", at, name, n)
				if addr.Is4() != (j == 0) || addr.Is4In6() {
					k.bad(field, "%v is not an %s address", addr, []string{"IPv4", "IPv6"}[j])
					continue
				}
				k.unicast(field, addr.Addr)
				seen.add(k, field, "address", addr)
			}
		}
	}
}

// mostOverlayAddresses bounds what a guest has on one overlay: each is a route.
const mostOverlayAddresses = 64

// overlayClaims lists what only one guest may have on overlays, by field.
func overlayClaims(g Guest) (list [][2]string) {
	for i, p := range g.Overlays {
		at := fmt.Sprintf(".overlays[%d]", i)
		list = append(list, [2]string{at + ".interface", "interface " + p.Interface}, [2]string{at + ".mac", fmt.Sprintf("MAC %v on %s", p.MAC, p.Overlay)})
		for j, a := range p.IPv4 {
			list = append(list, [2]string{fmt.Sprintf("%s.ipv4[%d]", at, j), fmt.Sprintf("%v on %s", a, p.Overlay)})
		}
		for j, a := range p.IPv6 {
			list = append(list, [2]string{fmt.Sprintf("%s.ipv6[%d]", at, j), fmt.Sprintf("%v on %s", a, p.Overlay)})
		}
	}
	return list
}
