package fib

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// member is one entry of a next-hop group.
type member struct {
	id     uint32
	weight uint16 // 1 to 256 (65536 on newer kernels)
}

// nextHopMessage is a decoded RTM_NEWNEXTHOP or RTM_DELNEXTHOP.
type nextHopMessage struct {
	id      uint32
	family  Family
	proto   uint8
	onlink  bool
	gateway netip.Addr
	link    int32
	members []member // of a group, in the kernel's order; nil for a single one
	buckets uint16   // of a resilient group
	idle    uint32   // its timers, in clock ticks
	unbal   uint32
	alien   bool // blackhole, encapsulation, FDB: never made here
}

func (m *nextHopMessage) parse(body []byte) error {
	if len(body) < rtnl.SizeNextHop {
		return rtnl.ErrMalformed
	}
	*m = nextHopMessage{family: Family(body[0]), proto: body[2], onlink: native.Uint32(body[4:])&rtnl.RTNH_F_ONLINK != 0}
	a := rtnl.ParseAttributes(body[rtnl.SizeNextHop:])
	for a.Next() {
		switch a.Type {
		case rtnl.NHA_ID:
			m.id = a.Value.Uint32()
		case rtnl.NHA_GATEWAY:
			m.gateway = a.Value.Addr()
		case rtnl.NHA_OIF:
			m.link = a.Value.Int32()
		case rtnl.NHA_GROUP:
			for v := a.Value; len(v) >= rtnl.SizeMember; v = v[rtnl.SizeMember:] {
				weight := uint16(v[4]) | uint16(v[5])<<8
				m.members = append(m.members, member{native.Uint32(v), weight + 1})
			}
		case rtnl.NHA_GROUP_TYPE:
			m.alien = m.alien || a.Value.Uint16() > rtnl.NEXTHOP_GRP_TYPE_RES
		case rtnl.NHA_RES_GROUP:
			for a := a.Value.Attributes(); a.Next(); {
				switch a.Type {
				case rtnl.NHA_RES_GROUP_BUCKETS:
					m.buckets = a.Value.Uint16()
				case rtnl.NHA_RES_GROUP_IDLE_TIMER:
					m.idle = a.Value.Uint32()
				case rtnl.NHA_RES_GROUP_UNBALANCED_TIMER:
					m.unbal = a.Value.Uint32()
				}
			}
		case rtnl.NHA_BLACKHOLE, rtnl.NHA_ENCAP, rtnl.NHA_ENCAP_TYPE, rtnl.NHA_FDB:
			m.alien = true
		}
	}
	return a.Err()
}

// appendNextHop appends a message that makes a single next-hop object.
func appendNextHop(b []byte, flags uint16, seq uint32, id uint32, proto uint8, k objectKey) []byte {
	start := len(b)
	b = rtnl.Begin(b, rtnl.RTM_NEWNEXTHOP, rtnl.NLM_F_REQUEST|flags, seq)
	hop := uint32(0)
	if k.onlink {
		hop = rtnl.RTNH_F_ONLINK
	}
	b = append(b, byte(k.family), 0, proto, 0)
	b = native.AppendUint32(b, hop)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, id)
	if k.gateway.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, k.gateway)
	}
	b = rtnl.AppendUint32(b, rtnl.NHA_OIF, uint32(k.link))
	return rtnl.End(b, start)
}

// appendGroup appends a message that makes or replaces a group; with buckets a
// resilient one.
func appendGroup(b []byte, flags uint16, seq uint32, id uint32, proto uint8, s *shape) []byte {
	start := len(b)
	b = rtnl.Begin(b, rtnl.RTM_NEWNEXTHOP, rtnl.NLM_F_REQUEST|flags, seq)
	b = append(b, 0, 0, proto, 0, 0, 0, 0, 0)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, id)
	at := len(b)
	b = rtnl.Nest(b, rtnl.NHA_GROUP)
	for _, m := range s.members {
		b = native.AppendUint32(b, m.id)
		b = append(b, byte(m.weight-1), byte((m.weight-1)>>8), 0, 0)
	}
	b = rtnl.Unnest(b, at)
	if s.buckets > 0 {
		b = rtnl.AppendUint16(b, rtnl.NHA_GROUP_TYPE, rtnl.NEXTHOP_GRP_TYPE_RES)
		at = len(b)
		b = rtnl.Nest(b, rtnl.NHA_RES_GROUP|rtnl.NLA_F_NESTED)
		b = rtnl.AppendUint16(b, rtnl.NHA_RES_GROUP_BUCKETS, s.buckets)
		b = rtnl.AppendUint32(b, rtnl.NHA_RES_GROUP_IDLE_TIMER, s.idle) // left out, a replacement keeps what somebody else has set
		b = rtnl.AppendUint32(b, rtnl.NHA_RES_GROUP_UNBALANCED_TIMER, s.unbalanced)
		b = rtnl.Unnest(b, at)
	}
	return rtnl.End(b, start)
}

func appendDelNextHop(b []byte, seq uint32, id uint32) []byte {
	start := len(b)
	b = rtnl.Begin(b, rtnl.RTM_DELNEXTHOP, rtnl.NLM_F_REQUEST, seq)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return rtnl.End(rtnl.AppendUint32(b, rtnl.NHA_ID, id), start)
}
