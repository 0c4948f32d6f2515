package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// nextHop reads NEXT_HOP.
func (u *Update) nextHop(s *attrSpec, v, raw []byte) {
	if len(v) != 4 {
		u.length(TreatAsWithdraw, s, AttrNextHop, raw)
		return
	}
	a := netip.AddrFrom4([4]byte(v))
	if !usable(a) {
		u.bad(TreatAsWithdraw, SubNextHop, AttrNextHop, raw, "RFC 4271, Section 6.3", fmt.Sprintf("%v is no host address", a))
		return
	}
	u.NextHop.Addr = a
}

// usable reports whether a can be the address of a router. An IPv4-mapped one is: FRR sends its
// IPv4 address so for IPv6 routes if it has no other.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && (!a.Is4() || a.As4()[0]>>4 != 15)
}

// mpReach reads MP_REACH_NLRI (RFC 4760, Section 3): AFI (2), SAFI (1), Length of Next Hop
// (1), Next Hop, reserved (1), NLRI.
func (u *Update) mpReach(v, raw []byte) {
	if len(v) < 5 || len(v) < 5+int(v[3]) {
		u.bad(SessionReset, SubOptionalAttribute, AttrMPReach, raw, "RFC 7606, Section 5.3", "cut short")
		return
	}
	f := Family{AFI: binary.BigEndian.Uint16(v), SAFI: v[2]}
	if !u.wants(f) {
		u.foreign = true
		return
	}
	nh, rest := v[4:4+v[3]], v[5+int(v[3]):]
	l := List{Family: f, AddPath: u.opt.AddPath.Has(f), Raw: rest}
	if !u.mpNextHop(f, nh, raw) {
		return
	}
	if !l.wellFormed() {
		u.bad(SessionReset, SubOptionalAttribute, AttrMPReach, raw, "RFC 7606, Section 5.3", "malformed NLRI")
		return
	}
	u.MPReach = l
	u.fields(AttrMPReach, &l)
}

// mpNextHop reads the next hop of MP_REACH_NLRI: 16 octets for every family, 4 for every one but IPv6, 32
// for IPv4 and IPv6 (RFC 2545, Section 3; RFC 8950, Section 3; RFC 7432, Sections 9.2 and 11.1; RFC
// 4684, Section 4). Any other length makes it unclear where the NLRI start. It reports false after a session reset.
func (u *Update) mpNextHop(f Family, nh, raw []byte) bool {
	switch {
	case len(nh) == 4 && f != IPv6Unicast:
		u.MPNextHop.Addr = netip.AddrFrom4([4]byte(nh))
	case len(nh) == 16:
		u.MPNextHop.Addr = netip.AddrFrom16([16]byte(nh))
	case len(nh) == 32 && f.bits() > 0:
		u.MPNextHop = NextHop{netip.AddrFrom16([16]byte(nh)), netip.AddrFrom16([16]byte(nh[16:]))}
		if a := u.MPNextHop.LinkLocal; !a.IsLinkLocalUnicast() {
			u.MPNextHop.LinkLocal = netip.Addr{}
		} else if g := u.MPNextHop.Addr; g.IsUnspecified() || g.IsLinkLocalUnicast() {
			u.MPNextHop = NextHop{Addr: a} // what peers without a global address send
		}
	default:
		return u.bad(SessionReset, SubOptionalAttribute, AttrMPReach, raw, "RFC 7606, Section 7.11", fmt.Sprintf("next hop of %d octets", len(nh)))
	}
	switch a := u.MPNextHop.Addr; {
	case f == IPv4Unicast && a.Is6() && !u.opt.ExtendedNextHop:
		u.bad(TreatAsWithdraw, SubOptionalAttribute, AttrMPReach, raw, "RFC 8950, Section 4", "IPv6 next hop was not negotiated")
	case !usable(a):
		u.bad(TreatAsWithdraw, SubOptionalAttribute, AttrMPReach, raw, "RFC 4760, Section 7", fmt.Sprintf("next hop %v is no host address", a))
	}
	return true
}

// mpUnreach reads MP_UNREACH_NLRI (RFC 4760, Section 4): AFI (2), SAFI (1), withdrawn NLRI.
func (u *Update) mpUnreach(v, raw []byte) {
	if len(v) < 3 {
		u.bad(SessionReset, SubOptionalAttribute, AttrMPUnreach, raw, "RFC 7606, Section 5.3", "cut short")
		return
	}
	f := Family{AFI: binary.BigEndian.Uint16(v), SAFI: v[2]}
	if !u.wants(f) {
		return
	}
	l := List{Family: f, AddPath: u.opt.AddPath.Has(f), Raw: v[3:]}
	if !l.wellFormed() {
		u.bad(SessionReset, SubOptionalAttribute, AttrMPUnreach, raw, "RFC 7606, Section 5.3", "malformed NLRI")
		return
	}
	u.MPUnreach = l
	u.fields(AttrMPUnreach, &l)
}

// fields notes routes of EVPN that are malformed.
func (u *Update) fields(t AttrType, l *List) {
	if l.Family == L2VPNEVPN && !fieldsEVPN(l.Raw, l.AddPath) {
		e := *ErrEVPNFields
		e.Attr = t
		u.fail(&e)
	}
}

// wants reports whether NLRI of f are decoded and were negotiated.
func (u *Update) wants(f Family) bool {
	return f.bit() != 0 && (u.opt.Families == 0 || u.opt.Families.Has(f))
}
