package fib

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
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
	w.reset()
	for i, op := range ops {
		a := o.addresses.want[op.key]
		a.IfIndex, a.Prefix = op.key.link, op.key.prefix
		values[i] = a
		typ, flags := uint16(unix.RTM_NEWADDR), uint16(unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = unix.RTM_DELADDR, unix.NLM_F_REQUEST
		}
		w.buf = appendAddress(w.buf, typ, flags, w.seq(), a, o.config.Protocol)
		w.n++
	}
	o.unlock()
	if len(ops) == 0 {
		return nil
	}
	lost, err := w.flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	defer o.unlock()
	for i, op := range ops {
		_, known := o.addresses.have[op.key]
		o.report(o.addresses.commit(op, w.reply(i), values[i], values[i], now, o.objects.wake))
		o.stats.OtherWrites++
		if w.reply(i).err != nil {
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
	w.reset()
	for i, op := range ops {
		n := o.neighbors.want[op.key]
		n.IfIndex, n.Addr, n.Proxy = op.key.link, op.key.addr, op.key.proxy
		values[i] = n
		typ, flags := uint16(unix.RTM_NEWNEIGH), uint16(unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
		if op.verb == verbDelete {
			typ, flags = unix.RTM_DELNEIGH, unix.NLM_F_REQUEST
		}
		w.buf = appendNeighbor(w.buf, typ, flags, w.seq(), n, o.config.Protocol)
		w.n++
	}
	o.unlock()
	if len(ops) == 0 {
		return nil
	}
	lost, err := w.flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	defer o.unlock()
	for i, op := range ops {
		o.report(o.neighbors.commit(op, w.reply(i), values[i], values[i], now, o.objects.wake))
		o.stats.OtherWrites++
		if w.reply(i).err != nil {
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
	w.reset()
	for _, r := range plan.add {
		w.buf = appendRule(w.buf, unix.RTM_NEWRULE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL, w.seq(), r, o.config.Protocol)
		w.n++
	}
	for _, k := range remove {
		w.buf = appendRule(w.buf, unix.RTM_DELRULE, unix.NLM_F_REQUEST, w.seq(), k.Rule, k.proto)
		w.n++
	}
	for _, b := range plan.blocked {
		o.report(o.rules.refused(b.rule.Rule, "delete", reply{err: ErrForeign, text: fmt.Sprintf("the kernel would delete %v instead", b.other.Rule)}, now, o.objects.wake))
	}
	if w.n > 0 {
		o.doubts.rules.raise()
	}
	o.unlock()
	if w.n == 0 {
		return nil
	}
	if _, err := w.flush(); err != nil {
		return err
	}
	o.lock()
	defer o.unlock()
	o.stats.RuleWrites += uint64(w.n)
	now = time.Now()
	for i, r := range plan.add {
		a := w.reply(i)
		o.report(o.rules.commitAdd(r, a, now, o.objects.wake))
		o.ruleWritten(r, "add", a.err, now)
	}
	for i, k := range remove {
		a := w.reply(i)
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
