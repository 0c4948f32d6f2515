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
	c.env.clock = now
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
		c.flight.routes = c.routes.planRoutes(c.flight.routes[:0], c.env.config.BatchMessages, now)
		for i := range c.flight.routes {
			b.Add(c.routes.appendOp(b.Buffer(), &c.flight.routes[i], b.Seq()))
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
	c.env.clock = now
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
			c.routes.commitRoute(&c.flight.routes[i], replyOf(b.Err(i)), now)
		}
		if lost {
			c.env.stats.Resyncs++
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
		c.nexthops.urgentFailed(c.env.clock)
	}
	for i := range f.nextHops[:min(len(f.nextHops), c.env.config.BatchMessages)] {
		b.Add(f.nextHops[i].append(b.Buffer(), b.Seq(), c.env.config.Protocol))
	}
	if b.Len() > 0 {
		return
	}
	f.open = false
	if step == StepGroups {
		c.routes.settleGroups()
	}
}

// nextHopOps is the plan of a step.
func (c *Core) nextHopOps(step Step) []objectOp {
	switch step {
	case StepFailover:
		if len(c.nexthops.toDelete) > 0 && c.env.synced {
			return c.nexthops.planUrgent(c.env.clock)
		}
	case StepUpkeep:
		return c.upkeep(c.env.clock)
	case StepNextHops:
		c.flight.allowed = len(c.nexthops.dirty) > 0 && !c.env.rereads.nextHops.blocks()
		if c.flight.allowed {
			return c.nexthops.planObjects(c.env.clock)
		}
	case StepGroups:
		if c.flight.allowed {
			return c.nexthops.planGroups(c.env.clock)
		}
	}
	return nil
}

func (c *Core) commitNextHops(b Batch, lost bool) {
	f := &c.flight
	for i := range b.Len() {
		if !c.nexthops.commitObject(&f.nextHops[i], replyOf(b.Err(i)), c.env.clock) {
			f.refused = true
		}
	}
	f.nextHops = f.nextHops[b.Len():]
	if lost {
		c.env.rereads.nextHops.request()
		f.refused = true
	}
}

// upkeep tries again what failed, if time has come or something has changed that may help,
// has audited what is to be, and returns the leftovers to delete.
func (c *Core) upkeep(now time.Time) []objectOp {
	all := c.env.retryAll
	c.env.retryAll = false
	if all || !c.env.tick.IsZero() && !now.Before(c.env.tick) {
		c.env.tick = time.Time{}
		c.retry(now, all)
	}
	if !now.Before(c.compared) {
		c.compared = now.Add(c.env.auditEvery())
		c.sysctls.audit()
		c.requestProxies()
	}
	c.contents.trim()
	ops, again := c.nexthops.collect(now)
	if !again.IsZero() {
		c.env.wake(again)
	}
	return ops
}

func (c *Core) planAddresses(b Batch) {
	f := &c.flight
	f.addresses, f.addressValues = nil, nil
	if c.env.rereads.addresses.blocks() {
		return
	}
	f.addresses = c.addresses.plan(c.env.swept, c.env.clock)
	for _, op := range f.addresses {
		a := c.addresses.want[op.key]
		a.IfIndex, a.Prefix = op.key.IfIndex, op.key.Prefix
		f.addressValues = append(f.addressValues, a)
		typ, flags := uint16(rtnl.RTM_NEWADDR), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = rtnl.RTM_DELADDR, rtnl.NLM_F_REQUEST
		}
		b.Add(wire.AppendAddress(b.Buffer(), typ, flags, b.Seq(), a, c.env.config.Protocol))
	}
}

func (c *Core) commitAddresses(b Batch, lost bool) {
	for i, op := range c.flight.addresses {
		value, r := c.flight.addressValues[i], replyOf(b.Err(i))
		_, known := c.addresses.have[op.key]
		c.env.report(c.addresses.commit(op, r, value, value, c.env.clock, c.env.wake))
		c.env.stats.OtherWrites++
		if r.err != nil {
			continue
		}
		if by, repair, contended := c.addresses.repaired(op.key, c.env.clock); repair {
			c.env.repaired(value, op.verb.String(), ReasonRepair, by, contended)
		}
		if gone := op.verb == verbDelete; known == gone {
			c.addressChanged(op.key, value.Scope, true, gone)
		}
	}
	if lost {
		c.env.rereads.addresses.request()
	}
}

func (c *Core) neighborsBlocked() bool {
	return c.env.rereads.neighbors.blocks() || c.env.rereads.proxies.blocks()
}

func (c *Core) planNeighbors(b Batch) {
	f := &c.flight
	f.neighbors, f.neighborValues = nil, nil
	if c.neighborsBlocked() {
		return
	}
	f.neighbors = c.neighbors.plan(c.env.swept, c.env.clock)
	for _, op := range f.neighbors {
		n := c.neighbors.want[op.key]
		n.IfIndex, n.Addr, n.Proxy = op.key.IfIndex, op.key.Addr, op.key.Proxy
		f.neighborValues = append(f.neighborValues, n)
		typ, flags := uint16(rtnl.RTM_NEWNEIGH), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = rtnl.RTM_DELNEIGH, rtnl.NLM_F_REQUEST
		}
		b.Add(wire.AppendNeighbor(b.Buffer(), typ, flags, b.Seq(), n, c.env.config.Protocol))
	}
}

func (c *Core) commitNeighbors(b Batch, lost bool) {
	for i, op := range c.flight.neighbors {
		value, r := c.flight.neighborValues[i], replyOf(b.Err(i))
		c.env.report(c.neighbors.commit(op, r, value, value, c.env.clock, c.env.wake))
		c.env.stats.OtherWrites++
		if r.err != nil {
			continue
		}
		if by, repair, contended := c.neighbors.repaired(op.key, c.env.clock); repair {
			c.env.repaired(value, op.verb.String(), ReasonRepair, by, contended)
		}
	}
	if lost {
		c.env.rereads.neighbors.request()
		c.env.rereads.proxies.request()
	}
}

// planRules adds what is missing, or else removes what must not be there. After either
// the rules are counted anew: what is removed is removed on the knowledge that all that
// is desired is there.
func (c *Core) planRules(b Batch) {
	f := &c.flight
	f.addRules, f.removeRules = nil, nil
	if !c.rules.dirty || c.env.rereads.rules.blocks() {
		return
	}
	c.rules.dirty = false
	plan, again := c.rules.plan(c.env.config.Protocol, c.env.swept, !c.env.rereads.rules.needed, c.env.clock)
	if !again.IsZero() {
		c.rules.dirtyAt = again
		c.env.wake(again)
	}
	f.addRules, f.removeRules = plan.add, append(plan.remove, plan.duplicates...)
	if len(plan.add) > 0 {
		f.removeRules = nil
		c.rules.dirty = true
	}
	for _, r := range f.addRules {
		b.Add(wire.AppendRule(b.Buffer(), rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, b.Seq(), r, c.env.config.Protocol))
	}
	for _, k := range f.removeRules {
		b.Add(wire.AppendRule(b.Buffer(), rtnl.RTM_DELRULE, rtnl.NLM_F_REQUEST, b.Seq(), k.Rule, k.Protocol))
	}
	for _, x := range plan.blocked {
		c.env.report(c.rules.refused(x.rule.Rule, "delete", reply{err: ErrForeign, text: fmt.Sprintf("the kernel would delete %v instead", x.other.Rule)}, c.env.clock, c.env.wake))
	}
	if b.Len() > 0 {
		c.env.rereads.rules.request()
	}
}

func (c *Core) commitRules(b Batch) {
	c.env.stats.RuleWrites += uint64(b.Len())
	c.rules.version++
	for i, r := range c.flight.addRules {
		a := replyOf(b.Err(i))
		c.env.report(c.rules.commitAdd(r, a, c.env.clock, c.env.wake))
		c.ruleWritten(r, "add", a.err)
	}
	for i, k := range c.flight.removeRules {
		a := replyOf(b.Err(i))
		c.env.report(c.rules.commitRemove(k, a, c.env.clock, c.env.wake))
		c.ruleWritten(k.Rule, "delete", a.err)
	}
}

// ruleWritten reports a repair, if it was one.
func (c *Core) ruleWritten(r wire.Rule, op string, err error) {
	if err != nil {
		return
	}
	if by, repair, contended := c.rules.repaired(r, c.env.clock); repair {
		c.env.repaired(r, op, ReasonRepair, by, contended)
	}
}

// planProbes sends what was noted. The kernel knows no entry for most.
func (c *Core) planProbes(b Batch) {
	keys := slices.SortedFunc(maps.Keys(c.nexthops.probes), func(a, b wire.NeighborKey) int {
		return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Addr.Compare(b.Addr))
	})
	for _, k := range keys[:min(len(keys), c.env.config.BatchMessages)] {
		b.Add(wire.AppendProbe(b.Buffer(), b.Seq(), c.nexthops.probes[k]))
		delete(c.nexthops.probes, k)
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
	c.env.clock = now
	report, repaired, contended := c.sysctls.commit(s, written, err, now, c.env.wake)
	if written {
		c.env.stats.OtherWrites++
	}
	c.env.report(report)
	if repaired {
		c.env.repaired(s, "set", ReasonRepair, origin{}, contended)
	}
}

// SysctlTouched notes that a program has written to a path below /proc/sys.
func (c *Core) SysctlTouched(path string) { c.sysctls.touchPath(path) }

// AdoptOnly takes the place of all steps in a dry run: groups are adopted, so that Diff
// knows them, and nothing is to be written.
func (c *Core) AdoptOnly(now time.Time) {
	c.env.clock = now
	c.env.retryAll, c.nexthops.toDelete = false, nil
	c.nexthops.planGroups(now)
	c.routes.settleGroups()
	c.routes.queue, c.routes.head, c.routes.handled = nil, 0, c.routes.queued
	c.routes.store.all(func(_ uint32, e *entry) { e.mark &^= markDirty })
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
	c.env.clock = now
	if c.nexthops.changed || c.contents.intern.changed {
		c.nexthops.changed, c.contents.intern.changed = false, false
		c.env.event(Event{Kind: EventNextHops})
	}
	c.routes.reportChanges()
	pending, due, next := c.env.rereads.state(now)
	if pending && !due {
		c.env.wake(next)
	}
	busy := c.learners.fresh || c.env.retryAll || len(c.nexthops.replacements) > 0 || len(c.routes.extras) > 0 || c.nexthops.urgentDue(now)
	quiet := c.env.config.DryRun || c.quiet(now)
	return Progress{due || busy || !quiet || c.routes.head < len(c.routes.queue), !pending && !busy && quiet, c.routes.queued, c.routes.handled}
}

// quiet reports whether nothing but what waits for time or events is left.
func (c *Core) quiet(now time.Time) bool {
	if c.addresses.pending(now) && !c.env.rereads.addresses.blocks() || c.neighbors.pending(now) && !c.neighborsBlocked() ||
		c.rules.dirty && !c.env.rereads.rules.blocks() || c.sysctls.pending() || len(c.nexthops.probes) > 0 {
		return false
	}
	if c.env.rereads.nextHops.blocks() {
		return true
	}
	for _, g := range c.nexthops.dirty {
		if g.wants > 0 && !c.nexthops.waiting(g, now) {
			return false
		}
	}
	return true
}

// Deadline returns when the next turn is due at the latest.
func (c *Core) Deadline() time.Time {
	at := c.compared
	if !c.env.tick.IsZero() && c.env.tick.Before(at) {
		at = c.env.tick
	}
	return c.auditor.deadline(at)
}

// retry tries again what failed and is due, or with all everything that failed.
func (c *Core) retry(now time.Time, all bool) {
	c.routes.retryRoutes(now, all)
	c.nexthops.retryObjects(now, all)
	c.addresses.retry(now, all, c.env.wake)
	c.neighbors.retry(now, all, c.env.wake)
	c.rules.retry(now, all, c.env.wake)
	c.sysctls.retry(now, all, c.env.wake)
}
