package vxlan

import (
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/pace"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// The audit reads each table again, to find what no notification has told: what was known to be in the
// kernel and is not, or is otherwise, and entries of ours that nobody has written. It changes nothing by
// itself: what no notification explains is reported, and the table is compared again and repaired as
// after a notification.
//
// A notification of what a table has been read with may still wait to be read. So the monitor's socket is asked
// something once the table has been read: the answer is queued behind all that was notified before (netlink_sendskb
// in net/netlink/af_netlink.c serves answers and notifications alike), and is read behind it. What is asked
// takes the lock that programs' changes are made and notified under (rtnl_lock, rtnetlink_rcv_msg in
// net/core/rtnetlink.c), so that none of them is read and not notified yet. It does not hold back what
// the bridge learns from a frame: that is notified microseconds after it can be read.

const (
	// auditShare is the share of the time that reading takes at most, 1/auditShare, unless a rest would be longer than mostRest.
	auditShare = 100
	// leastRest is for how long nothing is read after a table, however quick that was.
	leastRest = 10 * time.Millisecond
	// mostRest is for how long nothing is read at most.
	mostRest = time.Minute
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
	fence uint32        // sequence number of the last fence
}

// suspicions are differences that a notification may still explain that is read before the answer to a fence.
type suspicions struct {
	of    map[entryKey]Event
	fence uint32    // its sequence number
	judge time.Time // when the answer was read; zero: it was not
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

// audited takes what auditNext has asked for; a dump that failed, or was interrupted, judges nothing. If there is
// something to judge, it returns the sequence number of a fence to be sent.
func (c *core) audited(s snapshot, err error, begun, now time.Time) (fence uint32) {
	a := &c.auditor
	d := c.devices[a.left[0]]
	a.left = a.left[1:]
	cost := now.Sub(begun)
	c.stats.AuditTime += cost
	a.next = now.Add(pace.Rest(cost, auditShare, leastRest, mostRest))
	if d != nil && err == nil && d.read && d.due.IsZero() && s.reading == d.what {
		if d.suspicions = (suspicions{of: d.differences(c.merge(d, &s))}); len(d.suspicions.of) > 0 {
			a.fence++
			fence, d.suspicions.fence = a.fence, a.fence
		}
	}
	if end := a.begun.Add(a.round); len(a.left) == 0 {
		c.stats.AuditRounds++
		if a.next.Before(end) {
			a.next = end
		}
	}
	return fence
}

// differences returns in what a dump differs from what is known.
func (d *device) differences(have table) map[entryKey]Event {
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
	return found
}

// fenced takes the answer to a fence, and reports whether there are differences to be judged.
func (c *core) fenced(fence uint32, now time.Time) (due bool) {
	for _, d := range c.devices {
		if s := &d.suspicions; s.fence == fence && s.judge.IsZero() && len(s.of) > 0 {
			s.judge, due = now, true
		}
	}
	return due
}

// settle reports the differences that nothing has explained, and has their tables compared.
func (c *core) settle(now time.Time) {
	for _, i := range slices.Sorted(maps.Keys(c.devices)) {
		d := c.devices[i]
		s := &d.suspicions
		if len(s.of) == 0 || s.judge.IsZero() {
			continue
		}
		list := slices.SortedFunc(maps.Values(s.of), func(a, b Event) int {
			return compare(write{op: opAdd, Entry: a.Entry}, write{op: opAdd, Entry: b.Entry})
		})
		clear(s.of)
		c.stats.Differences += uint64(len(list))
		for _, r := range c.readers {
			r.differ(list)
		}
		d.compareBy(now, now)
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
	fence := f.core.audited(s, err, begun, time.Now())
	f.mu.Unlock()
	if fence != 0 {
		// Of an interface that there always is, or none: any answer will do. If the request fails, the
		// next round judges.
		_ = o.monitor.Send(rtnl.End(append(rtnl.Begin(nil, rtnl.RTM_GETLINK, rtnl.NLM_F_REQUEST, fence), ifinfo(1, 0, 0)...), 0))
	}
}
