package rib

import (
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// dump is the progress of a session through all that its group advertises: at first, and
// after a ROUTE-REFRESH.
type dump struct {
	families wire.FamilySet // still to be dumped, the one under way included
	next     destID         // where to go on, in the first of families
	out      uint16         // at which path identifier of next, if it is in a table
	refresh  bool           // the peer has seen all of it before
	enhanced bool           // send markers
	list     []destID       // if listed is set, what is still to be looked at of the one family, in order
	listed   bool           // only with refresh
}

type refresh struct{ wanted, enhanced bool }

// current returns the family under way.
func (d *dump) current() wire.Family { return firstOf(d.families) }

// firstOf returns which of some families is sent first: route target constraint, since the peer may send no EVPN routes
// before it has that.
func firstOf(some wire.FamilySet) wire.Family {
	if some.Has(wire.RTConstrain) {
		return wire.RTConstrain
	}
	for _, f := range families {
		if some.Has(f) {
			return f
		}
	}
	return wire.Family{}
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
	return id < d.next || id == d.next && d.out > 0
}

// fallBehind makes the session leave its group's chunks: what they say that was not sent
// yet becomes dirty.
func (o *Out) fallBehind() {
	g := o.g
	o.behind, o.dump = true, dump{}
	g.lagging++
	for tail := g.tail(); o.seq < tail; {
		c := g.chunk(o.seq)
		for i := o.msg; i < len(c.msgs); i++ {
			if m := &c.msgs[i]; o.takes(c, m) {
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
			o.todo.putPath(t, t.prefixes.get(n.Prefix), uint16(n.PathID))
		}
		var n name
		for k := range l.Keyed() {
			n.setKeyed(&k)
			o.todo.putPath(t, t.prefixes.getName(&n), uint16(n.PathID))
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
		// RFC 7313, Section 4: a speaker with the Graceful Restart Capability "MUST NOT send a BoRR for an <AFI,
		// SAFI> to a neighbor before it sends the EoR for the <AFI, SAFI>": the neighbor would ignore it.
		if !r.wanted || r.enhanced && o.unmarked.Has(families[f]) {
			continue
		}
		o.refreshes[f] = refresh{}
		if !o.behind {
			o.fallBehind()
			o.counters.Lagged--
		}
		o.dump = dump{families: wire.Families(families[f]), refresh: true, enhanced: r.enhanced}
		if f == evpnFamily && o.g.constrained {
			o.dump.list, o.dump.listed = o.g.between(&constraint{}, o.constraint.want)
		}
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
			o.todo.shrink()
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
		id := o.todo.oldest()
		if some := o.dirtyPaths(id); some == nil {
			o.restate(id)
		} else if !o.restatePaths(id, some) {
			break
		}
		b.popped = append(b.popped, o.todo.pop())
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
		o.dump.next, o.dump.list, o.dump.listed = 0, nil, false
		o.endConstraint()
	}
}

// dirtyPaths returns which paths of a dirty destination are to be restated one by one, nil if the
// destination is to be restated as a whole.
func (o *Out) dirtyPaths(id destID) *outSet {
	if !o.g.key.addPath.Has(familyOf(id)) {
		return nil
	}
	return o.todo.some(o.t, id)
}

// restate says what is advertised for a destination now: all of its paths, and
// withdrawals for the path identifiers that are not in use.
func (o *Out) restate(id destID) {
	first, last := uint16(0), uint16(0) // without ADD-PATH
	if o.g.key.addPath.Has(familyOf(id)) {
		first, last = 1, o.t.at(id).outMax // listMax at most
	}
	var used uint64
	for a := range o.g.adverts.of(id) {
		if a.src != o.in.no && o.wants(id, a.attr) {
			o.t.batch.add(o.t, id, a.out, bucketKey{attr: a.attr, kind: announcement})
			used |= 1 << (a.out - first)
		}
	}
	for out := first; out <= last; out++ {
		if used&(1<<(out-first)) == 0 {
			o.t.batch.add(o.t, id, out, bucketKey{kind: withdrawal})
		}
	}
}

// restatePaths is restate for some paths of a destination. It reports false if the batch is full
// before it is done.
func (o *Out) restatePaths(id destID, some *outSet) bool {
	b := &o.t.batch
	for !b.full(o.t) {
		out := some.pop()
		if out == 0 {
			return true
		}
		if a := o.g.adverts.get(id, out); a.attr != 0 && a.src != o.in.no && o.wants(id, a.attr) {
			b.add(o.t, id, out, bucketKey{attr: a.attr, kind: announcement})
		} else {
			b.add(o.t, id, out, bucketKey{kind: withdrawal})
		}
	}
	return false
}

// dumpSome goes on with the dump and reports whether its family is done.
func (o *Out) dumpSome() (ended bool) {
	t := o.t
	b := &t.batch
	fam := familyIndex(o.dump.current())
	for !b.full(t) {
		id := o.dumpNext(fam)
		if id == 0 {
			return true
		}
		if !o.dumpPrefix(id) {
			return false
		}
		o.dump.next, o.dump.out = id+1, 0
		b.octets++
	}
	return false
}

// dumpNext returns the destination to go on with, 0 at the end.
func (o *Out) dumpNext(fam int) destID {
	d := &o.dump
	if !d.listed {
		return o.g.adverts.next(fam, d.next)
	}
	for len(d.list) > 0 && d.list[0] < d.next {
		d.list = d.list[1:]
	}
	if len(d.list) == 0 {
		return 0
	}
	return d.list[0]
}

// dumpPrefix goes on with one destination, and reports whether it is done.
func (o *Out) dumpPrefix(id destID) bool {
	t, b := o.t, &o.t.batch
	say := func(a advert) {
		switch {
		case a.src == o.in.no:
		case o.constraint.next != nil:
			o.dumpDifference(id, a)
		case o.wants(id, a.attr):
			b.add(t, id, a.out, bucketKey{attr: a.attr, kind: announcement})
		}
	}
	table := o.g.adverts.tables[id]
	if table == nil {
		for a := range o.g.adverts.of(id) {
			say(a)
		}
		return true
	}
	if o.dump.next != id {
		o.dump.next, o.dump.out = id, 0
	}
	for ; int(o.dump.out) < len(table.byOut); o.dump.out++ {
		if b.full(t) {
			return false
		}
		if a := table.byOut[o.dump.out]; a.attr != 0 {
			say(a)
		}
		b.octets++
	}
	return true
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
	if o.eor == eorSent || o.marked() == 0 {
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
	for _, fam := range o.marked().Slice() {
		o.unmarked = o.unmarked.Without(fam)
		n += copy(buf[n:], wire.AppendEndOfRIB(nil, fam))
		o.counters.Updates++
	}
	o.eor = eorSent
	return n
}
