package lookup

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Tables are rules and routes to walk through.
type Tables interface {
	// Rules returns the rules of a family in the kernel's order.
	Rules(six bool) ([]Rule, error)
	// Covering returns the routes of a table whose prefix the destination of p is in.
	Covering(table uint32, p Packet) ([]Route, error)
	// Link returns an interface, the zero value if there is none.
	Link(ifindex int) Link
	// IgnoresLinkDown reports whether next hops over an interface without a carrier do not
	// count (ignore_routes_with_linkdown).
	IgnoresLinkDown(ifindex int, six bool) bool
}

// Decision is where a packet goes.
type Decision struct {
	// Steps are the rules that match the packet, up to the one that decides.
	Steps []Step
	// Rule is the one that decides, nil if none does.
	Rule *Rule
	// Route was found, nil if a rule decided, or nothing did.
	Route *Route
	// Errno is what a sender sees of a packet that is dropped, 0 if it is not.
	Errno unix.Errno
	// Unsure says why the decision may be another: a selector that is not known here.
	Unsure string
}

// Step is a rule that matches the packet.
type Step struct {
	Rule Rule
	// Routes are those of its table that cover the destination and are not chosen before the
	// one that is, which is the last.
	Routes []Route
	// Result says what came of it.
	Result string
}

// Walk decides where a packet goes, as fib_rules_lookup, fib_table_lookup and their
// counterparts of IPv6 do: the rules by priority, in their tables the longest prefix, of its
// routes the lowest metric. Routes whose next hops are all dead do not count.
func Walk(t Tables, p Packet) (d Decision, err error) {
	six := p.Dst.Is6()
	rules, err := t.Rules(six)
	if err != nil {
		return d, err
	}
	after := int64(-1) // the target of a goto: rules before it do not count
	for i := range rules {
		r := &rules[i]
		if int64(r.Priority) < after {
			continue
		}
		matched, unsure := matches(t, r, p)
		if unsure != "" {
			d.Unsure = fmt.Sprintf("rule %v has %s", *r, unsure)
		}
		if matched == r.Not {
			continue
		}
		s := Step{Rule: *r}
		over := false
		switch {
		case r.Action == ActionGoto:
			s.Result = fmt.Sprintf("goes on at %d", r.Target)
			if slices.ContainsFunc(rules, func(o Rule) bool { return o.Priority == r.Target }) {
				after = int64(r.Target)
			} else {
				s.Result = fmt.Sprintf("there is no rule %d: goes on", r.Target)
			}
		case r.Action == ActionNop:
			s.Result = "does nothing"
		case r.Action == ActionTable:
			if over, err = d.table(t, r, p, &s); err != nil {
				return d, err
			}
		default:
			d.Errno, over = actionErrno(r.Action), true
			s.Result = fmt.Sprintf("drops the packet (%s)", ErrnoName(d.Errno))
		}
		d.Steps = append(d.Steps, s)
		if over {
			d.Rule = r
			return d, nil
		}
	}
	d.Errno = unix.ENETUNREACH
	return d, nil
}

// actionErrno is what a rule that drops says to the sender (fib4_rule_action,
// fib6_rule_action).
func actionErrno(a Action) unix.Errno {
	switch a {
	case ActionUnreachable:
		return unix.ENETUNREACH
	case ActionProhibit:
		return unix.EACCES
	}
	return unix.EINVAL
}

// table looks a packet up as a rule says, and reports whether that decided.
func (d *Decision) table(t Tables, r *Rule, p Packet, s *Step) (over bool, err error) {
	table := r.Table
	if r.L3MDev {
		table = vrfTable(t, p)
	}
	list, err := t.Covering(table, p)
	if err != nil {
		return false, err
	}
	sortRoutes(list)
	for _, one := range list {
		if one.TOS != 0 || !onLink(one, p) { // of packets with that TOS only; ours have none
			continue
		}
		s.Routes = append(s.Routes, one)
		if one.Type == Throw {
			s.Result = "throw: goes on"
			return false, nil
		}
		if one.Type == Unicast && !alive(t, one, p.Dst.Is6()) {
			continue
		}
		if suppressed(r, one) {
			s.Result = fmt.Sprintf("found %v, which suppress_prefixlength %d leaves out: goes on", one, r.Suppress)
			return false, nil
		}
		d.Route = &one
		s.Result = fmt.Sprintf("found %v", one)
		if n := len(s.Routes); n > 1 {
			s.Result += fmt.Sprintf(", since the next hops of %v are down", s.Routes[n-2])
		}
		var rejects bool
		if d.Errno, rejects = one.Type.rejects(); rejects {
			s.Result += fmt.Sprintf(": drops the packet (%s)", ErrnoName(d.Errno))
		}
		if r.SuppressGroup {
			d.Unsure = fmt.Sprintf("rule %v leaves out routes over a group of interfaces", *r)
		}
		return true, nil
	}
	switch n := len(s.Routes); {
	case n > 0:
		s.Result = fmt.Sprintf("all next hops of %v are down: goes on", s.Routes[n-1])
	case r.L3MDev && table == 0:
		s.Result = "the packet is in no VRF: goes on"
	default:
		s.Result = "no route: goes on"
	}
	return false, nil
}

// onLink reports whether a route is for the link that the packet's destination is on (RT6_LOOKUP_F_IFACE). One that has
// no interface, since it drops, is for all.
func onLink(r Route, p Packet) bool {
	return p.OIF.Index == 0 || len(r.Hops) == 0 || slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.IfIndex == p.OIF.Index })
}

// suppressed is fib4_rule_suppress and fib6_rule_suppress: what rejects is never left out,
// since the lookup has ended with an error by then.
func suppressed(r *Rule, route Route) bool {
	_, rejects := route.Type.rejects()
	return r.Suppress >= 0 && !rejects && route.Prefix.Bits() <= r.Suppress
}

// sortRoutes puts routes in the order in which the kernel looks at them.
func sortRoutes(list []Route) {
	slices.SortStableFunc(list, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), cmp.Compare(b.TOS, a.TOS), cmp.Compare(a.Metric, b.Metric))
	})
}

// alive reports whether one of the next hops counts.
func alive(t Tables, r Route, six bool) bool {
	return slices.ContainsFunc(r.Hops, func(h Hop) bool { return usable(t, h, six) })
}

// usable reports whether a next hop counts.
func usable(t Tables, h Hop, six bool) bool {
	l := t.Link(h.IfIndex)
	return h.Flags&flagDead == 0 && l.Up && (l.Carrier || !t.IgnoresLinkDown(h.IfIndex, six))
}

// vrfTable returns the table of the VRF that a packet is in, 0 for none.
func vrfTable(t Tables, p Packet) uint32 {
	l := t.Link(cmp.Or(p.IIF.Index, p.OIF.Index))
	if l.Table != 0 {
		return l.Table
	}
	return t.Link(l.Master).Table
}

// matches is fib_rule_match, before FIB_RULE_INVERT. unsure names a selector that is not known.
func matches(t Tables, r *Rule, p Packet) (ok bool, unsure string) {
	iif := cmp.Or(p.IIF.Name, "lo")
	master := t.Link(t.Link(p.IIF.Index).Master)
	switch {
	case r.IIF != "" && r.IIF != iif && (master.Table == 0 || r.IIF != master.Name):
	case r.OIF != "" && (p.IIF.Index != 0 || r.OIF != p.OIF.Name): // no socket is bound to an interface; a zone is as good
	case (r.Mark^p.Mark)&r.Mask != 0:
	case r.L3MDev && vrfTable(t, p) == 0:
	case r.UIDs && r.UIDLow > 0: // we are root, and so is what is forwarded
	case r.IPProto != 0 && r.IPProto != protoOf(p):
	case r.DSCP != 0 || r.Ports: // a ping has neither
	case r.From.IsValid() && (!p.Src.IsValid() || !r.From.Contains(p.Src)):
	case r.To.IsValid() && !r.To.Contains(p.Dst):
	case r.Other:
		return false, "selectors that are not known here"
	default:
		return true, ""
	}
	return false, ""
}

// protoOf is the transport protocol: of a ping.
func protoOf(p Packet) uint8 {
	if p.Dst.Is6() {
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}

// ErrnoName names an error with its words.
func ErrnoName(e unix.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return fmt.Sprintf("%s, %v", name, e)
	}
	return e.Error()
}
