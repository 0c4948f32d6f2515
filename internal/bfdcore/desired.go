package bfdcore

import (
	"slices"
	"time"
)

// Desired is what a client wants of the BFD process, and what of it the process
// has yet to be sent. It outlives connections: over a new one everything is sent. What the
// process refuses is tried again, less and less often.
type Desired[K comparable, C any] struct {
	// FirstRetry and LastRetry are the shortest and the longest wait before something
	// refused is tried again.
	FirstRetry, LastRetry time.Duration

	items     map[K]*item[C]   // what is wanted, and what is to be deleted
	queue     []K              // requests to be sent, oldest first
	compare   func(a, b K) int // orders what is sent at the same time
	connected bool             // to the process
	synced    bool             // the client has said that it wants nothing more
	sent      bool             // RequestSynced was sent
}

type item[C any] struct {
	config  C         // as last set
	wanted  bool      // else it is to be deleted
	known   bool      // the process may have it
	queued  bool      // in Desired.queue
	refused bool      // by the process
	change  uint64    // counts changes
	backoff Backoff   // between two tries
	retry   time.Time // when it is tried again, if refused
}

// Request is one request to the process.
type Request[K comparable, C any] struct {
	Kind   RequestKind // what the process is to do
	Key    K           // unless RequestSynced
	Config C           // of RequestAdd
	change uint64      // item.change when it was made
}

// RequestKind says what a [Request] asks for.
type RequestKind uint8

// What the process is asked for.
const (
	RequestAdd    RequestKind = iota // make or change a session
	RequestRemove                    // end it
	RequestSynced                    // forget what an earlier life of the client left
)

// Set wants a session, or wants it otherwise.
func (d *Desired[K, C]) Set(k K, config C) {
	it := d.items[k]
	if it == nil {
		if d.items == nil {
			d.items = map[K]*item[C]{}
		}
		it = &item[C]{backoff: Backoff{Min: d.FirstRetry, Max: d.LastRetry}}
		d.items[k] = it
	}
	it.config, it.wanted = config, true
	d.changed(k, it)
}

// Delete wants a session no longer. It reports whether it was wanted.
func (d *Desired[K, C]) Delete(k K) bool {
	it := d.items[k]
	if it == nil || !it.wanted {
		return false
	}
	it.wanted = false
	d.changed(k, it)
	if !it.known {
		delete(d.items, k)
	}
	return true
}

// changed queues an item to be sent to the process.
func (d *Desired[K, C]) changed(k K, it *item[C]) {
	it.change++
	it.refused = false
	it.backoff.Reset()
	d.enqueue(k, it)
}

func (d *Desired[K, C]) enqueue(k K, it *item[C]) {
	if d.connected && !it.queued {
		it.queued = true
		d.queue = append(d.queue, k)
	}
}

// Synced notes that everything wanted has been set once.
func (d *Desired[K, C]) Synced() { d.synced, d.sent = true, false }

// Wanted reports whether a session is wanted.
func (d *Desired[K, C]) Wanted(k K) bool {
	it := d.items[k]
	return it != nil && it.wanted
}

// Connect begins with a process that knows nothing. The sessions come in the order of
// compare.
func (d *Desired[K, C]) Connect(compare func(a, b K) int) {
	d.connected, d.sent, d.compare = true, false, compare
	d.queue = d.queue[:0]
	for k, it := range d.items {
		it.queued, it.refused = true, false
		it.backoff.Reset()
		d.queue = append(d.queue, k)
	}
	slices.SortFunc(d.queue, compare)
}

// Disconnect notes that the connection is gone. What was on its way may have arrived.
func (d *Desired[K, C]) Disconnect() {
	d.connected = false
	d.queue = d.queue[:0]
	for _, it := range d.items {
		it.queued, it.refused = false, false
	}
}

// Next returns the next request; ok is false if there is none now.
func (d *Desired[K, C]) Next(now time.Time) (r Request[K, C], ok bool) {
	if !d.connected {
		return r, false
	}
	d.retry(now)
	for len(d.queue) > 0 {
		k := d.queue[0]
		d.queue = d.queue[1:]
		it := d.items[k]
		if it == nil || !it.queued {
			continue // wanted and deleted before the process heard of it
		}
		it.queued = false
		r = Request[K, C]{Kind: RequestRemove, Key: k, change: it.change}
		if it.wanted {
			r.Kind, r.Config = RequestAdd, it.config
			it.known = true
		}
		return r, true
	}
	if d.synced && !d.sent {
		d.sent = true
		return Request[K, C]{Kind: RequestSynced}, true
	}
	return r, false
}

// retry puts what was refused into the queue when its time has come.
func (d *Desired[K, C]) retry(now time.Time) {
	before := len(d.queue)
	for k, it := range d.items {
		if it.refused && !it.retry.After(now) {
			it.refused = false
			d.enqueue(k, it)
		}
	}
	slices.SortFunc(d.queue[before:], d.compare)
}

// Done notes the process's answer to a request.
func (d *Desired[K, C]) Done(r Request[K, C], refused bool, now time.Time) {
	it := d.items[r.Key]
	if r.Kind == RequestSynced || it == nil || it.change != r.change {
		return // there is something newer to tell
	}
	switch {
	case r.Kind == RequestRemove:
		delete(d.items, r.Key)
	case refused:
		it.refused, it.retry = true, now.Add(it.backoff.Next())
	default:
		it.backoff.Reset()
	}
}

// Deadline returns when Next has something refused to try again. The zero time says
// never.
func (d *Desired[K, C]) Deadline() (at time.Time) {
	for _, it := range d.items {
		if it.refused && (at.IsZero() || it.retry.Before(at)) {
			at = it.retry
		}
	}
	return at
}
