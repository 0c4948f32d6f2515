package vxlan

import (
	"maps"
	"slices"
	"time"
)

// The audit reads each table again, to find what no notification has told: what was known to be in the
// kernel and is not, or is otherwise, and entries of ours that nobody has written. It changes nothing by
// itself: what no notification explains within a moment is reported, and the table is compared again
// and repaired as after a notification.

const (
	// auditShare is the share of the time that reading takes at most: 1/auditShare.
	auditShare = 100
	// leastRest is for how long nothing is read after a table, however quick that was.
	leastRest = 10 * time.Millisecond
	// explainTime is how long a notification may take that explains a difference: whoever reads them may
	// have to wait for a processor.
	explainTime = time.Second
	// mostDifferences is how many differences wait for a reader; those beyond are only counted.
	mostDifferences = 1024
)

// What kind of a difference the audit has found: [Event].Op.
const (
	opMissing = "missing" // the kernel has not what it was known to have
	opChanged = "changed" // it has another destination
	opExtra   = "extra"   // it has what nobody knew of
)

// Stats are counters since New.
type Stats struct {
	AuditRounds uint64        // how often all tables were read again
	AuditTime   time.Duration // how long that has taken, in all
	Differences uint64        // what it has found
}

// Stats returns the counters.
func (f *FDB) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.core.stats
}

// auditor is the audit of a core.
type auditor struct {
	round time.Duration // how often one begins; 0: never
	begun time.Time     // when this one has
	next  time.Time     // when the next table is read; zero: never
	left  []int         // devices of this round that were not read
}

// suspicions are differences that a notification may still explain, until a time.
type suspicions struct {
	of    map[entryKey]Event
	judge time.Time
}

// startAudit lets the first round begin one interval from now.
func (c *core) startAudit(now time.Time) {
	if c.auditor.round > 0 {
		c.auditor.next = now.Add(c.auditor.round)
	}
}

// auditNext returns the device whose table is to be read again now.
func (c *core) auditNext(now time.Time) (ifindex int, due bool) {
	a := &c.auditor
	if a.next.IsZero() || now.Before(a.next) {
		return 0, false
	}
	if len(a.left) == 0 {
		a.begun = now
		for i, d := range c.devices {
			if d.committed && d.read {
				a.left = append(a.left, i)
			}
		}
		slices.Sort(a.left)
	}
	if len(a.left) == 0 {
		a.next = now.Add(a.round)
		return 0, false
	}
	return a.left[0], true
}

// audited takes what auditNext has asked for; a dump that failed, or was interrupted, judges nothing.
func (c *core) audited(s snapshot, err error, begun, now time.Time) {
	a := &c.auditor
	d := c.devices[a.left[0]]
	a.left = a.left[1:]
	cost := now.Sub(begun)
	c.stats.AuditTime += cost
	a.next = now.Add(max(leastRest, (auditShare-1)*cost))
	if d != nil && err == nil && d.read && d.due.IsZero() && s.reading == d.what && d.suspect(c.merge(d, &s), now) && a.next.Before(d.suspicions.judge) {
		a.next = d.suspicions.judge // first these
	}
	if end := a.begun.Add(a.round); len(a.left) == 0 {
		c.stats.AuditRounds++
		if a.next.Before(end) {
			a.next = end
		}
	}
}

// suspect notes in what a dump differs from what is known, and reports whether it does.
func (d *device) suspect(have table, now time.Time) bool {
	read := device{ifindex: d.ifindex, want: d.want, have: have}
	found := map[entryKey]Event{}
	for k := range read.keys() {
		if k.whole() {
			continue
		}
		before, _ := d.op(k)
		after, entry := read.op(k)
		op := ""
		switch {
		case before == opKeep && after == opAdd:
			op = opMissing
		case before == opKeep && after != opKeep:
			op = opChanged
		case before == opNone && after == opDelete:
			op = opExtra
		default:
			continue
		}
		found[k] = Event{Kind: EventDifference, Entry: entry, Op: op}
	}
	d.suspicions = suspicions{found, now.Add(explainTime)}
	return len(found) > 0
}

// settle reports the differences that nothing has explained, and has their tables compared.
func (c *core) settle(now time.Time) {
	for _, i := range slices.Sorted(maps.Keys(c.devices)) {
		d := c.devices[i]
		s := &d.suspicions
		if len(s.of) == 0 || now.Before(s.judge) {
			continue
		}
		list := slices.SortedFunc(maps.Values(s.of), func(a, b Event) int {
			return compare(write{opAdd, a.Entry}, write{opAdd, b.Entry})
		})
		clear(s.of)
		c.stats.Differences += uint64(len(list))
		for _, r := range c.readers {
			r.differ(list)
		}
		d.compareBy(now)
	}
}

// differ takes differences.
func (r *reader) differ(list []Event) {
	r.differences = append(r.differences, list[:min(len(list), mostDifferences-len(r.differences))]...)
	r.wake()
}

// audit reads the next table again if that is due, and settles what was found.
func (o *owner) audit() {
	f := o.fdb
	f.mu.Lock()
	f.core.settle(time.Now())
	ifindex, due := f.core.auditNext(time.Now())
	what := f.core.reading(ifindex)
	f.mu.Unlock()
	if !due {
		return
	}
	begun := time.Now()
	s, err := o.kernel.read(ifindex, what)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.audited(s, err, begun, time.Now())
}
