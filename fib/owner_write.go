package fib

import (
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

func (o *owner) writeObjects() error {
	o.lock()
	busy := len(o.objects.dirty) > 0 && !o.doubts.nextHops.holds()
	o.unlock()
	if busy {
		for _, plan := range []func(time.Time) []objectOp{o.planObjects, o.planGroups} {
			o.lock()
			ops := plan(time.Now())
			o.unlock()
			if _, err := o.write(ops); err != nil {
				return err
			}
		}
	}
	o.lock()
	o.settleGroups()
	o.unlock()
	return nil
}

// write sends next-hop messages. ok is false if the kernel refused one.
func (o *owner) write(ops []objectOp) (ok bool, err error) {
	ok = true
	for len(ops) > 0 {
		n := min(len(ops), o.config.BatchMessages)
		w := o.writer
		w.Reset()
		for i := range ops[:n] {
			w.Add(ops[i].append(w.Buffer(), w.Seq(), o.config.Protocol))
		}
		lost, err := w.Flush()
		if err != nil {
			return false, err
		}
		now := time.Now()
		o.lock()
		for i := range ops[:n] {
			ok = o.commitObject(&ops[i], replyOf(w.Err(i)), now) && ok
		}
		if lost {
			o.doubts.nextHops.raise()
			ok = false
		}
		o.unlock()
		ops = ops[n:]
	}
	return ok, nil
}

func (op *objectOp) append(b []byte, seq uint32, proto uint8) []byte {
	// What is there must not be made a second time, and what is gone not made anew: the
	// groups and routes that had it do not.
	flags := uint16(rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL)
	if op.replace {
		flags = rtnl.NLM_F_REPLACE
	}
	switch id := uint32(op.key()); {
	case op.del:
		return appendDelNextHop(b, seq, id)
	case op.into != nil:
		return appendGroup(b, flags, seq, id, proto, &op.shape)
	default:
		return appendNextHop(b, flags, seq, id, proto, op.object.key)
	}
}

func (o *owner) writeRoutes() error {
	w := o.writer
	w.Reset()
	o.lock()
	o.ops = o.planRoutes(o.ops[:0], o.config.BatchMessages, time.Now())
	for i := range o.ops {
		w.Add(o.appendOp(w.Buffer(), &o.ops[i], w.Seq()))
	}
	o.unlock()
	if len(o.ops) == 0 {
		return nil
	}
	lost, err := w.Flush()
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	for i := range o.ops {
		r := replyOf(w.Err(i))
		o.commitRoute(&o.ops[i], r, now)
	}
	if lost {
		o.stats.Resyncs++
	}
	o.unlock()
	return nil
}
