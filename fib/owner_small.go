package fib

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// The low-rate objects: addresses, neighbours, rules.

func (o *owner) writeAddresses() error {
	o.lock()
	ops := o.addresses.plan(o.swept)
	values := make([]Address, len(ops))
	w := o.writer
	w.reset()
	for i, op := range ops {
		a := o.addresses.want[op.key]
		a.Link, a.Prefix = op.key.link, op.key.prefix
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
		e, repaired := o.addresses.commit(op, w.reply(i), values[i], values[i], now, o.objects.wake)
		o.stats.OtherWrites++
		o.report(e, repaired, op.verb.String(), values[i])
		if w.reply(i).err == nil {
			o.addressWritten(op, known)
		}
	}
	if lost {
		o.redo.addresses = true
	}
	return nil
}

// addressWritten does to the model what our own change of an address did.
func (o *owner) addressWritten(op smallOp[addressKey], known bool) {
	link, v4 := int32(op.key.link), op.key.prefix.Addr().Is4()
	gone := op.verb == verbDelete
	switch {
	case gone && v4:
		o.addrs4[link]--
	case !known && v4:
		o.addrs4[link]++
	}
	if gone {
		o.addressLost(link, op.key.prefix.Addr(), v4 && o.addrs4[link] <= 0)
	}
	o.retrySoon()
	o.event(Event{Kind: EventAddress, Link: o.links[link], Addr: op.key.prefix, Gone: gone})
}

func (o *owner) writeNeighbors() error {
	o.lock()
	ops := o.neighbors.plan(o.swept)
	values := make([]Neighbor, len(ops))
	w := o.writer
	w.reset()
	for i, op := range ops {
		n := o.neighbors.want[op.key]
		n.Link, n.Addr, n.Proxy = op.key.link, op.key.addr, op.key.proxy
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
		e, repaired := o.neighbors.commit(op, w.reply(i), values[i], values[i], now, o.objects.wake)
		o.stats.OtherWrites++
		o.report(e, repaired, op.verb.String(), values[i])
	}
	if lost {
		o.redo.neighbors = true
	}
	return nil
}

// writeRules adds what is missing, then removes what must not be there. The
// removal is planned anew after the additions, so that it knows their outcome.
func (o *owner) writeRules() error {
	for {
		o.lock()
		if !o.rules.dirty {
			o.unlock()
			return nil
		}
		foreign := o.rules.foreign
		plan := o.rules.plan(o.config.Protocol, o.swept)
		if len(plan.add) == 0 {
			o.rules.dirty, o.rules.foreign = false, false
		}
		o.unlock()
		if err := o.writeRulePlan(plan, foreign); err != nil || len(plan.add) == 0 {
			return err
		}
	}
}

func (o *owner) writeRulePlan(plan rulePlan, foreign bool) error {
	w := o.writer
	w.reset()
	if len(plan.add) > 0 {
		plan.remove = nil
	}
	for _, r := range plan.add {
		w.buf = appendRule(w.buf, unix.RTM_NEWRULE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL, w.seq(), r, o.config.Protocol)
		w.n++
	}
	for _, k := range plan.remove {
		w.buf = appendRule(w.buf, unix.RTM_DELRULE, unix.NLM_F_REQUEST, w.seq(), k.Rule, k.proto)
		w.n++
	}
	if w.n == 0 {
		return nil
	}
	lost, err := w.flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	defer o.unlock()
	o.stats.RuleWrites += uint64(w.n)
	for i, r := range plan.add {
		e := o.rules.commitAdd(r, o.config.Protocol, w.reply(i), now, o.objects.wake)
		o.report(e, foreign && w.reply(i).err == nil, "add", r)
		if errors.Is(w.reply(i).err, unix.EEXIST) {
			o.redo.rules = true // what else do we not know?
		}
	}
	for i, k := range plan.remove {
		o.report(o.rules.commitRemove(k, w.reply(i)), foreign, "delete", k.Rule)
	}
	if lost {
		o.redo.rules = true
	}
	return nil
}
