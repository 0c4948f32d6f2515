package fibcore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Step is a kind of requests that a turn of the shell writes. The order is that of their
// dependence, after what is urgent.
type Step uint8

const (
	StepFailover  Step = iota // what GatewayDown asks for
	StepUpkeep                // what failed is due again; leftovers are deleted
	StepAddresses             //
	StepNeighbors             //
	StepRules                 //
	StepNextHops              // single next-hop objects
	StepGroups                // groups of them
	StepProbes                //
	StepRoutes                // one batch
)

var stepNames = [...]string{"failover", "upkeep", "addresses", "neighbors", "rules", "next-hops", "groups", "probes", "routes"}

func (s Step) String() string { return enum.String("Step", stepNames[:], s) }

// Batch takes the requests that are written together, and says what has come of each of
// them: rtnl.Writer is one.
type Batch interface {
	Buffer() []byte
	Seq() uint32
	Add(b []byte)
	Len() int
	Err(i int) error
}

// flight is the batch that is being written, by its step.
type flight struct {
	addresses      []smallOp[wire.AddressKey]
	addressValues  []wire.Address
	neighbors      []smallOp[wire.NeighborKey]
	neighborValues []wire.Neighbor
	addRules       []wire.Rule
	removeRules    []wire.KernelRule
	nextHops       []objectOp // those of the plan that are still to be written
	open           bool       // there is a plan
	allowed        bool       // groups may be written in this turn
	rounds         int        // of the failover
	refused        bool       // the kernel refused something of the failover
	routes         []routeOp
}

// Plan appends to an empty batch what is to be written now, and returns how many requests
// that is. After a batch has been written, Commit must follow before the next Plan.
func (c *Core) Plan(step Step, b Batch, now time.Time) int {
	c.clock = now
	switch step {
	case StepAddresses:
		c.planAddresses(b)
	case StepNeighbors:
		c.planNeighbors(b)
	case StepRules:
		c.planRules(b)
	case StepProbes:
		c.planProbes(b)
	case StepRoutes:
		c.flight.routes = c.planRoutes(c.flight.routes[:0], c.config.BatchMessages, now)
		for i := range c.flight.routes {
			b.Add(c.appendOp(b.Buffer(), &c.flight.routes[i], b.Seq()))
		}
	default:
		c.planNextHops(step, b)
	}
	return b.Len()
}

// Commit takes in what has come of the batch that the last Plan with the same step has
// filled. lost reports that the kernel's answers to some of it were lost. With more, Plan
// is to be called with the same step again.
func (c *Core) Commit(step Step, b Batch, lost bool, now time.Time) (more bool) {
	c.clock = now
	switch step {
	case StepAddresses:
		c.commitAddresses(b, lost)
	case StepNeighbors:
		c.commitNeighbors(b, lost)
	case StepRules:
		c.commitRules(b)
	case StepProbes:
	case StepRoutes:
		for i := range c.flight.routes {
			c.commitRoute(&c.flight.routes[i], replyOf(b.Err(i)), now)
		}
		if lost {
			c.stats.Resyncs++
		}
	default:
		c.commitNextHops(b, lost)
		return true
	}
	return false
}

// planNextHops appends the next batch of a plan of next-hop objects and groups, making the
// plan first if there is none.
func (c *Core) planNextHops(step Step, b Batch) {
	f := &c.flight
	switch {
	case !f.open:
		f.nextHops, f.open, f.rounds, f.refused = c.nextHopOps(step), true, 1, false
	case len(f.nextHops) > 0 || step != StepFailover:
	case f.rounds < 3 && !f.refused: // three make a clone, move groups to it, and delete
		f.nextHops = c.nextHopOps(step)
		f.rounds++
	default: // notifications are read before the next attempt
		c.urgentFailed(c.clock)
	}
	for i := range f.nextHops[:min(len(f.nextHops), c.config.BatchMessages)] {
		b.Add(f.nextHops[i].append(b.Buffer(), b.Seq(), c.config.Protocol))
	}
	if b.Len() > 0 {
		return
	}
	f.open = false
	if step == StepGroups {
		c.settleGroups()
	}
}

// nextHopOps is the plan of a step.
func (c *Core) nextHopOps(step Step) []objectOp {
	switch step {
	case StepFailover:
		if len(c.dying) > 0 && c.synced {
			return c.planUrgent(c.clock)
		}
	case StepUpkeep:
		return c.upkeep(c.clock)
	case StepNextHops:
		c.flight.allowed = len(c.objects.dirty) > 0 && !c.rereads.nextHops.blocks()
		if c.flight.allowed {
			return c.planObjects(c.clock)
		}
	case StepGroups:
		if c.flight.allowed {
			return c.planGroups(c.clock)
		}
	}
	return nil
}

func (c *Core) commitNextHops(b Batch, lost bool) {
	f := &c.flight
	for i := range b.Len() {
		if !c.commitObject(&f.nextHops[i], replyOf(b.Err(i)), c.clock) {
			f.refused = true
		}
	}
	f.nextHops = f.nextHops[b.Len():]
	if lost {
		c.rereads.nextHops.request()
		f.refused = true
	}
}

// upkeep tries again what failed, if time has come or something has changed that may help,
// has audited what is to be, and returns the leftovers to delete.
func (c *Core) upkeep(now time.Time) []objectOp {
	all := c.hope
	c.hope = false
	if all || !c.tick.IsZero() && !now.Before(c.tick) {
		c.tick = time.Time{}
		c.retry(now, all)
	}
	if !now.Before(c.audit) {
		c.audit = now.Add(c.auditEvery())
		c.sysctls.audit()
		c.suspectProxies()
	}
	c.trim()
	ops, again := c.collect(now)
	if !again.IsZero() {
		c.wake(again)
	}
	return ops
}

func (c *Core) auditEvery() time.Duration {
	if c.config.Audit < 0 {
		return 24 * time.Hour
	}
	return c.config.Audit
}

func (c *Core) planAddresses(b Batch) {
	f := &c.flight
	f.addresses, f.addressValues = nil, nil
	if c.rereads.addresses.blocks() {
		return
	}
	f.addresses = c.addresses.plan(c.swept, c.clock)
	for _, op := range f.addresses {
		a := c.addresses.want[op.key]
		a.IfIndex, a.Prefix = op.key.IfIndex, op.key.Prefix
		f.addressValues = append(f.addressValues, a)
		typ, flags := uint16(rtnl.RTM_NEWADDR), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = rtnl.RTM_DELADDR, rtnl.NLM_F_REQUEST
		}
		b.Add(wire.AppendAddress(b.Buffer(), typ, flags, b.Seq(), a, c.config.Protocol))
	}
}

func (c *Core) commitAddresses(b Batch, lost bool) {
	for i, op := range c.flight.addresses {
		value, r := c.flight.addressValues[i], replyOf(b.Err(i))
		_, known := c.addresses.have[op.key]
		c.report(c.addresses.commit(op, r, value, value, c.clock, c.wake))
		c.stats.OtherWrites++
		if r.err != nil {
			continue
		}
		if by, repair, contended := c.addresses.repaired(op.key, c.clock); repair {
			c.repaired(value, op.verb.String(), "repair", by, contended)
		}
		if gone := op.verb == verbDelete; known == gone {
			c.addressChanged(op.key, value.Scope, true, gone)
		}
	}
	if lost {
		c.rereads.addresses.request()
	}
}

func (c *Core) neighborsBlocked() bool {
	return c.rereads.neighbors.blocks() || c.rereads.proxies.blocks()
}

func (c *Core) planNeighbors(b Batch) {
	f := &c.flight
	f.neighbors, f.neighborValues = nil, nil
	if c.neighborsBlocked() {
		return
	}
	f.neighbors = c.neighbors.plan(c.swept, c.clock)
	for _, op := range f.neighbors {
		n := c.neighbors.want[op.key]
		n.IfIndex, n.Addr, n.Proxy = op.key.IfIndex, op.key.Addr, op.key.Proxy
		f.neighborValues = append(f.neighborValues, n)
		typ, flags := uint16(rtnl.RTM_NEWNEIGH), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = rtnl.RTM_DELNEIGH, rtnl.NLM_F_REQUEST
		}
		b.Add(wire.AppendNeighbor(b.Buffer(), typ, flags, b.Seq(), n, c.config.Protocol))
	}
}

func (c *Core) commitNeighbors(b Batch, lost bool) {
	for i, op := range c.flight.neighbors {
		value, r := c.flight.neighborValues[i], replyOf(b.Err(i))
		c.report(c.neighbors.commit(op, r, value, value, c.clock, c.wake))
		c.stats.OtherWrites++
		if r.err != nil {
			continue
		}
		if by, repair, contended := c.neighbors.repaired(op.key, c.clock); repair {
			c.repaired(value, op.verb.String(), "repair", by, contended)
		}
	}
	if lost {
		c.rereads.neighbors.request()
		c.rereads.proxies.request()
	}
}

// planRules adds what is missing, or else removes what must not be there. After either
// the rules are counted anew: what is removed is removed on the knowledge that all that
// is desired is there.
func (c *Core) planRules(b Batch) {
	f := &c.flight
	f.addRules, f.removeRules = nil, nil
	if !c.rules.dirty || c.rereads.rules.blocks() {
		return
	}
	c.rules.dirty = false
	plan, again := c.rules.plan(c.config.Protocol, c.swept, !c.rereads.rules.needed, c.clock)
	if !again.IsZero() {
		c.rules.dirtyAt = again
		c.wake(again)
	}
	f.addRules, f.removeRules = plan.add, append(plan.remove, plan.duplicates...)
	if len(plan.add) > 0 {
		f.removeRules = nil
		c.rules.dirty = true
	}
	for _, r := range f.addRules {
		b.Add(wire.AppendRule(b.Buffer(), rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, b.Seq(), r, c.config.Protocol))
	}
	for _, k := range f.removeRules {
		b.Add(wire.AppendRule(b.Buffer(), rtnl.RTM_DELRULE, rtnl.NLM_F_REQUEST, b.Seq(), k.Rule, k.Protocol))
	}
	for _, x := range plan.blocked {
		c.report(c.rules.refused(x.rule.Rule, "delete", reply{err: ErrForeign, text: fmt.Sprintf("the kernel would delete %v instead", x.other.Rule)}, c.clock, c.wake))
	}
	if b.Len() > 0 {
		c.rereads.rules.request()
	}
}

func (c *Core) commitRules(b Batch) {
	c.stats.RuleWrites += uint64(b.Len())
	for i, r := range c.flight.addRules {
		a := replyOf(b.Err(i))
		c.report(c.rules.commitAdd(r, a, c.clock, c.wake))
		c.ruleWritten(r, "add", a.err)
	}
	for i, k := range c.flight.removeRules {
		a := replyOf(b.Err(i))
		c.report(c.rules.commitRemove(k, a, c.clock, c.wake))
		c.ruleWritten(k.Rule, "delete", a.err)
	}
}

// ruleWritten reports a repair, if it was one.
func (c *Core) ruleWritten(r wire.Rule, op string, err error) {
	if err != nil {
		return
	}
	if by, repair, contended := c.rules.repaired(r, c.clock); repair {
		c.repaired(r, op, "repair", by, contended)
	}
}

// planProbes sends what was noted. The kernel knows no entry for most.
func (c *Core) planProbes(b Batch) {
	keys := slices.SortedFunc(maps.Keys(c.probes), func(a, b wire.NeighborKey) int {
		return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Addr.Compare(b.Addr))
	})
	for _, k := range keys[:min(len(keys), c.config.BatchMessages)] {
		b.Add(wire.AppendProbe(b.Buffer(), b.Seq(), c.probes[k]))
		delete(c.probes, k)
	}
}

// TakeSysctls returns the sysctls that are to be compared and written now, and the
// directories of which none is desired any more.
func (c *Core) TakeSysctls() (todo []Sysctl, forgotten []string) {
	todo, forgotten = c.sysctls.take(), c.forgotten
	c.forgotten = nil
	return todo, forgotten
}

// SysctlDone takes in what has come of one of them. written reports that the value was
// another.
func (c *Core) SysctlDone(s Sysctl, written bool, err error, now time.Time) {
	c.clock = now
	report, repaired, contended := c.sysctls.commit(s, written, err, now, c.wake)
	if written {
		c.stats.OtherWrites++
	}
	c.report(report)
	if repaired {
		c.repaired(s, "set", "repair", origin{}, contended)
	}
}

// SysctlTouched notes that somebody has written to a path below /proc/sys.
func (c *Core) SysctlTouched(path string) { c.sysctls.touchPath(path) }

// AdoptOnly takes the place of all steps in a dry run: groups are adopted, so that Diff
// knows them, and nothing is to be written.
func (c *Core) AdoptOnly(now time.Time) {
	c.clock = now
	c.hope, c.dying = false, nil
	c.planGroups(now)
	c.settleGroups()
	c.queue, c.head, c.handled = nil, 0, c.queued
	c.store.all(func(_ uint32, e *entry) { e.mark &^= markDirty })
}

// Progress is where the core stands at the end of a turn.
type Progress struct {
	// More says that another turn is to follow at once.
	More bool
	// Calm says that nothing but routes in the queue is left to do.
	Calm bool
	// Queued and Handled count the routes that ever had to be written, and those that
	// were, or needed not: the queue is first in first out.
	Queued, Handled uint64
}

// Finish ends a turn.
func (c *Core) Finish(now time.Time) Progress {
	c.clock = now
	if c.objects.changed {
		c.objects.changed = false
		c.event(Event{Kind: EventNextHops})
	}
	c.tell()
	doubtful, due, next := c.rereads.state(now)
	if doubtful && !due {
		c.wake(next)
	}
	busy := c.fresh || c.hope || c.moved || len(c.extras) > 0 || c.deathsDue(now)
	quiet := c.config.DryRun || c.quiet(now)
	return Progress{due || busy || !quiet || c.head < len(c.queue), !doubtful && !busy && quiet, c.queued, c.handled}
}

// Urgent reports whether StepFailover has something to do, or will have.
func (c *Core) Urgent() bool { return len(c.dying) > 0 }

// deathsDue reports whether failover has something to do now.
func (c *Core) deathsDue(now time.Time) bool {
	return slices.ContainsFunc(c.dying, func(b *object) bool { return !now.Before(b.next) })
}

// quiet reports whether nothing but what waits for time or events is left.
func (c *Core) quiet(now time.Time) bool {
	if c.addresses.pending(now) && !c.rereads.addresses.blocks() || c.neighbors.pending(now) && !c.neighborsBlocked() ||
		c.rules.dirty && !c.rereads.rules.blocks() || c.sysctls.pending() || len(c.probes) > 0 {
		return false
	}
	if c.rereads.nextHops.blocks() {
		return true
	}
	for _, g := range c.dirty {
		if g.wants > 0 && !c.waiting(g, now) {
			return false
		}
	}
	return true
}

// waiting reports whether g waits for its time, or for an object to be tried again.
func (c *Core) waiting(g *group, now time.Time) bool {
	if now.Before(g.next) || g.foreign && !g.brake.Ready(now) {
		return true
	}
	for i := range g.nextHops {
		b := c.byKey[keyOf(&g.nextHops[i], g.family)]
		if b != nil && !c.live(b) && (now.Before(b.next) || b.foreign && !b.brake.Ready(now)) {
			return true
		}
	}
	return false
}

// Deadline returns when the next turn is due at the latest.
func (c *Core) Deadline() time.Time {
	if !c.tick.IsZero() && c.tick.Before(c.audit) {
		return c.tick
	}
	return c.audit
}

// report turns a failed write into an event.
func (c *Core) report(err *Error) {
	if err != nil {
		c.stats.Errors++
		c.event(Event{Kind: EventError, Op: err.Op, Key: err.Key, Err: err})
	}
}

// repaired turns a write that undid what somebody else did into events.
func (c *Core) repaired(key any, op, reason string, by origin, contended bool) {
	c.stats.Repairs++
	c.event(Event{Kind: EventRepair, Op: op, Key: key, Reason: reason, Protocol: by.proto, Port: by.port})
	if contended {
		c.event(Event{Kind: EventContended, Op: op, Key: key, Protocol: by.proto, Port: by.port})
	}
}
