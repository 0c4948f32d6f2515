package wire

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// RuleAction is what a matching rule does.
type RuleAction uint8

// Actions of rules (FR_ACT_*). The zero value of [Rule.Action] is RuleToTable.
const (
	RuleToTable     RuleAction = 1
	RuleGoto        RuleAction = 2
	RuleNop         RuleAction = 3
	RuleBlackhole   RuleAction = 6
	RuleUnreachable RuleAction = 7
	RuleProhibit    RuleAction = 8
)

// Range is an inclusive range of port numbers. The zero value is "any".
type Range struct{ Low, High uint16 }

// UIDRange is an inclusive range of user ids. Set is needed since 0-0 is root.
type UIDRange struct {
	Set       bool
	Low, High uint32
}

// Rule is a policy rule. It is comparable, and the whole of it is the key: two
// rules that differ in anything are two rules. The kernel accepts duplicates;
// this package never makes one, and removes duplicates of its own.
type Rule struct {
	// Family is IPv4 or IPv6; required.
	Family Family
	// Priority orders rules, lowest first. Required (0 is the kernel's first
	// rule, and a valid priority): a rule without an explicit priority would
	// get another one at every start.
	Priority uint32

	// From and To match source and destination. The zero Prefix, and any /0,
	// is "all".
	From, To netip.Prefix
	// IIF and OIF match the interface by name. "" is any.
	IIF, OIF string
	// Mark and Mask match the firewall mark. 0/0 is any; a Mask of 0 with a
	// Mark means all bits.
	Mark, Mask uint32
	TOS        uint8
	// UIDs matches the user id of a local socket.
	UIDs UIDRange
	// IPProto matches the transport protocol (6 TCP, 17 UDP). 0 is any.
	IPProto uint8
	// SourcePorts and DestPorts match transport ports.
	SourcePorts, DestPorts Range
	// L3MDev looks up the table of the packet's VRF.
	L3MDev bool
	// Not inverts the match.
	Not bool

	// Action is RuleToTable if zero.
	Action RuleAction
	// Table is looked up by RuleToTable. 0 is the main table (254), except with
	// L3MDev, where it must be 0.
	Table uint32
	// Target is the priority that RuleGoto goes to.
	Target uint32
	// Suppress ignores a found route whose prefix has SuppressLength bits or
	// fewer: 0 ignores default routes. Not for IPv6 tables in which two routes share a
	// next-hop object, as those with several next hops do: Linux (6.18) looks at the prefix
	// of what it has cached for the object on this CPU, which may be that of the other
	// route (fib6_rule_suppress, fib6_nh.rt6i_pcpu). RTAMultipath routes share nothing.
	Suppress       bool
	SuppressLength uint8
}

// String formats the rule nearly as `ip rule` does.
func (r Rule) String() string {
	var b strings.Builder
	r = r.Normal()
	from := "all"
	if r.From.IsValid() {
		from = r.From.String()
	}
	fmt.Fprintf(&b, "%d:", r.Priority)
	if r.Not {
		b.WriteString(" not")
	}
	fmt.Fprintf(&b, " from %s", from)
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %v", r.To)
	}
	if r.TOS != 0 {
		fmt.Fprintf(&b, " tos %#x", r.TOS)
	}
	if r.Mark != 0 || r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
		if r.Mask != ^uint32(0) {
			fmt.Fprintf(&b, "/%#x", r.Mask)
		}
	}
	if r.IIF != "" {
		fmt.Fprintf(&b, " iif %s", r.IIF)
	}
	if r.OIF != "" {
		fmt.Fprintf(&b, " oif %s", r.OIF)
	}
	if r.UIDs.Set {
		fmt.Fprintf(&b, " uidrange %d-%d", r.UIDs.Low, r.UIDs.High)
	}
	if r.IPProto != 0 {
		fmt.Fprintf(&b, " ipproto %d", r.IPProto)
	}
	if r.SourcePorts != (Range{}) {
		fmt.Fprintf(&b, " sport %d-%d", r.SourcePorts.Low, r.SourcePorts.High)
	}
	if r.DestPorts != (Range{}) {
		fmt.Fprintf(&b, " dport %d-%d", r.DestPorts.Low, r.DestPorts.High)
	}
	switch {
	case r.L3MDev:
		b.WriteString(" lookup [l3mdev-table]")
	case r.Action == RuleToTable:
		fmt.Fprintf(&b, " lookup %d", r.Table)
	case r.Action == RuleGoto:
		fmt.Fprintf(&b, " goto %d", r.Target)
	default:
		fmt.Fprintf(&b, " %v", r.Action)
	}
	if r.Suppress {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.SuppressLength)
	}
	return b.String()
}

var actionNames = [...]string{RuleToTable: "lookup", RuleGoto: "goto", RuleNop: "nop",
	RuleBlackhole: "blackhole", RuleUnreachable: "unreachable", RuleProhibit: "prohibit"}

func (a RuleAction) String() string { return enum.String("RuleAction", actionNames[:], a) }

// Normal gives equal rules equal values.
func (r Rule) Normal() Rule {
	r.Action = cmp.Or(r.Action, RuleToTable)
	if r.Action == RuleToTable && !r.L3MDev {
		r.Table = cmp.Or(r.Table, rtnl.RT_TABLE_MAIN)
	}
	if r.From.IsValid() {
		r.From = r.From.Masked()
	}
	if r.To.IsValid() {
		r.To = r.To.Masked()
	}
	if r.From.Bits() == 0 {
		r.From = netip.Prefix{}
	}
	if r.To.Bits() == 0 {
		r.To = netip.Prefix{}
	}
	if r.Mark != 0 && r.Mask == 0 {
		r.Mask = ^uint32(0)
	}
	if !r.Suppress {
		r.SuppressLength = 0
	}
	return r
}

// Check reports why a rule cannot be expressed; nil if it can.
func (r Rule) Check() error {
	family := func(p netip.Prefix) bool { return !p.IsValid() || FamilyOf(p.Addr()) == r.Family }
	switch {
	case r.Family != FamilyIPv4 && r.Family != FamilyIPv6:
		return fmt.Errorf("family %d", r.Family)
	case !family(r.From) || !family(r.To):
		return fmt.Errorf("selector of another family")
	case r.L3MDev && r.Table != 0:
		return fmt.Errorf("l3mdev with a table")
	case r.Action == RuleGoto && r.Target <= r.Priority:
		return fmt.Errorf("goto backwards")
	case len(r.IIF) > 15 || len(r.OIF) > 15:
		return fmt.Errorf("interface name too long")
	}
	return nil
}
