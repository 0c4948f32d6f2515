package lookup

import (
	"fmt"
	"net/netip"
	"strings"
)

// Action is what a matching rule does (FR_ACT_*).
type Action uint8

// The actions.
const (
	ActionTable       Action = 1
	ActionGoto        Action = 2
	ActionNop         Action = 3
	ActionBlackhole   Action = 6
	ActionUnreachable Action = 7
	ActionProhibit    Action = 8
)

// Rule is a policy rule.
type Rule struct {
	Priority uint32
	From, To netip.Prefix // zero: all
	IIF, OIF string
	Mark     uint32
	Mask     uint32 // of Mark; 0 matches any
	DSCP     uint8  // FRA_DSCP or the TOS of the header, as it is in the packet's octet
	IPProto  uint8  // 0: any
	UIDs     bool   // it has a range of user ids: ours is 0
	UIDLow   uint32
	UIDHigh  uint32
	L3MDev   bool // looks up the table of the packet's VRF
	Not      bool
	// Ports says that it matches ports of TCP or UDP, Other that it has selectors that are
	// not known here.
	Ports, Other bool

	Action Action
	Table  uint32
	Target uint32 // of goto
	// Suppress ignores routes with a prefix of so many bits or fewer; -1 is none.
	Suppress int
	// SuppressGroup says that routes over a group of interfaces are ignored.
	SuppressGroup bool
	Protocol      uint8
}

// String formats the rule as `ip rule` does.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", r.Priority)
	if r.Not {
		b.WriteString(" not")
	}
	b.WriteString(" from " + allOr(r.From))
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %v", r.To)
	}
	if r.DSCP != 0 {
		fmt.Fprintf(&b, " tos %#x", r.DSCP)
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
		if r.Mask != ^uint32(0) {
			fmt.Fprintf(&b, "/%#x", r.Mask)
		}
	}
	for _, s := range []struct{ word, name string }{{"iif", r.IIF}, {"oif", r.OIF}} {
		if s.name != "" {
			fmt.Fprintf(&b, " %s %s", s.word, s.name)
		}
	}
	if r.UIDs {
		fmt.Fprintf(&b, " uidrange %d-%d", r.UIDLow, r.UIDHigh)
	}
	if r.IPProto != 0 {
		fmt.Fprintf(&b, " ipproto %d", r.IPProto)
	}
	if r.Ports {
		b.WriteString(" (ports)")
	}
	if r.Other {
		b.WriteString(" (other selectors)")
	}
	b.WriteString(" " + r.does())
	return b.String()
}

// does is the action.
func (r Rule) does() string {
	var words string
	switch {
	case r.L3MDev:
		words = "lookup [l3mdev-table]"
	case r.Action == ActionTable:
		words = fmt.Sprintf("lookup %s", TableName(r.Table))
	case r.Action == ActionGoto:
		return fmt.Sprintf("goto %d", r.Target)
	case r.Action == ActionNop:
		return "nop"
	default:
		return RouteType(r.Action).String() // the numbers are the same
	}
	if r.Suppress >= 0 {
		words += fmt.Sprintf(" suppress_prefixlength %d", r.Suppress)
	}
	if r.SuppressGroup {
		words += " suppress_ifgroup"
	}
	return words
}

// same reports whether two rules do the same to the same packets.
func (r Rule) same(o Rule) bool {
	r.Protocol, o.Protocol = 0, 0
	return r == o
}

func allOr(p netip.Prefix) string {
	if !p.IsValid() {
		return "all"
	}
	return p.String()
}

// TableName names a routing table as iproute2 does.
func TableName(id uint32) string {
	switch id {
	case 253:
		return "default"
	case 254:
		return "main"
	case 255:
		return "local"
	}
	return fmt.Sprint(id)
}

// protocols are the names of rtm_protocol (linux/rtnetlink.h, iproute2's rt_protos).
var protocols = map[uint8]string{0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted",
	14: "xorp", 15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn", 99: "openr", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
	Ours: "hvrouter", OursPersistent: "hvrouter-persistent"}

// The protocol numbers of hvrouter's routes, rules and next hops, and of the routes that
// outlive it (docs/architecture.md, "The kernel").
const (
	Ours           = 201
	OursPersistent = 202
	protoKernel    = 2
	protoRA        = 9
)

// ProtocolName names a protocol number.
func ProtocolName(p uint8) string {
	if name, ok := protocols[p]; ok {
		return name
	}
	return fmt.Sprint(p)
}

// Foreign reports whether a route, rule or next-hop object with a protocol number is neither
// hvrouter's nor made by the kernel itself.
func Foreign(p uint8) bool {
	return p != Ours && p != OursPersistent && p != protoKernel && p != protoRA
}
