package fib

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// The low-rate objects: addresses, neighbours, rules.

func (o *owner) writeAddresses() error {
	o.lock()
	if o.doubts.addresses.holds() {
		o.unlock()
		return nil
	}
	ops := o.addresses.plan(o.swept, time.Now())
	values := make([]Address, len(ops))
	w := o.writer
	w.Reset()
	for i, op := range ops {
		a := o.addresses.want[op.key]
		a.IfIndex, a.Prefix = op.key.link, op.key.prefix
		values[i] = a
		typ, flags := uint16(rtnl.RTM_NEWADDR), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = rtnl.RTM_DELADDR, rtnl.NLM_F_REQUEST
		}
		w.Add(appendAddress(w.Buffer(), typ, flags, w.Seq(), a, o.config.Protocol))
	}
	o.unlock()
	if len(ops) == 0 {
		return nil
	}
	lost, err := w.Flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	defer o.unlock()
	for i, op := range ops {
		_, known := o.addresses.have[op.key]
		o.report(o.addresses.commit(op, replyOf(w.Err(i)), values[i], values[i], now, o.objects.wake))
		o.stats.OtherWrites++
		if replyOf(w.Err(i)).err != nil {
			continue
		}
		if by, repair, contended := o.addresses.repaired(op.key, now); repair {
			o.repaired(values[i], op.verb.String(), "repair", by, contended)
		}
		if gone := op.verb == verbDelete; known == gone {
			o.addressChanged(op.key, values[i].Scope, true, gone)
		}
	}
	if lost {
		o.doubts.addresses.raise()
	}
	return nil
}

func (c *core) neighborsHold() bool { return c.doubts.neighbors.holds() || c.doubts.proxies.holds() }

func (o *owner) writeNeighbors() error {
	o.lock()
	if o.neighborsHold() {
		o.unlock()
		return nil
	}
	ops := o.neighbors.plan(o.swept, time.Now())
	values := make([]Neighbor, len(ops))
	w := o.writer
	w.Reset()
	for i, op := range ops {
		n := o.neighbors.want[op.key]
		n.IfIndex, n.Addr, n.Proxy = op.key.link, op.key.addr, op.key.proxy
		values[i] = n
		typ, flags := uint16(rtnl.RTM_NEWNEIGH), uint16(rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = rtnl.RTM_DELNEIGH, rtnl.NLM_F_REQUEST
		}
		w.Add(appendNeighbor(w.Buffer(), typ, flags, w.Seq(), n, o.config.Protocol))
	}
	o.unlock()
	if len(ops) == 0 {
		return nil
	}
	lost, err := w.Flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	defer o.unlock()
	for i, op := range ops {
		o.report(o.neighbors.commit(op, replyOf(w.Err(i)), values[i], values[i], now, o.objects.wake))
		o.stats.OtherWrites++
		if replyOf(w.Err(i)).err != nil {
			continue
		}
		if by, repair, contended := o.neighbors.repaired(op.key, now); repair {
			o.repaired(values[i], op.verb.String(), "repair", by, contended)
		}
	}
	if lost {
		o.doubts.neighbors.raise()
		o.doubts.proxies.raise()
	}
	return nil
}

// writeRules adds what is missing, or else removes what must not be there. After either
// the rules are counted anew: what is removed is removed on the knowledge that all that
// is desired is there.
func (o *owner) writeRules() error {
	now := time.Now()
	o.lock()
	if !o.rules.dirty || o.doubts.rules.holds() {
		o.unlock()
		return nil
	}
	o.rules.dirty = false
	plan, again := o.rules.plan(o.config.Protocol, o.swept, !o.doubts.rules.raised, now)
	if !again.IsZero() {
		o.rules.dirtyAt = again
		o.objects.wake(again)
	}
	remove := append(plan.remove, plan.duplicates...)
	if len(plan.add) > 0 {
		remove = nil
		o.rules.dirty = true
	}
	w := o.writer
	w.Reset()
	for _, r := range plan.add {
		w.Add(appendRule(w.Buffer(), rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, w.Seq(), r, o.config.Protocol))
	}
	for _, k := range remove {
		w.Add(appendRule(w.Buffer(), rtnl.RTM_DELRULE, rtnl.NLM_F_REQUEST, w.Seq(), k.Rule, k.proto))
	}
	for _, b := range plan.blocked {
		o.report(o.rules.refused(b.rule.Rule, "delete", reply{err: ErrForeign, text: fmt.Sprintf("the kernel would delete %v instead", b.other.Rule)}, now, o.objects.wake))
	}
	if w.Len() > 0 {
		o.doubts.rules.raise()
	}
	o.unlock()
	if w.Len() == 0 {
		return nil
	}
	if _, err := w.Flush(); err != nil {
		return err
	}
	o.lock()
	defer o.unlock()
	o.stats.RuleWrites += uint64(w.Len())
	now = time.Now()
	for i, r := range plan.add {
		a := replyOf(w.Err(i))
		o.report(o.rules.commitAdd(r, a, now, o.objects.wake))
		o.ruleWritten(r, "add", a.err, now)
	}
	for i, k := range remove {
		a := replyOf(w.Err(i))
		o.report(o.rules.commitRemove(k, a, now, o.objects.wake))
		o.ruleWritten(k.Rule, "delete", a.err, now)
	}
	return nil
}

// ruleWritten reports a repair, if it was one.
func (o *owner) ruleWritten(r Rule, op string, err error, now time.Time) {
	if err != nil {
		return
	}
	if by, repair, contended := o.rules.repaired(r, now); repair {
		o.repaired(r, op, "repair", by, contended)
	}
}
