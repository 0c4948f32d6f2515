package fib

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Family is an address family of a rule.
type Family uint8

// Address families, with the kernel's numbers.
const (
	FamilyIPv4 Family = 2
	FamilyIPv6 Family = 10
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
func (r Rule) String() string { return coreRule(r).String() }

func (a RuleAction) String() string { return wire.RuleAction(a).String() }
