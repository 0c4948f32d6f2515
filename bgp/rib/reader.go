package rib

// level says how deep a change of a destination goes; a reader that is interested
// up to a level hears of all changes up to it.
type level uint8

const (
	levelBest  level = iota // the best path changed
	levelMulti              // the multipath set changed
	levelAny                // some path changed
)

// dirty is a set of destinations in order of arrival: one bit for each destination
// and a queue of those whose bit is set. It keeps them alive: each member pins its
// destination. So a reader that never reads costs at most four octets and a bit for
// each prefix.
//
// Of a destination that has an index of its paths, single paths may be dirty: see putPath.
type dirty struct {
	bits   [nFamilies][]uint64 // by family: a bit a destination
	queue  []destID            // those still to be taken out are queue[head:]
	outs   map[destID]*outSet  // of destinations in the queue of which only some paths are dirty
	head   int                 // index of the first destination of queue that is still to be taken out
	queued uint64              // how many were ever put in
	popped uint64              // how many were ever taken out
}

func bitOf(id destID) (family int, word int, mask uint64) {
	i := id & destMask
	return familyAt(id), int(i >> 6), 1 << (i & 63)
}

func (d *dirty) empty() bool { return d.head == len(d.queue) }

// put adds a destination and reports whether it was not there.
func (d *dirty) put(t *Table, id destID) bool {
	f, w, m := bitOf(id)
	if w >= len(d.bits[f]) {
		d.bits[f] = append(d.bits[f], make([]uint64, w+1-len(d.bits[f])+w/4)...)
	}
	if d.bits[f][w]&m != 0 {
		return false
	}
	d.bits[f][w] |= m
	t.at(id).pins++
	d.queue = append(d.queue, id)
	d.queued++
	return true
}

// putAll is put, also for a destination of which only some paths are dirty: now all are.
func (d *dirty) putAll(t *Table, id destID) bool {
	delete(d.outs, id)
	return d.put(t, id)
}

// putPath adds a path of a destination, by its identifier for sending, and reports whether
// nothing of the destination was dirty. With a destination that has a list all of its paths
// are added, as they are few. For those of an index this costs a bit for each path that the
// destination has.
func (d *dirty) putPath(t *Table, id destID, out uint16) bool {
	e := t.at(id)
	added := d.put(t, id)
	some := d.outs[id]
	switch {
	case some == nil && !added && out <= e.outMax, // all are dirty
		some == nil && !e.indexed && out <= e.outMax:
		return added
	case some == nil:
		some = &outSet{}
		if !added { // a destination that was forgotten and is back: nobody has seen to out
			some.addUpTo(e.outMax)
		}
		if d.outs == nil {
			d.outs = map[destID]*outSet{}
		}
		d.outs[id] = some
	}
	some.add(out)
	return added
}

// some returns the identifiers of the paths of a destination in the set that are dirty, or nil if
// that are all, and they are few.
func (d *dirty) some(t *Table, id destID) *outSet {
	some, e := d.outs[id], t.at(id)
	if some == nil && e.indexed {
		some = &outSet{}
		some.addUpTo(e.outMax)
		if d.outs == nil {
			d.outs = map[destID]*outSet{}
		}
		d.outs[id] = some
	}
	return some
}

// oldest returns the destination that pop would take out.
func (d *dirty) oldest() destID { return d.queue[d.head] }

// pop takes the oldest destination out. The caller unpins it when done with it.
func (d *dirty) pop() destID {
	id := d.queue[d.head]
	d.head++
	d.popped++
	f, w, m := bitOf(id)
	d.bits[f][w] &^= m
	if len(d.outs) > 0 {
		delete(d.outs, id)
	}
	if d.head == len(d.queue) {
		d.reset()
	}
	return id
}

// reset forgets the room of an empty queue that was large once.
func (d *dirty) reset() {
	if cap(d.queue) > 4096 {
		d.queue, d.bits, d.outs = nil, [nFamilies][]uint64{}, nil
	}
	d.queue, d.head = d.queue[:0], 0
}

// shrink gives the room of an empty set back, which is a bit for each destination that there is.
func (d *dirty) shrink() { d.queue, d.head, d.bits, d.outs = nil, 0, [nFamilies][]uint64{}, nil }

// clear takes everything out.
func (d *dirty) clear(t *Table) {
	for !d.empty() {
		t.unpin(d.pop())
	}
}

// reader is what export groups and watchers have in common: they hear of changes.
type reader struct {
	dirty
	interest [nFamilies]level // by family: changes that reach deeper are not passed on
	families [nFamilies]bool  // that it hears of
	single   [nFamilies]bool  // families in which each path is looked at by itself, whatever the others are
	wake     func()           // the set is no longer empty
	wakeFor  func(destID)     // if not nil, called in the place of wake when a destination has changed, in the set or not
}

// touch marks a destination dirty for each reader that is interested in such a change of a path.
func (t *Table) touch(id destID, l level, out uint16) {
	f := familyAt(id)
	for _, r := range t.readers {
		if l <= r.interest[f] && r.families[f] {
			t.tell(r, id, out)
		}
	}
}

// touchWatchers is touch for a change that no peer is sent.
func (t *Table) touchWatchers(id destID, l level) {
	f := familyAt(id)
	for _, w := range t.watchers {
		if r := &w.reader; l <= r.interest[f] && r.families[f] {
			t.tell(r, id, 0)
		}
	}
}

// touchAll is touch for all paths of a destination: any of them may have changed.
func (t *Table) touchAll(id destID) {
	for _, r := range t.readers {
		if !r.families[familyAt(id)] {
			continue
		}
		was := r.empty()
		r.woken(id, r.putAll(t, id) && was)
	}
}

// tell is touch for one reader.
func (t *Table) tell(r *reader, id destID, out uint16) {
	was, added := r.empty(), false
	if r.single[familyAt(id)] {
		added = r.putPath(t, id, out)
	} else {
		added = r.put(t, id)
	}
	r.woken(id, added && was)
}

// woken notifies a reader of a destination that is dirty; first says that the set was empty.
func (r *reader) woken(id destID, first bool) {
	switch {
	case r.wakeFor != nil:
		r.wakeFor(id)
	case first:
		r.wake()
	}
}

// unpin gives up one claim on a destination.
func (t *Table) unpin(id destID) {
	d := t.at(id)
	d.pins--
	t.settle(id, d)
}

// settle drops a destination that nothing refers to any more.
func (t *Table) settle(id destID, d *dest) {
	if d.pins != 0 || t.best(d) != 0 {
		return
	}
	if d.indexed {
		t.dropIndex(d)
	}
	t.prefixes.drop(id)
}
