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
}

func newCore(auditRound time.Duration) core {
	return core{auditor: auditor{round: auditRound}, devices: make(map[int]*device), brakes: brake.Table[entryKey]{}}
}

// entryKey is what one entry of a device is about: a MAC, or a destination of the flood
// list. With neither it stands for the device's table as a whole.
type entryKey struct {
	link int
	mac  MAC
	vtep netip.Addr // of the flood list only
}

func keyOf(e Entry) entryKey {
	if e.MAC.IsZero() {
		return entryKey{e.IfIndex, e.MAC, e.VTEP}
	}
	return entryKey{link: e.IfIndex, mac: e.MAC}
}

// device is the state of one VXLAN interface.
type device struct {
	ifindex    int
	want       table
	have       table // what the kernel has, as far as we know
	read       bool  // have has been read from the kernel
	committed  bool  // Flush or Reconcile was called: what is desired may be written
	floods     map[netip.Addr]struct{}
	macs       map[MAC]struct{} // both: changed since the last Flush
	records    map[entryKey]*record
	err        error     // why the table could not be read; nil: it could
	compared   time.Time // when the last comparison began
	due        time.Time // when the next one is, because of a notification; zero: there was none
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
		d = &device{ifindex: ifindex, want: newTable(), have: newTable(), floods: make(map[netip.Addr]struct{}),
			macs: make(map[MAC]struct{}), records: make(map[entryKey]*record)}
		c.devices[ifindex] = d
	}
	return d
}

func (c *core) setFlood(ifindex int, next map[netip.Addr]origin) {
	d := c.on(ifindex)
	before := d.want.flood
	d.want.flood = next
	changed := func(v netip.Addr) {
		d.floods[v] = struct{}{}
		c.desired(d, entryKey{ifindex, MAC{}, v})
	}
	for v := range next {
		if _, ok := before[v]; !ok {
			changed(v)
		}
	}
	for v := range before {
		if _, ok := next[v]; !ok {
			changed(v)
		}
	}
}

func (c *core) setMAC(ifindex int, mac MAC, vtep netip.Addr) {
	d := c.on(ifindex)
	if d.want.macs[mac].vtep != vtep {
		d.want.macs[mac] = destination{vtep, ours}
		d.macs[mac] = struct{}{}
		c.desired(d, entryKey{link: ifindex, mac: mac})
	}
}

func (c *core) deleteMAC(ifindex int, mac MAC) {
	d := c.devices[ifindex]
	if d == nil {
		return
	}
	if _, ok := d.want.macs[mac]; ok {
		delete(d.want.macs, mac)
		d.macs[mac] = struct{}{}
		c.desired(d, entryKey{link: ifindex, mac: mac})
	}
}

// desired notes that something else is desired of an entry: what was wrong with the former is
// of no interest.
func (c *core) desired(d *device, k entryKey) {
	delete(d.suspicions.of, k)
	if r := d.records[k]; r != nil {
		r.err, r.lost = nil, false
	}
	c.changed(d, k)
}

func (c *core) forget(ifindex int) {
	d := c.devices[ifindex]
	if d == nil {
		return
	}
	delete(c.devices, ifindex)
	maps.DeleteFunc(c.brakes, func(k entryKey, _ *brake.Brake) bool { return k.link == ifindex })
	for k := range d.keys() {
		c.mark(k)
	}
}

// commit returns all devices, in order: what is desired on them may be written from now on.
func (c *core) commit() []int {
	for _, d := range c.devices {
		d.committed = true
	}
	return slices.Sorted(maps.Keys(c.devices))
}

// changed returns the writes that a device needs because of what has changed since the last call.
func (d *device) changed() []write {
	writes := make([]write, 0, len(d.floods)+len(d.macs))
	for v := range d.floods {
		writes = append(writes, write{floodOp(&d.want, &d.have, v), Entry{d.ifindex, MAC{}, v}})
	}
	for mac := range d.macs {
		o, v := macOp(&d.want, &d.have, mac)
		writes = append(writes, write{o, Entry{d.ifindex, mac, v}})
	}
	clear(d.floods)
	clear(d.macs)
	return slices.DeleteFunc(writes, func(w write) bool { return w.op == opNone || w.op == opKeep })
}

// compare takes what the kernel has, in a dump that began at begun, and returns the writes that
// make it what is desired; with repair those only that are not delayed.
func (c *core) compare(d *device, dump []dumped, repair bool, begun time.Time) ([]write, Result) {
	before := *d
	d.have = merge(dump, &d.have)
	d.read, d.compared, d.due = true, begun, time.Time{}
	c.failure(d, nil)
	clear(d.floods)
	clear(d.macs)
	clear(d.suspicions.of)
	writes, r := diff(d.ifindex, &d.want, &d.have)
	for k, rec := range d.records {
		if o, _ := d.op(k); o == opNone || o == opKeep && (rec.err != nil || rec.lost) { // others have done it
			rec.err, rec.lost = nil, false
			c.changed(d, k)
		}
	}
	for _, w := range writes {
		if o, _ := before.op(keyOf(w.Entry)); o == opKeep {
			d.record(keyOf(w.Entry)).lost = true
		}
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
	delete(d.suspicions.of, k)
	contended := repair && c.brakes.Of(k).Repaired(now)
	if rec := d.records[k]; rec != nil {
		if rec.lost {
			rec.repairs++
		}
		rec.err, rec.lost = nil, false
		rec.contended = rec.contended || contended
	}
	c.changed(d, k)
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
	d.read = false
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
func (d *device) op(k entryKey) (op, netip.Addr) {
	if k.mac.IsZero() {
		return floodOp(&d.want, &d.have, k.vtep), k.vtep
	}
	return macOp(&d.want, &d.have, k.mac)
}

// keys iterates over the device's table as a whole, what is desired in it, and what is ours in
// the kernel; some come twice.
func (d *device) keys() func(yield func(entryKey) bool) {
	return func(yield func(entryKey) bool) {
		if !yield(entryKey{link: d.ifindex}) {
			return
		}
		for _, t := range []*table{&d.want, &d.have} {
			for v, o := range t.flood {
				if o == ours && !yield(entryKey{d.ifindex, MAC{}, v}) {
					return
				}
			}
			for mac, dst := range t.macs {
				if dst.origin == ours && !yield(entryKey{link: d.ifindex, mac: mac}) {
					return
				}
			}
		}
	}
}

// notification takes the kernel's word of a change, and reports whether a comparison is due
// because it contradicts what is desired and may be repaired now.
func (c *core) notification(e dumped, gone bool, now time.Time) bool {
	d := c.devices[e.IfIndex]
	if d != nil {
		delete(d.suspicions.of, keyOf(e.Entry))
	}
	if d == nil || !d.read || !d.due.IsZero() || !c.brakes[keyOf(e.Entry)].Ready(now) {
		return false
	}
	contradicts := false
	if e.MAC.IsZero() {
		_, wanted := d.want.flood[e.VTEP]
		contradicts = wanted && gone
	} else {
		w, wanted := d.want.macs[e.MAC]
		contradicts = wanted && gone == (w.vtep == e.VTEP)
	}
	if contradicts {
		d.due = now.Add(settle)
	}
	return contradicts
}

// notificationsLost reports whether comparisons are due because the kernel has lost
// notifications.
func (c *core) notificationsLost(now time.Time) (due bool) {
	for _, d := range c.devices {
		clear(d.suspicions.of)
		if d.read && d.due.IsZero() {
			d.due, due = now.Add(settle), true
		}
	}
	return due
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
		if len(d.suspicions.of) > 0 {
			sooner(d.suspicions.judge)
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
			due[k.link] = true
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
