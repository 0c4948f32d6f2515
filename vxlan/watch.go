package vxlan

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/watch"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// Kinds of events.
const (
	// EventEntry: the status of an entry has changed. Entry and State are set, and Repairs,
	// Contended and Err if there is something to say.
	EventEntry EventKind = iota
	// EventTable: the tables of the interface Entry.IfIndex can not be read, or not be
	// written as a whole; Err says why, mostly that it is gone. It is nil when they can be again, after Forget, and
	// when what is desired has followed the interface's name to another index.
	EventTable
	// EventSynced: all that was there at the time of [FDB.Watch] has been returned. It comes
	// once, and has no other field.
	EventSynced
	// EventDifference: the audit (see [Config].AuditRound) has read something that no notification had
	// told. Entry and Op are set. Of 1024 that wait for the reader, no more are reported, but are counted in
	// [Stats]. Repairs follow, as they do after a notification.
	EventDifference
)

// String returns a stable name, fit for a log.
func (k EventKind) String() string {
	return enum.String("EventKind", []string{"entry", "table", "synced", "difference"}, k)
}

// State is how far an entry has come.
type State uint8

// States of entries.
const (
	// StatePending is desired, and not in the kernel as far as is known: Flush was not called,
	// or another program has removed it and the repair is to come.
	StatePending State = iota
	// StateInstalled is in the kernel as desired.
	StateInstalled
	// StateFailed was refused by the kernel; it is tried again with back-off. Err says why.
	StateFailed
	// StateForeign yields to another program's entry; it is tried again with back-off.
	StateForeign
	// StateStale is ours in the kernel and not desired any more: Flush was not called, or Sweep, or the
	// kernel has refused the deletion, and Err says why.
	StateStale
	// StateRemoved is neither desired nor ours in the kernel any more, or its device was
	// forgotten. Of a MAC, Entry has no VTEP, of a neighbour no MAC.
	StateRemoved
)

// String returns a stable name, fit for a log.
func (s State) String() string {
	return enum.String("State", []string{"pending", "installed", "failed", "foreign", "stale", "removed"}, s)
}

// Event is the status of one entry, or of a device's table.
type Event struct {
	Kind  EventKind // says which of the fields below count
	Entry Entry     // that it is about
	State State     // of Entry
	// Repairs is how often the entry was written again, because another program had changed or
	// removed it, since the event before that the reader got of it, or since it was set.
	Repairs uint64
	// Contended says that another program undoes each repair: they come at growing intervals,
	// up to 30 s, until there has been peace for a while.
	Contended bool
	// Op is "missing" (the kernel has not what it was known to have), "changed", or "extra" (it has an
	// entry with our mark that nobody knew of), of EventDifference.
	Op  string
	Err error // why it is not as desired, mostly an *[Error]; nil: no failure
}

// String returns e as it is fit for a log, for example "02:00:00:00:00:01 dev 7 dst 172.22.2.2
// installed, repaired 2 times".
func (e Event) String() string {
	var s string
	switch e.Kind {
	case EventEntry:
		s = fmt.Sprintf("%v %v", e.Entry, e.State)
	case EventDifference:
		return fmt.Sprintf("%v %s", e.Entry, e.Op)
	case EventTable:
		s = fmt.Sprintf("table dev %d", e.Entry.IfIndex)
	default:
		return e.Kind.String()
	}
	if e.Repairs > 0 {
		s += fmt.Sprintf(", repaired %d times", e.Repairs)
	}
	if e.Contended {
		s += ", contended"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Watcher reads the events of an [FDB]: first the state, that is an EventEntry for each entry
// that is desired or ours in the kernel and an EventTable for each table that can not be read,
// and EventSynced; then changes. Changes of one entry coalesce: the reader gets the status at
// the time of Next, so a slow reader misses only what was over meanwhile, and no repair. The
// same status may come twice. What a Watcher costs is bounded by the entries that there
// are and those that its reader was handed and that were removed. It is safe for concurrent use.
type Watcher struct {
	fdb    *FDB
	reader *reader       // has the events
	ready  chan struct{} // capacity 1
}

// Watch returns a reader of the status of all entries. It may be called before Run. Close it when
// it is no longer needed.
func (f *FDB) Watch() *Watcher {
	w := &Watcher{fdb: f, ready: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.reader = newReader(&f.core, w.poke)
	w.reader.ended = f.over
	return w
}

// Next waits for events and fills buf with as many as it has room for. Without room it does
// not wait. It returns ctx's error, or ErrClosed after Close, or once Run has ended and all
// events before that were returned.
func (w *Watcher) Next(ctx context.Context, buf []Event) (n int, err error) {
	for len(buf) > 0 {
		if n, closed := w.take(buf); n > 0 {
			return n, nil
		} else if closed {
			return 0, ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-w.ready:
		}
	}
	return 0, nil
}

// All iterates over the events until ctx ends, Close is called or Run ends; the last pair has
// the error of [Watcher.Next].
func (w *Watcher) All(ctx context.Context) iter.Seq2[Event, error] {
	return watch.All(ctx, make([]Event, 64), w.Next)
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *Watcher) Close() {
	f := w.fdb
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.readers = slices.DeleteFunc(f.core.readers, func(r *reader) bool { return r == w.reader })
	w.reader.queue, w.reader.dirty, w.reader.seen, w.reader.differences = nil, nil, nil, nil
	w.reader.close()
}

func (w *Watcher) poke() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *Watcher) take(buf []Event) (n int, closed bool) {
	w.fdb.mu.Lock()
	defer w.fdb.mu.Unlock()
	n = w.reader.take(buf)
	if w.reader.pending() || w.reader.ended {
		w.poke() // for other callers of Next, and what had no room
	}
	return n, w.reader.ended
}
