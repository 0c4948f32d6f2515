package vxlan

import (
	"errors"
	"slices"
)

// reader has what a watcher has not yet returned: of each entry whether, not what; the event is
// made when it is taken. So what it costs is bounded by the entries that there are and those
// that were returned and are gone. FDB.mu guards it.
type reader struct {
	core        *core
	wake        func()                // there may be something to take; must not block
	queue       []entryKey            // those of dirty, oldest first; others are passed over
	dirty       map[entryKey]struct{} // with a status that was not returned
	seen        map[entryKey]uint64   // those of which an event was returned: repairs until then
	ended       bool                  // nothing will be added
	differences []Event               // that the audit has found, oldest first
}

// newReader returns a reader that begins with what there is. The zero key ends that.
func newReader(c *core, wake func()) *reader {
	r := &reader{core: c, wake: wake, dirty: map[entryKey]struct{}{}, seen: map[entryKey]uint64{}}
	for _, d := range c.devices {
		for k := range d.keys() {
			r.mark(k)
		}
	}
	r.mark(entryKey{})
	c.readers = append(c.readers, r)
	return r
}

// mark notes that the status of an entry may have changed.
func (c *core) mark(k entryKey) {
	for _, r := range c.readers {
		r.mark(k)
	}
}

func (r *reader) mark(k entryKey) {
	_, gone := r.core.event(k)
	if _, seen := r.seen[k]; gone && !seen { // its reader need not know that it ever was
		delete(r.dirty, k)
		r.compact()
		return
	}
	if _, ok := r.dirty[k]; !ok {
		r.dirty[k] = struct{}{}
		r.queue = append(r.queue, k)
	}
	r.wake()
}

// compact drops from the queue what is passed over, when that is the most of it.
func (r *reader) compact() {
	if len(r.queue) > 2*len(r.dirty)+64 {
		r.queue = slices.DeleteFunc(r.queue, func(k entryKey) bool { _, ok := r.dirty[k]; return !ok })
	}
}

// take fills buf with as many events as it has room for.
func (r *reader) take(buf []Event) (n int) {
	n = copy(buf, r.differences)
	r.differences = r.differences[n:]
	for n < len(buf) && len(r.queue) > 0 {
		k := r.queue[0]
		r.queue = r.queue[1:]
		if _, ok := r.dirty[k]; !ok {
			continue
		}
		delete(r.dirty, k)
		e, gone := r.core.event(k)
		before, seen := r.seen[k]
		switch {
		case gone && !seen:
			continue
		case gone:
			delete(r.seen, k)
		case e.Kind != EventSynced:
			r.seen[k] = e.Repairs
		}
		if before <= e.Repairs { // otherwise it was gone meanwhile
			e.Repairs -= before
		}
		buf[n] = e
		n++
	}
	return n
}

// pending reports whether take may return something.
func (r *reader) pending() bool { return len(r.dirty) > 0 || len(r.differences) > 0 }

// close ends the reader: nothing will be added.
func (r *reader) close() {
	r.ended = true
	r.wake()
}

// states are those of entries by what is to be done about them.
var states = [...]State{opNone: StateRemoved, opKeep: StateInstalled, opAdd: StatePending, opReplace: StatePending, opDelete: StateStale, opBlocked: StateForeign}

// event returns the status of an entry now, or of a table. gone reports that there is nothing to
// say, to a reader that was not told otherwise.
func (c *core) event(k entryKey) (e Event, gone bool) {
	d := c.devices[k.link]
	switch {
	case k == entryKey{}:
		return Event{Kind: EventSynced}, false
	case k.whole():
		e = Event{Kind: EventTable, Entry: Entry{IfIndex: k.link}}
		if d != nil {
			e.Err = d.err
		}
		return e, e.Err == nil
	}
	e = Event{Kind: EventEntry, Entry: k.entry(), State: StateRemoved}
	if d == nil {
		return e, true
	}
	o, entry := d.op(k)
	if o == opNone {
		return e, true
	}
	e.Entry, e.State = entry, states[o]
	if r := d.records[k]; r != nil {
		e.Repairs, e.Contended, e.Err = r.repairs, r.contended, r.err
		if e.State == StatePending && r.err != nil {
			e.State = StateFailed
			if errors.Is(r.err, ErrForeign) {
				e.State = StateForeign
			}
		}
	}
	return e, false
}

// entry returns what is known of an entry that is gone.
func (k entryKey) entry() Entry {
	e := Entry{IfIndex: k.link, Table: k.table, MAC: k.mac}
	if k.table == TableNeighbors {
		e.Addr = k.addr
	} else {
		e.VTEP = k.addr
	}
	return e
}
