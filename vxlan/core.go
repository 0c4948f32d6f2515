package vxlan

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// core decides what is written when, and knows what has come of it. It does no I/O: FDB says
// what is desired, and the owner what the kernel says and the time. FDB.mu guards it.
type core struct {
	devices map[int]*device       // by interface index
	brakes  brake.Table[entryKey] // of repairs, and of attempts that the kernel refused
	readers []*reader             // of the watchers
	auditor auditor
	stats   Stats
	swept   bool                     // what an earlier process left, and nobody wants, may go
	aliases map[int]int              // indexes of devices that are gone, and of those of the same name since
	ports   map[int]map[int]struct{} // by bridge: which devices are its ports
}

func newCore(config *Config) core {
	return core{swept: !config.DeferSweep, aliases: make(map[int]int), ports: make(map[int]map[int]struct{}), auditor: auditor{round: config.AuditRound}, devices: make(map[int]*device), brakes: brake.Table[entryKey]{}}
}

// entryKey is what one entry of a device is about: a MAC in its table or the bridge's, a destination of the
// flood list, or a neighbour's address. With nothing but link it stands for the device's tables as a whole.
type entryKey struct {
	link  int
	table Table
	mac   MAC
	addr  netip.Addr // of the flood list and of neighbours only
}

func keyOf(e Entry) entryKey {
	switch {
	case e.Table == TableNeighbors:
		return entryKey{link: e.IfIndex, table: e.Table, addr: e.Addr}
	case e.Table == TableDevice && e.MAC.IsZero():
		return entryKey{link: e.IfIndex, addr: e.VTEP}
	}
	return entryKey{link: e.IfIndex, table: e.Table, mac: e.MAC}
}

// whole reports whether k stands for the tables of a device.
func (k entryKey) whole() bool { return k == entryKey{link: k.link} }

// device is the state of one interface: a VXLAN device, or one that has neighbours.
type device struct {
	ifindex    int
	want       table
	have       table // what the kernel has, as far as we know
	what       reading
	read       bool                  // have has been read from the kernel
	underWay   bool                  // it is being read for a comparison: link may be out of date by then
	committed  bool                  // Flush or Reconcile was called: what is desired may be written
	dirty      map[entryKey]struct{} // changed since the last Flush
	released   map[entryKey]struct{} // deleted by name before the sweep
	records    map[entryKey]*record
	err        error     // why the tables could not be read; nil: they could
	compared   time.Time // when the last comparison began
	due        time.Time // when the next one is, because of a notification; zero: there was none
	asked      time.Time // when a notification, or a difference, has made one necessary last
	look       bool      // due is only to see whether the interface is another's port, or up, or gone
	link       found     // as it was read last; index 0: never
	flaps      brake.Brake
	suspicions suspicions
}

// record is what there is to say about an entry beside the tables. Most have none.
type record struct {
	err       error  // why it could not be written
	lost      bool   // another program has removed or changed it
	repairs   uint64 // how often it was written again then
	contended bool   // repairs are delayed, since they come again and again
}

// settle lies between a notification and the comparison that it makes necessary, so that a burst
// of them costs one. It is well under the 100 ms in which foreign changes are to be repaired.
const settle = 20 * time.Millisecond

// on returns the state of a device, making it.
func (c *core) on(ifindex int) *device {
	d := c.devices[ifindex]
	if d == nil {
		d = &device{ifindex: ifindex, want: newTable(), have: newTable(), dirty: make(map[entryKey]struct{}),
			released: make(map[entryKey]struct{}), records: make(map[entryKey]*record)}
		c.devices[ifindex] = d
	}
	return d
}

// forwards and resolves return the state of a device of which more than before may have to be read.
func (c *core) forwards(ifindex int) *device {
	d := c.on(ifindex)
	d.read = d.read && d.what.forwards
	d.what.forwards = true
	return d
}

func (c *core) resolves(ifindex int) *device {
	d := c.on(ifindex)
	d.read = d.read && d.what.resolves
	d.what.resolves = true
	return d
}

// commit returns all devices, in order: what is desired on them may be written from now on.
func (c *core) commit() []int {
	for _, d := range c.devices {
		d.committed = true
	}
	return slices.Sorted(maps.Keys(c.devices))
}

// changedSince returns the writes that a device needs because of what has changed since the last call, in order.
func (c *core) changedSince(d *device) []write {
	writes := make([]write, 0, len(d.dirty))
	for k := range d.dirty {
		if o, e := d.op(k); o != opNone && o != opKeep && c.may(d, o, k) {
			writes = append(writes, d.write(o, e))
		}
	}
	clear(d.dirty)
	slices.SortFunc(writes, compare)
	return writes
}

// may reports whether o may be carried out: before the sweep, only what was deleted by name goes.
func (c *core) may(d *device, o op, k entryKey) bool {
	_, released := d.released[k]
	return c.swept || o != opDelete || released
}

// compare takes what the kernel has, in a dump that began at begun, and returns the writes that
// make it what is desired; with repair those only that are not delayed.
func (c *core) compare(d *device, s snapshot, repair bool, begun time.Time) ([]write, Result) {
	before := *d
	c.join(d, &s.link, begun)
	d.have = c.merge(d, &s)
	d.underWay, d.read, d.compared = false, s.reading == d.what, begun // more than was read may be desired since
	if d.asked.Before(begun) {                                         // otherwise the kernel has told something since, which may not have been read
		d.due = time.Time{}
	}
	c.failure(d, nil)
	clear(d.dirty)
	clear(d.suspicions.of)
	writes, r := diff(d.ifindex, &d.want, &d.have)
	writes = slices.DeleteFunc(writes, func(w write) bool { return !c.may(d, w.op, keyOf(w.Entry)) })
	maps.DeleteFunc(d.released, func(k entryKey, _ struct{}) bool { o, _ := d.op(k); return o != opDelete })
	for k, rec := range d.records {
		if o, _ := d.op(k); o == opNone || o == opKeep && (rec.err != nil || rec.lost) { // others have done it
			rec.err, rec.lost = nil, false
			c.changed(d, k)
		}
	}
	for i, w := range writes {
		if o, _ := before.op(keyOf(w.Entry)); o == opKeep {
			d.record(keyOf(w.Entry)).lost = true
		}
		writes[i] = d.write(w.op, w.Entry)
	}
	if len(c.readers) > 0 {
		c.markChanges(&before, d)
		c.markChanges(d, &before)
	}
	if repair {
		writes = slices.DeleteFunc(writes, func(w write) bool { return !c.brakes[keyOf(w.Entry)].Ready(begun) })
	}
	return writes, r
}

// markChanges marks the entries of a table about which the other makes another decision.
func (c *core) markChanges(d, other *device) {
	for k := range d.keys() {
		one, _ := d.op(k)
		if two, _ := other.op(k); one != two {
			c.mark(k)
		}
	}
}

// written notes that w has been carried out, and with repair, that it had to be.
func (c *core) written(d *device, w write, repair bool, now time.Time) {
	d.have.apply(w)
	k := keyOf(w.Entry)
	delete(d.released, k)
	delete(d.suspicions.of, k)
	contended := repair && c.brakes.Of(k).Repaired(now)
	if rec := d.records[k]; rec != nil {
		if w.repair { // rec.lost may be gone: the kernel tells of w before its answer is read
			rec.repairs++
		}
		rec.err, rec.lost = nil, false
		rec.contended = rec.contended || contended
	}
	c.changed(d, k)
}

// write is the change of an entry.
func (d *device) write(o op, e Entry) write {
	r := d.records[keyOf(e)]
	return write{op: o, Entry: e, repair: r != nil && r.lost}
}

// record returns the record of an entry, making it.
func (d *device) record(k entryKey) *record {
	r := d.records[k]
	if r == nil {
		r = &record{}
		d.records[k] = r
	}
	return r
}

// refused notes that an entry could not be written. If the kernel's answer was lost, nobody
// knows whether it could.
func (c *core) refused(d *device, e *Error, now time.Time) {
	if errors.Is(e, rtnl.ErrLost) {
		c.unreadable(d, nil, now)
		return
	}
	k := keyOf(e.Entry)
	if c.devices[d.ifindex] == d {
		c.brakes.Of(k).Refused(now)
	}
	if rec := d.record(k); rec.err == nil || rec.err.Error() != e.Error() {
		rec.err = e
		c.changed(d, k)
	}
}

// unreadable notes that have is out of date, because of err if that is not nil.
func (c *core) unreadable(d *device, err error, now time.Time) {
	d.read, d.underWay = false, false
	if c.devices[d.ifindex] == d {
		c.brakes.Of(entryKey{link: d.ifindex}).Refused(now)
		c.failure(d, err)
	}
}

// failure notes why the table of a device could not be read; nil: it could.
func (c *core) failure(d *device, err error) {
	before := d.err
	if errors.Is(err, os.ErrClosed) {
		err = nil // the end of Run
	}
	d.err = err
	if (err == nil) != (before == nil) || err != nil && err.Error() != before.Error() {
		c.mark(entryKey{link: d.ifindex})
	}
}

// changed notes that the status of an entry has changed. An entry that is neither desired nor
// ours in the kernel has no record.
func (c *core) changed(d *device, k entryKey) {
	if o, _ := d.op(k); o == opNone {
		delete(d.records, k)
	}
	c.mark(k)
}

// op decides about one entry.
func (d *device) op(k entryKey) (op, Entry) { return decide(&d.want, &d.have, k) }

// keys iterates over the device's tables as a whole, what is desired in them, and what is ours in
// the kernel; some come twice.
func (d *device) keys() func(yield func(entryKey) bool) {
	return func(yield func(entryKey) bool) {
		if !yield(entryKey{link: d.ifindex}) {
			return
		}
		for k := range keys(d.ifindex, &d.want, &d.have, false) {
			if !yield(k) {
				return
			}
		}
	}
}

// merge makes a table of a snapshot.
func (c *core) merge(d *device, s *snapshot) table {
	t := merge(s.entries, &d.have)
	if s.link.bridge() != 0 && s.forwards {
		t.mergeBridge(s.entries, d.ifindex, s.link.bridge(), c.managed)
	}
	return t
}

// managed reports whether the forwarding of a device is ours.
func (c *core) managed(ifindex int) bool {
	d := c.devices[ifindex]
	return d != nil && d.what.forwards
}

// reading returns which tables of a device are to be read.
func (c *core) reading(ifindex int) reading {
	if d := c.devices[ifindex]; d != nil {
		return d.what
	}
	return reading{}
}

// begin is reading for a comparison, which begins now. It ends with compare or unreadable.
func (c *core) begin(ifindex int) reading {
	if d := c.devices[ifindex]; d != nil {
		d.underWay = true
	}
	return c.reading(ifindex)
}

// deadline is when advance has something to do; zero: never.
func (c *core) deadline() (next time.Time) {
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !c.auditor.next.IsZero() {
		sooner(c.auditor.next)
	}
	for i, d := range c.devices {
		if s := d.suspicions; len(s.of) > 0 && !s.judge.IsZero() {
			sooner(s.judge)
		}
		if d.committed && !d.due.IsZero() {
			sooner(c.readable(i, d.due))
		}
	}
	for k, b := range c.brakes {
		d := c.devices[k.link]
		if d.committed && b.Next.After(d.compared) {
			sooner(c.readable(k.link, b.Next))
		}
		if r := d.records[k]; r != nil && r.contended {
			sooner(b.QuietAt())
		}
	}
	return next
}

// readable returns t, or when a table that could not be read is to be read again.
func (c *core) readable(ifindex int, t time.Time) time.Time {
	if b := c.brakes[entryKey{link: ifindex}]; b != nil && b.Next.After(t) {
		return b.Next
	}
	return t
}

// advance returns the devices that are to be compared now, in order.
func (c *core) advance(now time.Time) []int {
	due := map[int]bool{}
	for i, d := range c.devices {
		if !d.due.IsZero() && !now.Before(d.due) {
			due[i] = true
		}
	}
	for k, b := range c.brakes {
		d := c.devices[k.link]
		if b.Next.After(d.compared) && b.Ready(now) {
			due[k.link], d.look = true, false
		}
		if b.Quiet(now) {
			delete(c.brakes, k)
			if r := d.records[k]; r != nil && r.contended {
				r.contended = false
				c.mark(k)
			}
		}
	}
	maps.DeleteFunc(due, func(i int, _ bool) bool {
		d := c.devices[i]
		if !d.committed || !c.brakes[entryKey{link: i}].Ready(now) {
			return true
		}
		d.compared, d.due = now, time.Time{} // also if that fails
		return false
	})
	return slices.Sorted(maps.Keys(due))
}
