package fib

import "time"

// doubt says that part of the kernel's state is to be read again. Reading follows at
// once after a quiet time, but takes a tenth of the time at most, so that others who
// cause doubt all the time cannot keep the owner from its work.
type doubt struct {
	raised bool
	tries  int       // readings in a row that were interrupted
	next   time.Time // no reading before
}

const (
	// leastPause is for how long nothing is read again, however quick reading is.
	leastPause = 2 * time.Millisecond
	// enoughTries is how many interrupted readings in a row are believed in what they
	// all lack: somebody may change the kernel's tables for ever.
	enoughTries = 5
)

func (d *doubt) raise() { d.raised = true }

// due reports whether it is time to read again.
func (d *doubt) due(now time.Time) bool { return d.raised && !now.Before(d.next) }

// holds reports whether nothing may be written on what is known now.
func (d *doubt) holds() bool { return d.raised && d.tries < enoughTries }

// begin notes that reading begins: what is doubted from now on is doubted again.
func (d *doubt) begin() { d.raised = false }

// done notes that the reading that began at start has ended. Without clean, the kernel
// has changed meanwhile, or could not be read to the end.
func (d *doubt) done(start, now time.Time, clean bool) {
	d.next = now.Add(max(leastPause, 9*now.Sub(start)))
	if clean {
		d.tries = 0
		return
	}
	d.tries++
	d.raise()
}
