package fibcore

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Page appends the status of the routes from number start on, a page of them, and returns
// where the next page starts; 0 if this was the last.
func (c *Core) Page(start uint32, page []RouteStatus, now time.Time) ([]RouteStatus, uint32) {
	c.clock = now
	end := min(start+chunkSize, c.store.n)
	for i := start; i < end; i++ {
		if e := c.store.at(i); e.want != nil || e.have != nil {
			page = append(page, c.statusOf(i, e))
		}
	}
	if end >= c.store.n {
		return page, 0
	}
	return page, end
}

func (c *Core) statusOf(i uint32, e *entry) RouteStatus {
	s := RouteStatus{}
	if e.want != nil {
		s.Route = c.routeOf(&e.want.Facts, e.want.nextHops, e.want.classic)
		s.Buckets = e.want.buckets
	} else {
		s.Route = c.routeOf(&e.have.Facts, e.have.nextHops, false)
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
func (c *Core) stateOf(i uint32, e *entry) (RouteState, error) {
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
	if b := c.brakes[e.key]; !b.Ready(c.clock) {
		return StateFailed, &Error{Op: "replace", Key: c.unpack(&e.key), Err: ErrContended}
	}
	if e.mark&markLost != 0 {
		return StateLost, nil
	}
	return StatePending, nil
}

// active counts the desired next hops that our route in the kernel has.
func (c *Core) active(e *entry) (n int) {
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
		b := c.byID[m.ID]
		if b != nil && slices.ContainsFunc(e.want.nextHops, func(l wire.NextHop) bool { return l.IfIndex == b.key.link && l.Gateway == b.key.gateway }) {
			n++
		}
	}
	return n
}

// groupError returns why g is not in the kernel: its own error, or that of the last of
// its next hops that the kernel refused.
func (c *Core) groupError(g *group) (text string, err error) {
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

func (c *Core) routeOf(f *wire.Facts, nextHops []wire.NextHop, classic bool) Route {
	r := Route{Type: f.Type, PrefSrc: f.PrefSrc, MTU: f.MTU, AdvMSS: f.AdvMSS, Persistent: f.Protocol == c.config.PersistentProtocol, RTAMultipath: classic}
	if f.Family == wire.FamilyIPv4 {
		r.Scope = wire.ScopeFromKernel(f.Scope)
	}
	for _, l := range nextHops {
		r.NextHops = append(r.NextHops, NextHop{l.Gateway, int(l.IfIndex), l.Weight, l.OnLink})
	}
	return r
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

// Diff lists how the kernel, as far as it is known, differs from the desired state.
func (c *Core) Diff() []Difference {
	return append(c.diffRoutes(), c.diffSmall()...)
}

func (c *Core) diffRoutes() (d []Difference) {
	c.store.all(func(_ uint32, e *entry) {
		target, keep := c.target(e)
		if e.want != nil && e.want.form == nil {
			if e.have == nil || !keep || e.want.group != nil {
				op := "held"
				if e.have == nil && !e.want.isCut {
					op = "add"
				}
				d = append(d, Difference{op, c.unpack(&e.key), c.describe(&e.want.Facts, e.want.nextHops), c.describeForm(e.have)})
			}
			return
		}
		switch {
		case !keep && target == e.have && e.want != nil:
			if have := c.shortOf(e); have != "" {
				d = append(d, Difference{"held", c.unpack(&e.key), c.describe(&e.want.Facts, e.want.nextHops), have})
			}
			return
		case keep || target == e.have:
			return
		}
		x := Difference{Key: c.unpack(&e.key), Op: decide(target, e.have, false, c.config.OnForeign).String(), Have: c.describeForm(e.have)}
		if e.want != nil {
			x.Want = c.describe(&e.want.Facts, e.want.nextHops)
		}
		d = append(d, x)
	})
	return d
}

// shortOf describes the route in the kernel if it is what can be had now, but not all that
// is desired: next hops are missing other than those that GatewayDown was called for, or
// somebody else's route stands before it.
func (c *Core) shortOf(e *entry) string {
	if e.mark&markBehind != 0 {
		return c.describeForm(e.have) + ", behind somebody else's route"
	}
	dead := 0
	for i := range e.want.nextHops {
		if l := &e.want.nextHops[i]; c.down[gatewayKey{l.IfIndex, l.Gateway}] {
			dead++
		}
	}
	n, all := c.active(e), len(e.want.nextHops)
	if n+dead >= all {
		return ""
	}
	return fmt.Sprintf("%s, %d of %d next hops", c.describeForm(e.have), n, all)
}

func (c *Core) diffSmall() (d []Difference) {
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

func (c *Core) describeForm(f *form) string {
	switch {
	case f == nil:
		return ""
	case f == needsDump:
		return "unknown"
	case f.nhid == 0:
		return c.describe(&f.Facts, f.nextHops)
	}
	s := c.describe(&f.Facts, nil) + fmt.Sprintf(" nhid %#x", f.nhid)
	if f.group != nil {
		for _, m := range f.group.members {
			if b := c.byID[m.ID]; b != nil {
				s += fmt.Sprintf(" via %v dev %s", b.key.gateway, c.linkName(b.key.link))
			}
		}
	}
	return s
}

func (c *Core) describe(f *wire.Facts, nextHops []wire.NextHop) string {
	var b strings.Builder
	b.WriteString(f.Type.String())
	for _, l := range nextHops {
		if l.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.Gateway)
		}
		fmt.Fprintf(&b, " dev %s", c.linkName(l.IfIndex))
		if l.OnLink {
			b.WriteString(" onlink")
		}
		if l.Weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.Weight)
		}
	}
	if f.PrefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", f.PrefSrc)
	}
	if f.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", f.MTU)
	}
	if f.AdvMSS != 0 {
		fmt.Fprintf(&b, " advmss %d", f.AdvMSS)
	}
	return b.String()
}

func (c *Core) linkName(link int32) string {
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

// Stats returns counters. It looks at every route.
func (c *Core) Stats(now time.Time) Stats {
	c.clock = now
	s := c.stats
	c.store.all(func(i uint32, e *entry) {
		if e.want != nil {
			s.Desired++
		}
		if e.want == nil && e.have == nil {
			return
		}
		switch state, _ := c.stateOf(i, e); state {
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

// Failing lists up to limit errors of what is failing now.
func (c *Core) Failing(limit int) (errs []*Error) {
	add := func(err *Error) {
		if err != nil && len(errs) < limit {
			errs = append(errs, err)
		}
	}
	for _, f := range c.failures {
		add(f.err)
	}
	for _, f := range c.rules.failed {
		add(f.err)
	}
	for _, f := range c.addresses.failed {
		add(f.err)
	}
	for _, f := range c.neighbors.failed {
		add(f.err)
	}
	for _, f := range c.sysctls.failed {
		add(f.err)
	}
	for _, b := range c.byID {
		if b.err != nil && !c.live(b) {
			add(&Error{Op: "add", Key: NextHopID(b.id), Err: b.err, Text: b.text})
		}
	}
	return errs
}
