package fibcore

import (
	"time"

	"github.com/hyperfib/hyperfib/internal/pace"
)

// reread says that part of the kernel's state is to be read again. Reading follows at
// once after a quiet time, but takes a tenth of the time at most, unless that is long, so that others who
// make it necessary all the time cannot keep the owner from its work.
type reread struct {
	needed bool
	tries  int       // readings in a row that were interrupted
	next   time.Time // no reading before
}

const (
	// leastPause is for how long nothing is read again, however quick reading is.
	leastPause = 2 * time.Millisecond
	// mostPause is for how long nothing is read again at most, and nothing written that waits for it.
	mostPause = 5 * time.Second
	// rereadShare is the share of the time that reading takes at most, 1/rereadShare, unless a pause would be longer than mostPause.
	rereadShare = 10
	// enoughTries is how many interrupted readings in a row are believed in what they
	// all lack: another program may change the kernel's tables for ever.
	enoughTries = 5
)

func (d *reread) request() { d.needed = true }

// due reports whether it is time to read again.
func (d *reread) due(now time.Time) bool { return d.needed && !now.Before(d.next) }

// blocks reports whether nothing may be written on what is known now.
func (d *reread) blocks() bool { return d.needed && d.tries < enoughTries }

// begin notes that reading begins: what is requested from now on is read once more.
func (d *reread) begin() { d.needed = false }

// done notes that the reading that began at start has ended. Without clean, the kernel
// has changed meanwhile, or could not be read to the end.
func (d *reread) done(start, now time.Time, clean bool) {
	d.next = now.Add(pace.Rest(now.Sub(start), rereadShare, leastPause, mostPause))
	if clean {
		d.tries = 0
		return
	}
	d.tries++
	d.request()
}

// rereads say what must be read from the kernel again.
type rereads struct {
	everything, links, addresses, rules, neighbors, proxies, nextHops, routes, learners reread
	tables                                                                              map[tableFamily]*reread
}

func (d *rereads) all(f func(*reread)) {
	for _, one := range []*reread{&d.everything, &d.links, &d.addresses, &d.rules, &d.neighbors, &d.proxies, &d.nextHops, &d.routes, &d.learners} {
		f(one)
	}
	for _, one := range d.tables {
		f(one)
	}
}

// table requests that one table of one family is read again.
func (d *rereads) table(tf tableFamily) {
	one := d.tables[tf]
	if one == nil {
		one = &reread{}
		d.tables[tf] = one
	}
	one.request()
}

// state reports whether anything is to be read again, whether now, and otherwise when.
func (d *rereads) state(now time.Time) (any, due bool, next time.Time) {
	d.all(func(one *reread) {
		if !one.needed {
			return
		}
		any, due = true, due || one.due(now)
		if next.IsZero() || one.next.Before(next) {
			next = one.next
		}
	})
	return any, due, next
}
