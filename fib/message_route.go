package fib

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// rkey is RouteKey, packed: 24 octets without pointers, so that half a million
// of them cost the garbage collector nothing.
type rkey struct {
	hi, lo uint64 // IPv4 in the low half of lo
	metric uint32
	table  uint16 // index into tables, with the family
	bits   uint8
	tos    uint8
}

func packAddr(a netip.Addr) (hi, lo uint64) {
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

func unpackAddr(hi, lo uint64, f Family) netip.Addr {
	if f == FamilyIPv4 {
		return netip.AddrFrom4([4]byte{byte(lo >> 24), byte(lo >> 16), byte(lo >> 8), byte(lo)})
	}
	var v [16]byte
	for i := range 8 {
		v[i], v[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	return netip.AddrFrom16(v)
}

// tableFamily is what rkey.table stands for.
type tableFamily struct {
	table  uint32
	family Family
}

// tables numbers (table, family) pairs in the order of their appearance.
type tables struct {
	index map[tableFamily]uint16
	list  []tableFamily
	last  tableFamily // one-entry cache
	lastI uint16
}

// of returns the number of tf, making one if there is none. ok is false when
// 65,535 are in use.
func (t *tables) of(tf tableFamily) (uint16, bool) {
	if tf == t.last && len(t.list) > 0 {
		return t.lastI, true
	}
	i, ok := t.index[tf]
	if !ok {
		if len(t.list) > 0xfffe {
			return 0, false
		}
		i = uint16(len(t.list))
		t.list = append(t.list, tf)
		t.index[tf] = i
	}
	t.last, t.lastI = tf, i
	return i, true
}

// routeMessage is a decoded RTM_NEWROUTE or RTM_DELROUTE.
type routeMessage struct {
	facts
	table    uint32
	hi, lo   uint64
	bits     uint8
	tos      uint8
	metric   uint32
	flags    uint32 // rtm_flags
	nhid     uint32
	nextHops []nextHop
	alien    bool
}

func (m *routeMessage) prefix() netip.Prefix {
	return netip.PrefixFrom(unpackAddr(m.hi, m.lo, m.family), int(m.bits))
}

func (m *routeMessage) routeKey() RouteKey {
	return RouteKey{Table: m.table, Prefix: m.prefix(), TOS: m.tos, Metric: m.metric}
}

// parse decodes body into m, reusing m.nextHops.
func (m *routeMessage) parse(body []byte) error {
	if len(body) < rtnl.SizeRoute {
		return rtnl.ErrMalformed
	}
	nextHops := m.nextHops[:0]
	*m = routeMessage{bits: body[1], tos: body[3], table: uint32(body[4]), flags: native.Uint32(body[8:]), alien: body[2] != 0}
	m.family, m.proto, m.scope, m.typ = Family(body[0]), body[5], body[6], RouteType(body[7])
	if m.family != FamilyIPv4 && m.family != FamilyIPv6 {
		return unix.EAFNOSUPPORT
	}
	if m.family == FamilyIPv6 {
		m.scope = 0
	}
	single := nextHop{weight: 1, onlink: m.flags&rtnl.RTNH_F_ONLINK != 0}
	var multi []byte
	ok := true
	a := rtnl.ParseAttributes(body[rtnl.SizeRoute:])
	for a.Next() {
		switch a.Type {
		case rtnl.RTA_DST:
			if len(a.Value) != m.family.size() {
				return rtnl.ErrMalformed
			}
			m.hi, m.lo = packAddr(a.Value.Addr())
		case rtnl.RTA_TABLE:
			m.table = a.Value.Uint32()
		case rtnl.RTA_PRIORITY:
			m.metric = a.Value.Uint32()
		case rtnl.RTA_OIF:
			single.link = a.Value.Int32()
		case rtnl.RTA_GATEWAY:
			single.gateway = a.Value.Addr()
		case rtnl.RTA_VIA:
			single.gateway = a.Value.Via()
		case rtnl.RTA_PREFSRC:
			m.prefSrc = a.Value.Addr()
		case rtnl.RTA_METRICS:
			m.parseMetrics(a.Value)
		case rtnl.RTA_NH_ID:
			m.nhid = a.Value.Uint32()
		case rtnl.RTA_MULTIPATH:
			multi = a.Value
		default:
			m.alien = m.alien || differs(a.Type, a.Value)
		}
	}
	if err := a.Err(); err != nil {
		return err
	}
	if m.typ < RouteBlackhole {
		if multi == nil {
			nextHops = append(nextHops, single)
		} else if nextHops, ok = m.parseHops(nextHops, multi); !ok {
			return rtnl.ErrMalformed
		}
		if len(nextHops) > 1 {
			slices.SortFunc(nextHops, compareNextHops)
		}
	}
	m.nextHops = nextHops
	return nil
}

func (m *routeMessage) parseMetrics(v rtnl.Value) {
	for a := v.Attributes(); a.Next(); {
		switch a.Type {
		case rtnl.RTAX_MTU:
			m.mtu = a.Value.Uint32()
		case rtnl.RTAX_ADVMSS:
			m.advMSS = a.Value.Uint32()
		default:
			m.alien = true
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

func (m *routeMessage) parseHops(nextHops []nextHop, v []byte) ([]nextHop, bool) {
	for len(v) >= rtnl.SizeHop {
		n := int(native.Uint16(v))
		if n < rtnl.SizeHop || n > len(v) {
			return nextHops, false
		}
		l := nextHop{weight: uint16(v[3]) + 1, onlink: v[2]&rtnl.RTNH_F_ONLINK != 0, link: int32(native.Uint32(v[4:]))}
		for a := rtnl.ParseAttributes(v[rtnl.SizeHop:n]); a.Next(); {
			switch a.Type {
			case rtnl.RTA_GATEWAY:
				l.gateway = a.Value.Addr()
			case rtnl.RTA_VIA:
				l.gateway = a.Value.Via()
			default:
				m.alien = m.alien || differs(a.Type, a.Value)
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

// appendRoute appends a route message. Without content only what is needed to find
// the route goes in: its protocol and type keep foreign routes under the same key safe.
func appendRoute(b []byte, typ, flags uint16, seq uint32, k *rkey, tf tableFamily, f *form, content bool) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	table := uint8(0)
	if tf.table < 256 {
		table = uint8(tf.table)
	}
	scope, hop := f.scope, uint32(0)
	if typ == rtnl.RTM_DELROUTE {
		scope = uint8(ScopeNowhere) // any
	}
	if len(f.nextHops) == 1 && f.nextHops[0].onlink {
		hop = rtnl.RTNH_F_ONLINK
	}
	b = append(b, byte(tf.family), k.bits, 0, k.tos, table, f.proto, scope, byte(f.typ))
	b = native.AppendUint32(b, hop)
	if k.bits > 0 {
		b = appendDst(b, k, tf.family)
	}
	if tf.table > 255 {
		b = rtnl.AppendUint32(b, rtnl.RTA_TABLE, tf.table)
	}
	if k.metric != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_PRIORITY, k.metric)
	}
	if f.nhid != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_NH_ID, f.nhid)
	}
	if content {
		b = appendContent(b, f)
	}
	return rtnl.End(b, start)
}

func appendDst(b []byte, k *rkey, f Family) []byte {
	n := f.size()
	b = native.AppendUint16(b, uint16(4+n))
	b = native.AppendUint16(b, rtnl.RTA_DST)
	if f == FamilyIPv4 {
		return append(b, byte(k.lo>>24), byte(k.lo>>16), byte(k.lo>>8), byte(k.lo))
	}
	for _, v := range [2]uint64{k.hi, k.lo} {
		b = append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return b
}

func appendContent(b []byte, f *form) []byte {
	if f.prefSrc.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.RTA_PREFSRC, f.prefSrc)
	}
	if f.mtu != 0 || f.advMSS != 0 {
		at := len(b)
		b = rtnl.Nest(b, rtnl.RTA_METRICS)
		if f.mtu != 0 {
			b = rtnl.AppendUint32(b, rtnl.RTAX_MTU, f.mtu)
		}
		if f.advMSS != 0 {
			b = rtnl.AppendUint32(b, rtnl.RTAX_ADVMSS, f.advMSS)
		}
		b = rtnl.Unnest(b, at)
	}
	switch len(f.nextHops) {
	case 0:
		return b
	case 1:
		b = appendGateway(b, f.family, f.nextHops[0].gateway)
		return rtnl.AppendUint32(b, rtnl.RTA_OIF, uint32(f.nextHops[0].link))
	}
	at := len(b)
	b = rtnl.Nest(b, rtnl.RTA_MULTIPATH)
	for _, l := range f.nextHops {
		hop := len(b)
		flags := byte(0)
		if l.onlink {
			flags = rtnl.RTNH_F_ONLINK
		}
		b = append(b, 0, 0, flags, byte(l.weight-1))
		b = native.AppendUint32(b, uint32(l.link))
		b = appendGateway(b, f.family, l.gateway)
		native.PutUint16(b[hop:], uint16(len(b)-hop))
	}
	return rtnl.Unnest(b, at)
}

func appendGateway(b []byte, f Family, gw netip.Addr) []byte {
	switch {
	case !gw.IsValid():
		return b
	case familyOf(gw) != f:
		return rtnl.AppendVia(b, rtnl.RTA_VIA, gw)
	}
	return rtnl.AppendAddr(b, rtnl.RTA_GATEWAY, gw)
}
