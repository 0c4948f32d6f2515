package wire

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// PackAddr packs an address into two words; IPv4 is in the low half of lo.
func PackAddr(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		v := a.As4()
		return 0, uint64(be32(v[:]))
	}
	v := a.As16()
	return uint64(be32(v[:]))<<32 | uint64(be32(v[4:])), uint64(be32(v[8:]))<<32 | uint64(be32(v[12:]))
}

func be32(v []byte) uint32 {
	return uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3])
}

// UnpackAddr is the reverse of PackAddr.
func UnpackAddr(hi, lo uint64, f Family) netip.Addr {
	if f == FamilyIPv4 {
		return netip.AddrFrom4([4]byte{byte(lo >> 24), byte(lo >> 16), byte(lo >> 8), byte(lo)})
	}
	var v [16]byte
	for i := range 8 {
		v[i], v[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	return netip.AddrFrom16(v)
}

// RouteMessage is a decoded RTM_NEWROUTE or RTM_DELROUTE.
type RouteMessage struct {
	Facts
	Table     uint32
	Hi, Lo    uint64
	Bits      uint8
	TOS       uint8
	Metric    uint32
	Flags     uint32 // rtm_flags
	NextHopID uint32
	NextHops  []NextHop
	Unknown   bool
}

// Prefix returns the destination.
func (m *RouteMessage) Prefix() netip.Prefix {
	return netip.PrefixFrom(UnpackAddr(m.Hi, m.Lo, m.Family), int(m.Bits))
}

// RouteKey returns the key of the route.
func (m *RouteMessage) RouteKey() RouteKey {
	return RouteKey{Table: m.Table, Prefix: m.Prefix(), TOS: m.TOS, Metric: m.Metric}
}

// Parse decodes body into m, reusing m.NextHops.
func (m *RouteMessage) Parse(body []byte) error {
	if len(body) < rtnl.SizeRoute {
		return rtnl.ErrMalformed
	}
	nextHops := m.NextHops[:0]
	*m = RouteMessage{Bits: body[1], TOS: body[3], Table: uint32(body[4]), Flags: native.Uint32(body[8:]), Unknown: body[2] != 0}
	m.Family, m.Protocol, m.Scope, m.Type = Family(body[0]), body[5], body[6], RouteType(body[7])
	if m.Family != FamilyIPv4 && m.Family != FamilyIPv6 {
		return unix.EAFNOSUPPORT
	}
	if m.Family == FamilyIPv6 {
		m.Scope = 0
	}
	single := NextHop{Weight: 1, OnLink: m.Flags&rtnl.RTNH_F_ONLINK != 0}
	var multi []byte
	ok := true
	for typ, v := range rtnl.Attributes(body[rtnl.SizeRoute:]) {
		switch typ {
		case rtnl.RTA_DST:
			if len(v) != m.Family.size() {
				return rtnl.ErrMalformed
			}
			m.Hi, m.Lo = PackAddr(v.Addr())
		case rtnl.RTA_TABLE:
			m.Table = v.Uint32()
		case rtnl.RTA_PRIORITY:
			m.Metric = v.Uint32()
		case rtnl.RTA_OIF:
			single.IfIndex = v.Int32()
		case rtnl.RTA_GATEWAY:
			single.Gateway = v.Addr()
		case rtnl.RTA_VIA:
			single.Gateway = v.Via()
		case rtnl.RTA_PREFSRC:
			m.PrefSrc = v.Addr()
		case rtnl.RTA_METRICS:
			m.parseMetrics(v)
		case rtnl.RTA_NH_ID:
			m.NextHopID = v.Uint32()
		case rtnl.RTA_MULTIPATH:
			multi = v
		case rtnl.Malformed:
			return rtnl.ErrMalformed
		default:
			m.Unknown = m.Unknown || differs(typ, v)
		}
	}
	if m.Type < RouteBlackhole {
		if multi == nil {
			nextHops = append(nextHops, single)
		} else if nextHops, ok = m.parseHops(nextHops, multi); !ok {
			return rtnl.ErrMalformed
		}
		if len(nextHops) > 1 {
			slices.SortFunc(nextHops, CompareNextHops)
		}
	}
	m.NextHops = nextHops
	return nil
}

func (m *RouteMessage) parseMetrics(v rtnl.Value) {
	for typ, v := range v.Attributes() {
		switch typ {
		case rtnl.RTAX_MTU:
			m.MTU = v.Uint32()
		case rtnl.RTAX_ADVMSS:
			m.AdvMSS = v.Uint32()
		default:
			m.Unknown = true
		}
	}
}

// differs reports whether an attribute of a route, or of one of its next hops, says
// something that this package never writes: a route with it is not what is desired. The
// kernel adds some to each route, with values that say nothing. Attributes that are newer
// than this list do not count, or a new kernel would make every route look changed.
func differs(typ uint16, v rtnl.Value) bool {
	switch typ {
	case rtnl.RTA_PREF: // of IPv6 (RFC 4191, Section 2.1); 0 is medium
		return v.Uint8() != 0
	case rtnl.RTA_CACHEINFO: // of IPv6: struct rta_cacheinfo, whose third word is rta_expires
		return len(v) >= 12 && native.Uint32(v[8:]) != 0
	case rtnl.RTA_FLOW: // the realm
		return v.Uint32() != 0
	case rtnl.RTA_SRC, rtnl.RTA_ENCAP, rtnl.RTA_ENCAP_TYPE, rtnl.RTA_EXPIRES, rtnl.RTA_NEWDST, rtnl.RTA_TTL_PROPAGATE, rtnl.RTA_MARK, rtnl.RTA_IIF:
		return true
	}
	return false
}

func (m *RouteMessage) parseHops(nextHops []NextHop, v []byte) ([]NextHop, bool) {
	for len(v) >= rtnl.SizeHop {
		n := int(native.Uint16(v))
		if n < rtnl.SizeHop || n > len(v) {
			return nextHops, false
		}
		l := NextHop{Weight: uint16(v[3]) + 1, OnLink: v[2]&rtnl.RTNH_F_ONLINK != 0, IfIndex: int32(native.Uint32(v[4:]))}
		for typ, v := range rtnl.Attributes(v[rtnl.SizeHop:n]) {
			switch typ {
			case rtnl.RTA_GATEWAY:
				l.Gateway = v.Addr()
			case rtnl.RTA_VIA:
				l.Gateway = v.Via()
			default:
				m.Unknown = m.Unknown || differs(typ, v)
			}
		}
		nextHops = append(nextHops, l)
		v = v[min(rtnl.Align(n), len(v)):]
	}
	return nextHops, len(v) == 0
}

func (f Family) size() int {
	if f == FamilyIPv4 {
		return 4
	}
	return 16
}

// AppendRoute appends a route message. Without content only what is needed to find
// the route goes in: its protocol, and its type or next-hop object, keep foreign routes under the
// same key safe. The type of a route with an object is that of the object in what the kernel
// says, a blackhole for example, and that of the route when it is to be deleted
// (net/ipv4/fib_semantics.c, fib_dump_info; net/ipv4/fib_trie.c, fib_table_delete): such a
// deletion asks for any type.
func AppendRoute(b []byte, typ, flags uint16, seq uint32, m *RouteMessage, content bool) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	table := uint8(0)
	if m.Table < 256 {
		table = uint8(m.Table)
	}
	scope, kind, hop := m.Scope, m.Type, uint32(0)
	if typ == rtnl.RTM_DELROUTE {
		scope = uint8(ScopeNowhere) // any
		if m.NextHopID != 0 {
			kind = 0 // any
		}
	}
	if len(m.NextHops) == 1 && m.NextHops[0].OnLink {
		hop = rtnl.RTNH_F_ONLINK
	}
	b = append(b, byte(m.Family), m.Bits, 0, m.TOS, table, m.Protocol, scope, byte(kind))
	b = native.AppendUint32(b, hop)
	if m.Bits > 0 {
		b = appendDst(b, m)
	}
	if m.Table > 255 {
		b = rtnl.AppendUint32(b, rtnl.RTA_TABLE, m.Table)
	}
	if m.Metric != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_PRIORITY, m.Metric)
	}
	if m.NextHopID != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_NH_ID, m.NextHopID)
	}
	if content {
		b = appendContent(b, m)
	}
	return rtnl.End(b, start)
}

func appendDst(b []byte, m *RouteMessage) []byte {
	n := m.Family.size()
	b = native.AppendUint16(b, uint16(4+n))
	b = native.AppendUint16(b, rtnl.RTA_DST)
	if m.Family == FamilyIPv4 {
		return append(b, byte(m.Lo>>24), byte(m.Lo>>16), byte(m.Lo>>8), byte(m.Lo))
	}
	for _, v := range [2]uint64{m.Hi, m.Lo} {
		b = append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return b
}

func appendContent(b []byte, m *RouteMessage) []byte {
	if m.PrefSrc.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.RTA_PREFSRC, m.PrefSrc)
	}
	// Without RTA_METRICS Linux gives an IPv4 route those of any other route by the same next-hop object
	// (net/ipv4/fib_semantics.c, fib_find_info_nh, which does not compare them): it is empty rather than absent.
	if m.MTU != 0 || m.AdvMSS != 0 || m.NextHopID != 0 && m.Family == FamilyIPv4 {
		at := len(b)
		b = rtnl.Nest(b, rtnl.RTA_METRICS)
		if m.MTU != 0 {
			b = rtnl.AppendUint32(b, rtnl.RTAX_MTU, m.MTU)
		}
		if m.AdvMSS != 0 {
			b = rtnl.AppendUint32(b, rtnl.RTAX_ADVMSS, m.AdvMSS)
		}
		b = rtnl.Unnest(b, at)
	}
	switch len(m.NextHops) {
	case 0:
		return b
	case 1:
		b = appendGateway(b, m.Family, m.NextHops[0].Gateway)
		return rtnl.AppendUint32(b, rtnl.RTA_OIF, uint32(m.NextHops[0].IfIndex))
	}
	at := len(b)
	b = rtnl.Nest(b, rtnl.RTA_MULTIPATH)
	for _, l := range m.NextHops {
		hop := len(b)
		flags := byte(0)
		if l.OnLink {
			flags = rtnl.RTNH_F_ONLINK
		}
		b = append(b, 0, 0, flags, byte(l.Weight-1))
		b = native.AppendUint32(b, uint32(l.IfIndex))
		b = appendGateway(b, m.Family, l.Gateway)
		native.PutUint16(b[hop:], uint16(len(b)-hop))
	}
	return rtnl.Unnest(b, at)
}

func appendGateway(b []byte, f Family, gw netip.Addr) []byte {
	switch {
	case !gw.IsValid():
		return b
	case FamilyOf(gw) != f:
		return rtnl.AppendVia(b, rtnl.RTA_VIA, gw)
	}
	return rtnl.AppendAddr(b, rtnl.RTA_GATEWAY, gw)
}
