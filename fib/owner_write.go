package fib

import (
	"time"
)

func (o *owner) writeObjects() error {
	o.lock()
	busy := len(o.objects.dirty) > 0
	o.unlock()
	if busy {
		for _, plan := range []func(time.Time) []objectOp{o.planObjects, o.planGroups} {
			o.lock()
			ops := plan(time.Now())
			o.unlock()
			if err := o.write(ops); err != nil {
				return err
			}
		}
	}
	o.lock()
	o.settleGroups()
	o.unlock()
	return nil
}

func (o *owner) write(ops []objectOp) error {
	for len(ops) > 0 {
		n := min(len(ops), o.config.BatchMessages)
		w := o.writer
		w.reset()
		for i := range ops[:n] {
			w.buf = ops[i].append(w.buf, w.seq(), o.config.Protocol)
			w.n++
		}
		lost, err := w.flush()
		if err != nil {
			return err
		}
		now := time.Now()
		o.lock()
		for i := range ops[:n] {
			o.commitObject(&ops[i], w.reply(i), now)
		}
		if lost {
			o.redo.nextHops = true
		}
		o.unlock()
		ops = ops[n:]
	}
	return nil
}

func (op *objectOp) append(b []byte, seq uint32, proto uint8) []byte {
	switch {
	case op.del && op.into != nil:
		return appendDelNextHop(b, seq, op.into.id)
	case op.del:
		return appendDelNextHop(b, seq, op.object.id)
	case op.into != nil:
		return appendGroup(b, seq, op.into.id, proto, op.members, op.buckets)
	}
	return appendNextHop(b, seq, op.object.id, proto, op.object.key)
}

func (o *owner) writeRoutes() error {
	w := o.writer
	w.reset()
	o.lock()
	o.ops = o.planRoutes(o.ops[:0], o.config.BatchMessages)
	for i := range o.ops {
		w.buf = o.appendOp(w.buf, &o.ops[i], w.seq())
		w.n++
	}
	o.unlock()
	if len(o.ops) == 0 {
		return nil
	}
	lost, err := w.flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	for i := range o.ops {
		r := w.reply(i)
		o.commitRoute(&o.ops[i], r, lost && r.err == nil, now)
	}
	if lost {
		o.stats.Resyncs++
	}
	o.unlock()
	return nil
}
