package fib

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Routes iterates over the desired routes and, before Sweep, the stale ones, in
// no order. The lock is not held while the loop body runs; changes meanwhile
// may or may not be seen.
func (f *FIB) Routes() iter.Seq[RouteStatus] {
	return func(yield func(RouteStatus) bool) {
		var page []RouteStatus
		for start := uint32(0); ; start += chunkSize {
			f.lock()
			end := min(start+chunkSize, f.store.n)
			page = page[:0]
			for i := start; i < end; i++ {
				if e := f.store.at(i); e.want != nil || e.have != nil {
					page = append(page, f.statusOf(i, e))
				}
			}
			last := end >= f.store.n
			f.unlock()
			for _, s := range page {
				if !yield(s) {
					return
				}
			}
			if last {
				return
			}
		}
	}
}

func (c *core) statusOf(i uint32, e *entry) RouteStatus {
	s := RouteStatus{}
	if e.want != nil {
		s.Route = c.routeOf(&e.want.facts, e.want.nextHops, e.want.classic)
		s.Buckets = e.want.buckets
	} else {
		s.Route = c.routeOf(&e.have.facts, e.have.nextHops, false)
	}
	s.RouteKey = c.unpack(&e.key)
	if e.have != nil {
		s.NextHopID = e.have.nhid
	}
	s.Present, s.Active = e.have != nil && e.have != needsDump, c.active(e)
	s.State, s.Err = c.stateOf(i, e)
	return s
}

// stateOf says how far e has come, and why not further.
func (c *core) stateOf(i uint32, e *entry) (RouteState, error) {
	switch {
	case e.want == nil:
		return StateStale, nil
	case e.mark&markFailed != 0:
		return StateFailed, c.failures[i].err
	case e.mark&markYielding != 0:
		return StateForeign, &Error{Op: "add", Key: c.unpack(&e.key), Err: ErrForeign}
	case e.mark&markBehind != 0:
		return StateForeign, &Error{Op: "replace", Key: c.unpack(&e.key), Err: ErrForeign, Text: "it stands before ours"}
	case e.want.isCut:
		return StateHeld, nil
	case e.want.form != nil && e.want.form == e.have:
		if c.active(e) < len(e.want.nextHops) {
			return StatePartial, nil
		}
		return StateInstalled, nil
	case e.want.form == nil && e.want.group != nil:
		if text, err := c.groupError(e.want.group); err != nil {
			return StateFailed, &Error{Op: "add", Key: c.unpack(&e.key), Err: err, Text: text}
		}
	}
	if b := c.brakes[e.key]; !b.Ready(c.now()) {
		return StateFailed, &Error{Op: "replace", Key: c.unpack(&e.key), Err: ErrContended}
	}
	if e.mark&markLost != 0 {
		return StateLost, nil
	}
	return StatePending, nil
}

// active counts the desired next hops that our route in the kernel has.
func (c *core) active(e *entry) (n int) {
	switch {
	case e.want == nil || e.have == nil || e.have == needsDump:
		return 0
	case e.have.nhid == 0:
		for i := range e.want.nextHops {
			if slices.Contains(e.have.nextHops, e.want.nextHops[i]) {
				n++
			}
		}
		return n
	case e.have.group == nil:
		return 0
	}
	for _, m := range e.have.group.members {
		b := c.byID[m.id]
		if b != nil && slices.ContainsFunc(e.want.nextHops, func(l nextHop) bool { return l.link == b.key.link && l.gateway == b.key.gateway }) {
			n++
		}
	}
	return n
}

// groupError returns why g is not in the kernel: its own error, or that of the last of
// its next hops that the kernel refused.
func (c *core) groupError(g *group) (text string, err error) {
	if g.err != nil {
		return g.text, g.err
	}
	for i := range g.nextHops {
		if b := c.byKey[keyOf(&g.nextHops[i], g.family)]; b != nil && !c.live(b) && b.err != nil {
			text, err = b.text, b.err
		}
	}
	return text, err
}

func (c *core) routeOf(f *facts, nextHops []nextHop, classic bool) Route {
	r := Route{Type: f.typ, PrefSrc: f.prefSrc, MTU: f.mtu, AdvMSS: f.advMSS, Persistent: f.proto == c.config.PersistentProtocol, RTAMultipath: classic}
	if f.family == FamilyIPv4 {
		r.Scope = scopeFromKernel(f.scope)
	}
	for _, l := range nextHops {
		r.NextHops = append(r.NextHops, NextHop{l.gateway, int(l.link), l.weight, l.onlink})
	}
	return r
}

// String formats the status as `10.1.0.0/16 table 90: partial, 1 of 2 next hops`.
func (s RouteStatus) String() string {
	text := fmt.Sprintf("%v: %v", s.RouteKey, s.State)
	if len(s.NextHops) > 1 && s.State != StateInstalled {
		text += fmt.Sprintf(", %d of %d next hops", s.Active, len(s.NextHops))
	}
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

// Difference is one line of [FIB.Diff].
type Difference struct {
	// Op is "add", "replace", "delete" or "held".
	Op string
	// Key names the object as in [Error].
	Key any
	// Want and Have describe it in words; "" is absent.
	Want, Have string
}

// String formats the line as `add 203.0.113.1/32 table 90: want ..., have ...`.
func (d Difference) String() string {
	return fmt.Sprintf("%s %v: want %s, have %s", d.Op, d.Key, or(d.Want, "nothing"), or(d.Have, "nothing"))
}

// Diff lists how the kernel, as far as it is known from notifications, differs
// from the desired state, sorted by text. It is empty when all is well. Sysctls
// are compared when they are written, and are listed when that failed.
func (f *FIB) Diff() []Difference {
	f.lock()
	defer f.unlock()
	d := append(f.diffRoutes(), f.diffSmall()...)
	slices.SortFunc(d, func(a, b Difference) int { return cmp.Compare(a.String(), b.String()) })
	return d
}

func (c *core) diffRoutes() (d []Difference) {
	c.store.all(func(_ uint32, e *entry) {
		target, keep := c.target(e)
		if e.want != nil && e.want.form == nil {
			if e.have == nil || !keep || e.want.group != nil {
				op := "held"
				if e.have == nil && !e.want.isCut {
					op = "add"
				}
				d = append(d, Difference{op, c.unpack(&e.key), c.describe(&e.want.facts, e.want.nextHops), c.describeForm(e.have)})
			}
			return
		}
		switch {
		case !keep && target == e.have && e.want != nil:
			if have := c.shortOf(e); have != "" {
				d = append(d, Difference{"held", c.unpack(&e.key), c.describe(&e.want.facts, e.want.nextHops), have})
			}
			return
		case keep || target == e.have:
			return
		}
		x := Difference{Key: c.unpack(&e.key), Op: decide(target, e.have, false, c.config.OnForeign).String(), Have: c.describeForm(e.have)}
		if e.want != nil {
			x.Want = c.describe(&e.want.facts, e.want.nextHops)
		}
		d = append(d, x)
	})
	return d
}

// shortOf describes the route in the kernel if it is what can be had now, but not all that
// is desired: next hops are missing other than those that GatewayDown was called for, or
// somebody else's route stands before it.
func (c *core) shortOf(e *entry) string {
	if e.mark&markBehind != 0 {
		return c.describeForm(e.have) + ", behind somebody else's route"
	}
	dead := 0
	for i := range e.want.nextHops {
		if l := &e.want.nextHops[i]; c.down[gatewayKey{l.link, l.gateway}] {
			dead++
		}
	}
	n, all := c.active(e), len(e.want.nextHops)
	if n+dead >= all {
		return ""
	}
	return fmt.Sprintf("%s, %d of %d next hops", c.describeForm(e.have), n, all)
}

func (c *core) diffSmall() (d []Difference) {
	p := planRules(c.rules.want, c.rules.ban, c.rules.gone, nil, c.rules.kernel, c.config.Protocol, c.swept)
	for _, r := range p.add {
		d = append(d, Difference{Op: "add", Key: r, Want: "rule"})
	}
	for _, k := range append(p.remove, p.duplicates...) {
		d = append(d, Difference{Op: "delete", Key: k.Rule, Have: "rule"})
	}
	for k, a := range c.addresses.want {
		switch v := c.addresses.decide(k, c.swept); v {
		case verbNone:
		case verbDelete: // and addition: see fixed
			d = append(d, Difference{Op: verbReplace.String(), Key: a, Want: "address"})
		default:
			d = append(d, Difference{Op: v.String(), Key: a, Want: "address"})
		}
	}
	for k, n := range c.neighbors.want {
		if v := c.neighbors.decide(k, c.swept); v != verbNone {
			d = append(d, Difference{Op: v.String(), Key: n, Want: "neighbour"})
		}
	}
	for s, f := range c.sysctls.failed {
		d = append(d, Difference{Op: "set", Key: s.Sysctl, Want: s.Value, Have: f.err.Error()})
	}
	return d
}

func (c *core) describeForm(f *form) string {
	switch {
	case f == nil:
		return ""
	case f == needsDump:
		return "unknown"
	case f.nhid == 0:
		return c.describe(&f.facts, f.nextHops)
	}
	s := c.describe(&f.facts, nil) + fmt.Sprintf(" nhid %#x", f.nhid)
	if f.group != nil {
		for _, m := range f.group.members {
			if b := c.byID[m.id]; b != nil {
				s += fmt.Sprintf(" via %v dev %s", b.key.gateway, c.linkName(b.key.link))
			}
		}
	}
	return s
}

func (c *core) describe(f *facts, nextHops []nextHop) string {
	var b strings.Builder
	b.WriteString(f.typ.String())
	for _, l := range nextHops {
		if l.gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.gateway)
		}
		fmt.Fprintf(&b, " dev %s", c.linkName(l.link))
		if l.onlink {
			b.WriteString(" onlink")
		}
		if l.weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.weight)
		}
	}
	if f.prefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", f.prefSrc)
	}
	if f.mtu != 0 {
		fmt.Fprintf(&b, " mtu %d", f.mtu)
	}
	if f.advMSS != 0 {
		fmt.Fprintf(&b, " advmss %d", f.advMSS)
	}
	return b.String()
}

func (c *core) linkName(link int32) string {
	if l, ok := c.links[link]; ok {
		return l.Interface
	}
	return fmt.Sprintf("if%d", link)
}

// Stats are counters since Open, and sizes now.
type Stats struct {
	Desired, Installed, Held, Failed, Foreign, Stale int // routes now

	Adds, Replaces, Deletes uint64 // route messages sent
	ObjectWrites            uint64 // next-hop messages sent
	RuleWrites              uint64 // rule messages sent
	OtherWrites             uint64 // address and neighbour messages, sysctls
	Errors                  uint64 // refused by the kernel
	Repairs                 uint64 // put back after foreign interference
	Notifications           uint64 // read from the monitor socket
	Resyncs                 uint64 // because notifications or replies were lost
}

// Stats returns counters. It looks at every route: not for the fast path.
func (f *FIB) Stats() Stats {
	f.lock()
	defer f.unlock()
	s := f.stats
	f.store.all(func(i uint32, e *entry) {
		if e.want != nil {
			s.Desired++
		}
		if e.want == nil && e.have == nil {
			return
		}
		switch state, _ := f.stateOf(i, e); state {
		case StateStale:
			s.Stale++
		case StateFailed:
			s.Failed++
		case StateForeign:
			s.Foreign++
		case StateHeld:
			s.Held++
		case StateInstalled, StatePartial:
			s.Installed++
		}
	})
	return s
}
