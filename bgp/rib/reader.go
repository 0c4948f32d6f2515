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
type dirty struct {
	bits   [2][]uint64
	queue  []destID
	head   int
	queued uint64 // how many were ever put in
	popped uint64 // how many were ever taken out
}

func bitOf(id destID) (family int, word int, mask uint64) {
	i := id &^ v6
	return int(id / v6 & 1), int(i >> 6), 1 << (i & 63)
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

// pop takes the oldest destination out. The caller unpins it when done with it.
func (d *dirty) pop() destID {
	id := d.queue[d.head]
	d.head++
	d.popped++
	f, w, m := bitOf(id)
	d.bits[f][w] &^= m
	if d.head == len(d.queue) {
		d.reset()
	}
	return id
}

// reset forgets the room of an empty queue that was large once.
func (d *dirty) reset() {
	if cap(d.queue) > 4096 {
		d.queue, d.bits = nil, [2][]uint64{}
	}
	d.queue, d.head = d.queue[:0], 0
}

// clear takes everything out.
func (d *dirty) clear(t *Table) {
	for !d.empty() {
		t.unpin(d.pop())
	}
}

// reader is what export groups and watchers have in common: they hear of changes.
type reader struct {
	dirty
	interest level
	families [2]bool // IPv4, IPv6
	wake     func()  // the set is no longer empty
}

// touch tells the readers of a change.
func (t *Table) touch(id destID, l level) {
	for _, r := range t.readers {
		if l <= r.interest && r.families[id/v6&1] {
			t.tell(r, id)
		}
	}
}

func (t *Table) tell(r *reader, id destID) {
	was := r.empty()
	if r.put(t, id) && was {
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
	if d.first == 0 && d.pins == 0 {
		t.prefixes.drop(id)
	}
}
