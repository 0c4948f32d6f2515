package nl

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Rule is a policy rule as the lab uses them: it may match on the incoming
// interface or the mark, and looks up a table or ends the lookup.
type Rule struct {
	Priority uint32
	IIF      string
	From     netip.Prefix // zero: any source
	L3MDev   bool         // looks up the table of the packet's VRF
	Mark     uint32
	Mask     uint32 // of Mark; 0 without one
	Table    uint32 // 0 for an action other than a lookup
	Action   uint8  // FR_ACT_BLACKHOLE and the like; 0 is a lookup
	Other    string // any further selector or action, for display
}

// String prints the rule as iproute2 would.
func (r Rule) String() string {
	s := fmt.Sprintf("%d:", r.Priority)
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	if r.IIF != "" {
		s += " iif " + r.IIF
	}
	if r.Mask != 0 {
		s += fmt.Sprintf(" fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.L3MDev {
		return s + " lookup [l3mdev-table]" + r.Other
	}
	switch r.Action {
	case 0:
		return fmt.Sprintf("%s lookup %d%s", s, r.Table, r.Other)
	case unix.FR_ACT_BLACKHOLE:
		return s + " blackhole" + r.Other
	case unix.FR_ACT_UNREACHABLE:
		return s + " unreachable" + r.Other
	}
	return fmt.Sprintf("%s action %d%s", s, r.Action, r.Other)
}

// Rules returns all rules of a family, ordered by priority.
func (c *Conn) Rules(family uint8) (out []Rule, err error) {
	all, err := dump(c, unix.RTM_GETRULE, &rtnetlink.RuleMessage{Family: family})
	for _, m := range all {
		out = append(out, ruleOf(m))
	}
	slices.SortStableFunc(out, func(a, b Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	return out, wrap(err, "rules")
}

// AddRule adds a rule.
func (c *Conn) AddRule(family uint8, r Rule) error {
	return c.rule(unix.RTM_NEWRULE, create, family, r)
}

// DeleteRule deletes a rule.
func (c *Conn) DeleteRule(family uint8, r Rule) error {
	return c.rule(unix.RTM_DELRULE, 0, family, r)
}

func (c *Conn) rule(typ uint16, how netlink.HeaderFlags, family uint8, r Rule) error {
	m := &rtnetlink.RuleMessage{Family: family, Action: unix.FR_ACT_TO_TBL,
		Attributes: &rtnetlink.RuleAttributes{Priority: &r.Priority, Table: &r.Table}}
	if r.IIF != "" {
		m.Attributes.IIFName = &r.IIF
	}
	return wrap(c.do(typ, how, m), "rule %s", r)
}

func ruleOf(m *rtnetlink.RuleMessage) Rule {
	a := m.Attributes
	if a == nil {
		a = &rtnetlink.RuleAttributes{}
	}
	r := Rule{Table: uint32(m.Table), Priority: value(a.Priority), IIF: value(a.IIFName), L3MDev: value(a.L3MDev) != 0,
		Mark: value(a.FwMark), Mask: value(a.FwMask)}
	if a.Table != nil {
		r.Table = *a.Table
	}
	if a.Src != nil {
		r.From = netip.PrefixFrom(addr(*a.Src), int(m.SrcLength))
	}
	if m.Action != unix.FR_ACT_TO_TBL {
		r.Action = m.Action
	}
	if m.DstLength != 0 || m.TOS != 0 {
		r.Other += fmt.Sprintf(" (to /%d tos %d)", m.DstLength, m.TOS)
	}
	if m.Flags&unix.FIB_RULE_INVERT != 0 {
		r.Other += " (not)"
	}
	if a.OIFName != nil || a.IPProto != nil || a.SPortRange != nil || a.DPortRange != nil || a.UIDRange != nil || a.TunID != nil {
		r.Other += " (more selectors)"
	}
	return r
}

// value returns the zero value for nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
