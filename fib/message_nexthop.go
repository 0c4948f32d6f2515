package fib

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	groupResilient = 1  // NEXTHOP_GRP_TYPE_RES
	attrResGroup   = 12 // NHA_RES_GROUP
	attrResBuckets = 1  // NHA_RES_GROUP_BUCKETS
	attrResIdle    = 2  // NHA_RES_GROUP_IDLE_TIMER
	attrResUnbal   = 3  // NHA_RES_GROUP_UNBALANCED_TIMER
	attrFDB        = 11 // NHA_FDB
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
	if len(body) < sizeNextHop {
		return errShort
	}
	*m = nextHopMessage{family: Family(body[0]), proto: body[2], onlink: native.Uint32(body[4:])&hopOnLink != 0}
	typ, v, rest, ok := next(body[sizeNextHop:])
	for ; ok; typ, v, rest, ok = next(rest) {
		switch typ {
		case unix.NHA_ID:
			m.id = u32(v)
		case unix.NHA_GATEWAY:
			m.gateway = address(v)
		case unix.NHA_OIF:
			m.link = int32(u32(v))
		case unix.NHA_GROUP:
			for ; len(v) >= sizeMember; v = v[sizeMember:] {
				weight := uint16(v[4]) | uint16(v[5])<<8
				m.members = append(m.members, member{native.Uint32(v), weight + 1})
			}
		case unix.NHA_GROUP_TYPE:
			m.alien = m.alien || u16(v) > groupResilient
		case attrResGroup:
			for typ, v, rest, ok := next(v); ok; typ, v, rest, ok = next(rest) {
				switch typ {
				case attrResBuckets:
					m.buckets = u16(v)
				case attrResIdle:
					m.idle = u32(v)
				case attrResUnbal:
					m.unbal = u32(v)
				}
			}
		case unix.NHA_BLACKHOLE, unix.NHA_ENCAP, unix.NHA_ENCAP_TYPE, attrFDB:
			m.alien = true
		}
	}
	if len(rest) > 0 {
		return errShort
	}
	return nil
}

// appendNextHop appends a message that makes a single next-hop object.
func appendNextHop(b []byte, flags uint16, seq uint32, id uint32, proto uint8, k objectKey) []byte {
	start := len(b)
	b = begin(b, unix.RTM_NEWNEXTHOP, unix.NLM_F_REQUEST|flags, seq)
	hop := uint32(0)
	if k.onlink {
		hop = hopOnLink
	}
	b = append(b, byte(k.family), 0, proto, 0)
	b = native.AppendUint32(b, hop)
	b = attr32(b, unix.NHA_ID, id)
	if k.gateway.IsValid() {
		b = attrAddr(b, unix.NHA_GATEWAY, k.gateway)
	}
	b = attr32(b, unix.NHA_OIF, uint32(k.link))
	return end(b, start)
}

// appendGroup appends a message that makes or replaces a group; with buckets a
// resilient one.
func appendGroup(b []byte, flags uint16, seq uint32, id uint32, proto uint8, s *shape) []byte {
	start := len(b)
	b = begin(b, unix.RTM_NEWNEXTHOP, unix.NLM_F_REQUEST|flags, seq)
	b = append(b, 0, 0, proto, 0, 0, 0, 0, 0)
	b = attr32(b, unix.NHA_ID, id)
	at := len(b)
	b = nest(b, unix.NHA_GROUP)
	for _, m := range s.members {
		b = native.AppendUint32(b, m.id)
		b = append(b, byte(m.weight-1), byte((m.weight-1)>>8), 0, 0)
	}
	b = unnest(b, at)
	if s.buckets > 0 {
		b = attr16(b, unix.NHA_GROUP_TYPE, groupResilient)
		at = len(b)
		b = nest(b, attrResGroup|unix.NLA_F_NESTED)
		b = attr16(b, attrResBuckets, s.buckets)
		b = attr32(b, attrResIdle, s.idle) // left out, a replacement keeps what somebody else has set
		b = attr32(b, attrResUnbal, s.unbalanced)
		b = unnest(b, at)
	}
	return end(b, start)
}

func appendDelNextHop(b []byte, seq uint32, id uint32) []byte {
	start := len(b)
	b = begin(b, unix.RTM_DELNEXTHOP, unix.NLM_F_REQUEST, seq)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return end(attr32(b, unix.NHA_ID, id), start)
}
