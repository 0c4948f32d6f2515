package wire

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Member is one entry of a next-hop group.
type Member struct {
	ID     uint32
	Weight uint16 // 1 to 256 (65536 on newer kernels)
}

// NextHopMessage is a decoded RTM_NEWNEXTHOP or RTM_DELNEXTHOP.
type NextHopMessage struct {
	ID         uint32
	Family     Family
	Protocol   uint8
	OnLink     bool
	Gateway    netip.Addr
	IfIndex    int32
	Members    []Member // of a group, in the kernel's order; nil for a single one
	Buckets    uint16   // of a resilient group
	Idle       uint32   // its timers, in clock ticks
	Unbalanced uint32
	Unknown    bool // blackhole, encapsulation, FDB: never made here
}

// Parse decodes the body of a message.
func (m *NextHopMessage) Parse(body []byte) error {
	if len(body) < rtnl.SizeNextHop {
		return rtnl.ErrMalformed
	}
	*m = NextHopMessage{Family: Family(body[0]), Protocol: body[2], OnLink: native.Uint32(body[4:])&rtnl.RTNH_F_ONLINK != 0}
	for typ, v := range rtnl.Attributes(body[rtnl.SizeNextHop:]) {
		switch typ {
		case rtnl.NHA_ID:
			m.ID = v.Uint32()
		case rtnl.NHA_GATEWAY:
			m.Gateway = v.Addr()
		case rtnl.NHA_OIF:
			m.IfIndex = v.Int32()
		case rtnl.NHA_GROUP:
			for ; len(v) >= rtnl.SizeMember; v = v[rtnl.SizeMember:] {
				weight := uint16(v[4]) | uint16(v[5])<<8
				m.Members = append(m.Members, Member{native.Uint32(v), weight + 1})
			}
		case rtnl.NHA_GROUP_TYPE:
			m.Unknown = m.Unknown || v.Uint16() > rtnl.NEXTHOP_GRP_TYPE_RES
		case rtnl.NHA_RES_GROUP:
			for typ, v := range v.Attributes() {
				switch typ {
				case rtnl.NHA_RES_GROUP_BUCKETS:
					m.Buckets = v.Uint16()
				case rtnl.NHA_RES_GROUP_IDLE_TIMER:
					m.Idle = v.Uint32()
				case rtnl.NHA_RES_GROUP_UNBALANCED_TIMER:
					m.Unbalanced = v.Uint32()
				}
			}
		case rtnl.NHA_BLACKHOLE, rtnl.NHA_ENCAP, rtnl.NHA_ENCAP_TYPE, rtnl.NHA_FDB:
			m.Unknown = true
		case rtnl.Malformed:
			return rtnl.ErrMalformed
		}
	}
	return nil
}

// AppendNextHop appends a message that makes a single next-hop object, or with members
// makes or replaces a group; with buckets a resilient one.
func AppendNextHop(b []byte, flags uint16, seq uint32, m *NextHopMessage) []byte {
	start := len(b)
	b = rtnl.Begin(b, rtnl.RTM_NEWNEXTHOP, rtnl.NLM_F_REQUEST|flags, seq)
	if m.Members != nil {
		b = append(b, 0, 0, m.Protocol, 0, 0, 0, 0, 0)
		b = rtnl.AppendUint32(b, rtnl.NHA_ID, m.ID)
		return rtnl.End(appendMembers(b, m), start)
	}
	hop := uint32(0)
	if m.OnLink {
		hop = rtnl.RTNH_F_ONLINK
	}
	b = append(b, byte(m.Family), 0, m.Protocol, 0)
	b = native.AppendUint32(b, hop)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, m.ID)
	if m.Gateway.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, m.Gateway)
	}
	b = rtnl.AppendUint32(b, rtnl.NHA_OIF, uint32(m.IfIndex))
	return rtnl.End(b, start)
}

func appendMembers(b []byte, s *NextHopMessage) []byte {
	at := len(b)
	b = rtnl.Nest(b, rtnl.NHA_GROUP)
	for _, m := range s.Members {
		b = native.AppendUint32(b, m.ID)
		b = append(b, byte(m.Weight-1), byte((m.Weight-1)>>8), 0, 0)
	}
	b = rtnl.Unnest(b, at)
	if s.Buckets > 0 {
		b = rtnl.AppendUint16(b, rtnl.NHA_GROUP_TYPE, rtnl.NEXTHOP_GRP_TYPE_RES)
		at = len(b)
		b = rtnl.Nest(b, rtnl.NHA_RES_GROUP|rtnl.NLA_F_NESTED)
		b = rtnl.AppendUint16(b, rtnl.NHA_RES_GROUP_BUCKETS, s.Buckets)
		b = rtnl.AppendUint32(b, rtnl.NHA_RES_GROUP_IDLE_TIMER, s.Idle) // left out, a replacement keeps what another program has set
		b = rtnl.AppendUint32(b, rtnl.NHA_RES_GROUP_UNBALANCED_TIMER, s.Unbalanced)
		b = rtnl.Unnest(b, at)
	}
	return b
}

// AppendDelNextHop appends a message that deletes a next-hop object or group.
func AppendDelNextHop(b []byte, seq uint32, id uint32) []byte {
	start := len(b)
	b = rtnl.Begin(b, rtnl.RTM_DELNEXTHOP, rtnl.NLM_F_REQUEST, seq)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	return rtnl.End(rtnl.AppendUint32(b, rtnl.NHA_ID, id), start)
}
