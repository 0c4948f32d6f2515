package rib

import (
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// dump is the progress of a session through all that its group advertises: at first, and
// after a ROUTE-REFRESH.
type dump struct {
	families wire.FamilySet // still to be dumped, the one under way included
	next     destID         // where to go on, in the first of families
	refresh  bool           // the peer has seen all of it before
	enhanced bool           // send markers
}

type refresh struct{ wanted, enhanced bool }

// current returns the family under way.
func (d *dump) current() wire.Family {
	if d.families.Has(wire.IPv4Unicast) {
		return wire.IPv4Unicast
	}
	return wire.IPv6Unicast
}

// seen reports whether the peer may know a destination already, so that it must hear of
// a change. During the first dump that is what the dump has passed.
func (d *dump) seen(id destID) bool {
	fam := familyOf(id)
	switch {
	case d.refresh || !d.families.Has(fam):
		return true
	case fam != d.current():
		return false
	}
	return id < d.next
}

// fallBehind makes the session leave its group's chunks: what they say that was not sent
// yet becomes dirty.
func (o *Out) fallBehind() {
	g := o.g
	o.behind, o.dump = true, dump{}
	g.lagging++
	for tail := g.tail(); o.seq < tail; {
		c := g.chunk(o.seq)
		for _, m := range c.msgs[o.msg:] {
			if m.isFor(o.in.no) {
				o.remember(c.data[m.start:m.end])
			}
		}
		o.msg = 0
		o.seq++
		g.done(c)
	}
	o.counters.Lagged++
	if o.eor == eorPlaced {
		o.eorMark = o.todo.queued
	}
}

// remember marks dirty what one of our own messages names.
func (o *Out) remember(msg []byte) {
	t := o.t
	var u wire.Update
	opt := wire.Options{AS4: o.g.key.as4, IBGP: true, AddPath: o.g.key.addPath, ExtendedNextHop: true}
	_ = u.Parse(msg[wire.HeaderLen:], opt) // we wrote it
	for _, l := range [...]*wire.List{&u.Withdrawn, &u.MPUnreach, &u.NLRI, &u.MPReach} {
		for n := range l.All() {
			id := t.prefixes.get(n.Prefix)
			d := t.at(id)
			d.outMax = max(d.outMax, uint16(n.PathID))
			o.todo.put(t, id)
		}
	}
}

// startRefresh begins a dump that was asked for, unless one is under way.
func (o *Out) startRefresh() {
	if o.behind && o.dump.families != 0 {
		return
	}
	for f := range o.refreshes {
		r := o.refreshes[f]
		if !r.wanted {
			continue
		}
		o.refreshes[f] = refresh{}
		if !o.behind {
			o.fallBehind()
			o.counters.Lagged--
		}
		o.dump = dump{families: wire.Families(families[f]), refresh: true, enhanced: r.enhanced}
		if r.enhanced {
			o.mark(families[f], wire.RefreshBegin)
		}
		return
	}
}

// mark queues a ROUTE-REFRESH marker after what is being sent.
func (o *Out) mark(fam wire.Family, subtype uint8) {
	c := o.own
	if c == nil {
		c = o.t.newChunk(wire.HeaderLen + 4)
	}
	start := len(c.data)
	c.data = wire.RouteRefresh{Family: fam, Subtype: subtype}.Append(c.data)
	c.msgs = append(c.msgs, message{start: uint32(start), end: uint32(len(c.data)), kind: marker})
	if o.own == nil {
		o.msg = 0
	}
	o.own = c
}

// catchUp yields what the group advertises, where the session does not know it yet.
func (o *Out) catchUp(buf []byte) (n int, done bool) {
	if o.own == nil {
		if !o.g.empty() {
			o.g.produce()
		}
		if o.g.popped < o.waits {
			return 0, false
		}
		o.prepare()
	}
	if o.own == nil {
		if o.eorDue() {
			return 0, true
		}
		if o.todo.empty() && o.dump.families == 0 && o.g.empty() {
			o.behind, o.seq, o.msg = false, o.g.tail(), 0
			o.g.lagging--
			if o.eor == eorPlaced {
				o.eorMark = o.seq
			}
		}
		return 0, false
	}
	n = o.take(o.own, buf)
	if o.msg == len(o.own.msgs) {
		o.t.recycle(o.own)
		o.own, o.msg = nil, 0
	}
	return n, false
}

// prepare encodes the next chunk for this session alone.
func (o *Out) prepare() {
	t := o.t
	b := &t.batch
	for !o.todo.empty() && !b.full(t) {
		id := o.todo.pop()
		b.popped = append(b.popped, id)
		o.restate(id)
		b.octets++ // bounds the work, whatever it yields
	}
	ended := false
	if len(b.popped) == 0 && o.dump.families != 0 {
		ended = o.dumpSome()
	}
	if len(b.items) > 0 {
		o.own, o.msg = b.encode(t, o.g), 0
	}
	b.reset(t)
	if ended {
		fam := o.dump.current()
		if o.dump.enhanced {
			o.mark(fam, wire.RefreshEnd)
		}
		o.dump.families = o.dump.families.Without(fam)
		o.dump.next = 0
	}
}

// restate says what is advertised for a destination now: all of its paths, and
// withdrawals for the path identifiers that are not in use.
func (o *Out) restate(id destID) {
	t, g := o.t, o.g
	b := &t.batch
	top := uint16(0)
	if g.key.addPath.Has(familyOf(id)) {
		top = t.at(id).outMax
	}
	var used [4]uint64
	for at := g.head(id); at != 0; {
		a := g.adverts.at(at)
		at = a.next
		if a.src == o.in.no {
			continue
		}
		b.add(t, id, a.out, bucketKey{attr: a.attr, kind: announcement})
		if a.out < 256 {
			used[a.out>>6] |= 1 << (a.out & 63)
		}
	}
	low := min(top, 1) // 0 without ADD-PATH, else identifiers start at 1
	for out := low; out <= min(top, 255); out++ {
		if used[out>>6]&(1<<(out&63)) == 0 {
			b.add(t, id, out, bucketKey{kind: withdrawal})
		}
	}
	for out := max(low, 256); out <= top && out != 0; out++ {
		if !o.advertised(id, out) {
			b.add(t, id, out, bucketKey{kind: withdrawal})
		}
	}
}

func (o *Out) advertised(id destID, out uint16) bool {
	for at := o.g.head(id); at != 0; {
		a := o.g.adverts.at(at)
		if a.out == out && a.src != o.in.no {
			return true
		}
		at = a.next
	}
	return false
}

// dumpSome goes on with the dump and reports whether its family is done.
func (o *Out) dumpSome() (ended bool) {
	t, g := o.t, o.g
	b := &t.batch
	fam := familyIndex(o.dump.current())
	for !b.full(t) {
		id := g.nextHead(fam, o.dump.next)
		if id == 0 {
			return true
		}
		for at := g.head(id); at != 0; {
			a := g.adverts.at(at)
			at = a.next
			if a.src != o.in.no {
				b.add(t, id, a.out, bucketKey{attr: a.attr, kind: announcement})
			}
		}
		o.dump.next = id + 1
		b.octets++
	}
	return false
}

// eorStage is how far the End-of-RIB markers of a session are.
type eorStage uint8

const (
	eorSent   eorStage = iota
	eorFresh           // nothing was asked for yet
	eorWanted          // once the group has produced eorMark destinations
	eorPlaced          // once the session has passed eorMark: a chunk, or its own dirty set
)

// eorDue reports whether End-of-RIB comes next.
func (o *Out) eorDue() bool {
	if o.eor == eorSent || o.t.deferred || o.t.held {
		return false
	}
	if o.eor == eorFresh {
		o.eor, o.eorMark = eorWanted, o.g.queued
	}
	if o.eor == eorWanted {
		if o.g.popped < o.eorMark {
			return false
		}
		o.eor, o.eorMark = eorPlaced, o.g.tail()
		if o.behind {
			o.eorMark = o.todo.queued
		}
	}
	if o.behind {
		return o.dump.families == 0 && o.own == nil && o.todo.popped >= o.eorMark
	}
	return o.seq >= o.eorMark
}

// endOfRIB yields the markers.
func (o *Out) endOfRIB(buf []byte) (n int) {
	for _, fam := range o.g.key.families.Slice() {
		n += copy(buf[n:], wire.AppendEndOfRIB(nil, fam))
		o.counters.Updates++
	}
	o.eor = eorSent
	return n
}
