package fib

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	ruleNot           = 2  // FIB_RULE_INVERT
	attrRuleDSCP      = 25 // FRA_DSCP, and whatever newer kernels add after it
	attrRuleSportMask = 28 // FRA_SPORT_MASK, Linux 6.15; all ones with a single port
	attrRuleDportMask = 29
)

// kernelRule is a rule as the kernel has it.
type kernelRule struct {
	Rule
	proto uint8
	alien bool // has attributes that Rule can not express
}

func (m *kernelRule) parse(body []byte) error {
	if len(body) < sizeRule {
		return errShort
	}
	*m = kernelRule{}
	m.Family, m.TOS, m.Action, m.Table = Family(body[0]), body[3], RuleAction(body[7]), uint32(body[4])
	m.Not = native.Uint32(body[8:])&ruleNot != 0
	to, from := int(body[1]), int(body[2])
	typ, v, rest, ok := next(body[sizeRule:])
	for ; ok; typ, v, rest, ok = next(rest) {
		m.attr(typ, v, to, from)
	}
	if len(rest) > 0 {
		return errShort
	}
	if m.Action != RuleToTable || m.L3MDev {
		m.Table = 0
	}
	m.Rule = m.Rule.normal()
	return nil
}

func (m *kernelRule) attr(typ uint16, v []byte, to, from int) {
	switch typ {
	case unix.FRA_DST:
		m.To = netip.PrefixFrom(address(v), to)
	case unix.FRA_SRC:
		m.From = netip.PrefixFrom(address(v), from)
	case unix.FRA_IIFNAME:
		m.IIF = text(v)
	case unix.FRA_OIFNAME:
		m.OIF = text(v)
	case unix.FRA_GOTO:
		m.Target = u32(v)
	case unix.FRA_PRIORITY:
		m.Priority = u32(v)
	case unix.FRA_FWMARK:
		m.Mark = u32(v)
	case unix.FRA_FWMASK:
		m.Mask = u32(v)
	case unix.FRA_TABLE:
		m.Table = u32(v)
	case unix.FRA_SUPPRESS_PREFIXLEN:
		if n := int32(u32(v)); n >= 0 {
			m.Suppress, m.SuppressLength = true, uint8(n)
		}
	case unix.FRA_L3MDEV:
		m.L3MDev = u8(v) != 0
	case unix.FRA_UID_RANGE:
		if len(v) >= 8 {
			m.UIDs = UIDRange{true, u32(v), u32(v[4:])}
		}
	case unix.FRA_PROTOCOL:
		m.proto = u8(v)
	case unix.FRA_IP_PROTO:
		m.IPProto = u8(v)
	case unix.FRA_SPORT_RANGE:
		m.SourcePorts = portRange(v)
	case unix.FRA_DPORT_RANGE:
		m.DestPorts = portRange(v)
	case unix.FRA_SUPPRESS_IFGROUP:
		m.alien = m.alien || int32(u32(v)) >= 0
	case attrRuleSportMask, attrRuleDportMask:
		m.alien = m.alien || u16(v) != 0 && u16(v) != 0xffff
	case unix.FRA_FLOW, unix.FRA_TUN_ID:
		m.alien = true
	default:
		m.alien = m.alien || typ >= attrRuleDSCP
	}
}

func portRange(v []byte) Range {
	if len(v) < 4 {
		return Range{}
	}
	return Range{u16(v), u16(v[2:])}
}

// appendRule appends a message that adds or deletes a rule. r must be normal.
func appendRule(b []byte, typ, flags uint16, seq uint32, r Rule, proto uint8) []byte {
	start := len(b)
	b = begin(b, typ, flags, seq)
	table, invert := uint8(0), uint32(0)
	if r.Table < 256 {
		table = uint8(r.Table)
	}
	if r.Not {
		invert = ruleNot
	}
	b = append(b, byte(r.Family), byte(max(r.To.Bits(), 0)), byte(max(r.From.Bits(), 0)), r.TOS, table, 0, 0, byte(r.Action))
	b = native.AppendUint32(b, invert)
	b = attr32(b, unix.FRA_PRIORITY, r.Priority)
	if r.Table != 0 {
		b = attr32(b, unix.FRA_TABLE, r.Table)
	}
	b = attr8(b, unix.FRA_PROTOCOL, proto)
	b = appendSelectors(b, &r)
	if r.Action == RuleGoto {
		b = attr32(b, unix.FRA_GOTO, r.Target)
	}
	if r.Suppress {
		b = attr32(b, unix.FRA_SUPPRESS_PREFIXLEN, uint32(r.SuppressLength))
	}
	return end(b, start)
}

func appendSelectors(b []byte, r *Rule) []byte {
	if r.To.IsValid() {
		b = attrAddr(b, unix.FRA_DST, r.To.Addr())
	}
	if r.From.IsValid() {
		b = attrAddr(b, unix.FRA_SRC, r.From.Addr())
	}
	if r.IIF != "" {
		b = attrString(b, unix.FRA_IIFNAME, r.IIF)
	}
	if r.OIF != "" {
		b = attrString(b, unix.FRA_OIFNAME, r.OIF)
	}
	if r.Mark != 0 || r.Mask != 0 {
		b = attr32(b, unix.FRA_FWMARK, r.Mark)
		b = attr32(b, unix.FRA_FWMASK, r.Mask)
	}
	if r.UIDs.Set {
		at := len(b)
		b = nest(b, unix.FRA_UID_RANGE)
		b = native.AppendUint32(b, r.UIDs.Low)
		b = unnest(native.AppendUint32(b, r.UIDs.High), at)
	}
	if r.IPProto != 0 {
		b = attr8(b, unix.FRA_IP_PROTO, r.IPProto)
	}
	if r.SourcePorts != (Range{}) {
		b = appendRange(b, unix.FRA_SPORT_RANGE, r.SourcePorts)
	}
	if r.DestPorts != (Range{}) {
		b = appendRange(b, unix.FRA_DPORT_RANGE, r.DestPorts)
	}
	if r.L3MDev {
		b = attr8(b, unix.FRA_L3MDEV, 1)
	}
	return b
}

func appendRange(b []byte, typ uint16, r Range) []byte {
	at := len(b)
	b = nest(b, typ)
	b = native.AppendUint16(b, r.Low)
	return unnest(native.AppendUint16(b, r.High), at)
}
