package wire

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// KernelRule is a rule as the kernel has it.
type KernelRule struct {
	Rule
	Protocol uint8
	Unknown  bool // has attributes that Rule can not express
}

// Parse decodes the body of a message.
func (m *KernelRule) Parse(body []byte) error {
	if len(body) < rtnl.SizeRule {
		return rtnl.ErrMalformed
	}
	*m = KernelRule{}
	m.Family, m.TOS, m.Action, m.Table = Family(body[0]), body[3], RuleAction(body[7]), uint32(body[4])
	m.Not = native.Uint32(body[8:])&rtnl.FIB_RULE_INVERT != 0
	to, from := int(body[1]), int(body[2])
	for typ, v := range rtnl.Attributes(body[rtnl.SizeRule:]) {
		if typ == rtnl.Malformed {
			return rtnl.ErrMalformed
		}
		m.attr(typ, v, to, from)
	}
	if m.Action != RuleToTable || m.L3MDev {
		m.Table = 0
	}
	m.Rule = m.Rule.Normal()
	return nil
}

func (m *KernelRule) attr(typ uint16, v rtnl.Value, to, from int) {
	switch typ {
	case rtnl.FRA_DST:
		m.To = netip.PrefixFrom(v.Addr(), to)
	case rtnl.FRA_SRC:
		m.From = netip.PrefixFrom(v.Addr(), from)
	case rtnl.FRA_IIFNAME:
		m.IIF = v.Text()
	case rtnl.FRA_OIFNAME:
		m.OIF = v.Text()
	case rtnl.FRA_GOTO:
		m.Target = v.Uint32()
	case rtnl.FRA_PRIORITY:
		m.Priority = v.Uint32()
	case rtnl.FRA_FWMARK:
		m.Mark = v.Uint32()
	case rtnl.FRA_FWMASK:
		m.Mask = v.Uint32()
	case rtnl.FRA_TABLE:
		m.Table = v.Uint32()
	case rtnl.FRA_SUPPRESS_PREFIXLEN:
		if n := v.Int32(); n >= 0 {
			m.Suppress, m.SuppressLength = true, uint8(n)
		}
	case rtnl.FRA_L3MDEV:
		m.L3MDev = v.Uint8() != 0
	case rtnl.FRA_UID_RANGE:
		if len(v) >= 8 {
			m.UIDs = UIDRange{true, v.Uint32(), v[4:].Uint32()}
		}
	case rtnl.FRA_PROTOCOL:
		m.Protocol = v.Uint8()
	case rtnl.FRA_IP_PROTO:
		m.IPProto = v.Uint8()
	case rtnl.FRA_SPORT_RANGE:
		m.SourcePorts = portRange(v)
	case rtnl.FRA_DPORT_RANGE:
		m.DestPorts = portRange(v)
	case rtnl.FRA_SUPPRESS_IFGROUP:
		m.Unknown = m.Unknown || v.Int32() >= 0
	case rtnl.FRA_SPORT_MASK, rtnl.FRA_DPORT_MASK:
		m.Unknown = m.Unknown || v.Uint16() != 0 && v.Uint16() != 0xffff
	case rtnl.FRA_FLOW, rtnl.FRA_TUN_ID:
		m.Unknown = true
	default:
		m.Unknown = m.Unknown || typ >= rtnl.FRA_DSCP
	}
}

func portRange(v rtnl.Value) Range {
	if len(v) < 4 {
		return Range{}
	}
	return Range{v.Uint16(), v[2:].Uint16()}
}

// AppendRule appends a message that adds or deletes a rule. r must be normal.
func AppendRule(b []byte, typ, flags uint16, seq uint32, r Rule, proto uint8) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	table, invert := uint8(0), uint32(0)
	if r.Table < 256 {
		table = uint8(r.Table)
	}
	if r.Not {
		invert = rtnl.FIB_RULE_INVERT
	}
	b = append(b, byte(r.Family), byte(max(r.To.Bits(), 0)), byte(max(r.From.Bits(), 0)), r.TOS, table, 0, 0, byte(r.Action))
	b = native.AppendUint32(b, invert)
	b = rtnl.AppendUint32(b, rtnl.FRA_PRIORITY, r.Priority)
	if r.Table != 0 {
		b = rtnl.AppendUint32(b, rtnl.FRA_TABLE, r.Table)
	}
	b = rtnl.AppendUint8(b, rtnl.FRA_PROTOCOL, proto)
	b = appendSelectors(b, &r)
	if r.Action == RuleGoto {
		b = rtnl.AppendUint32(b, rtnl.FRA_GOTO, r.Target)
	}
	if r.Suppress {
		b = rtnl.AppendUint32(b, rtnl.FRA_SUPPRESS_PREFIXLEN, uint32(r.SuppressLength))
	}
	return rtnl.End(b, start)
}

func appendSelectors(b []byte, r *Rule) []byte {
	if r.To.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.FRA_DST, r.To.Addr())
	}
	if r.From.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.FRA_SRC, r.From.Addr())
	}
	if r.IIF != "" {
		b = rtnl.AppendString(b, rtnl.FRA_IIFNAME, r.IIF)
	}
	if r.OIF != "" {
		b = rtnl.AppendString(b, rtnl.FRA_OIFNAME, r.OIF)
	}
	if r.Mark != 0 || r.Mask != 0 {
		b = rtnl.AppendUint32(b, rtnl.FRA_FWMARK, r.Mark)
		b = rtnl.AppendUint32(b, rtnl.FRA_FWMASK, r.Mask)
	}
	if r.UIDs.Set {
		at := len(b)
		b = rtnl.Nest(b, rtnl.FRA_UID_RANGE)
		b = native.AppendUint32(b, r.UIDs.Low)
		b = rtnl.Unnest(native.AppendUint32(b, r.UIDs.High), at)
	}
	if r.IPProto != 0 {
		b = rtnl.AppendUint8(b, rtnl.FRA_IP_PROTO, r.IPProto)
	}
	if r.SourcePorts != (Range{}) {
		b = appendRange(b, rtnl.FRA_SPORT_RANGE, r.SourcePorts)
	}
	if r.DestPorts != (Range{}) {
		b = appendRange(b, rtnl.FRA_DPORT_RANGE, r.DestPorts)
	}
	if r.L3MDev {
		b = rtnl.AppendUint8(b, rtnl.FRA_L3MDEV, 1)
	}
	return b
}

func appendRange(b []byte, typ uint16, r Range) []byte {
	at := len(b)
	b = rtnl.Nest(b, typ)
	b = native.AppendUint16(b, r.Low)
	return rtnl.Unnest(native.AppendUint16(b, r.High), at)
}
