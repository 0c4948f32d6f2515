package fib

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// EventKind says what happened.
type EventKind uint8

const (
	// EventError: the kernel refused something, or a foreign route is in the
	// way. Err is set.
	EventError EventKind = iota
	// EventRepair: somebody else changed or removed something of ours; it was
	// put back. Key names it. With Reason "take" it is a foreign route that was
	// replaced as Config.OnForeign says.
	EventRepair
	// EventResync: notifications were lost; the kernel was read anew.
	EventResync
	// EventSynced: the first complete read of the kernel is done.
	EventSynced
	// EventLink: a link appeared, or its state changed. Link is set.
	EventLink
	// EventLinkGone: a link was deleted. Link is set.
	EventLinkGone
	// EventAddress: an address appeared on, or with Gone disappeared from, a
	// link. Link.IfIndex, Addr, Scope and Permanent are set. Ours and foreign ones alike.
	EventAddress
	// EventGatewayDown: next-hop objects of a dead gateway left the kernel;
	// by us, by the loss of a link, or by somebody else's hand. Link.IfIndex and
	// Gateway are set.
	EventGatewayDown
	// EventNextHops: what [FIB.NextHops] returns has changed.
	EventNextHops
	// EventLost: the reader was too slow, and Count events were dropped.
	EventLost
	// EventWrite: a change was written to the kernel; only with
	// [WatchOptions.Writes]. Op, Key and Reason are set.
	EventWrite
	// EventContended: somebody undoes our repairs of Key again and again. From now on
	// they come at growing intervals, up to 30 s, until there has been peace for a while.
	// Protocol and Port say who.
	EventContended
)

var eventNames = [...]string{"error", "repair", "resync", "synced", "link", "link-gone", "address",
	"gateway-down", "next-hops", "lost", "write", "contended"}

func (k EventKind) String() string { return enum.String("EventKind", eventNames[:], k) }

// Event is something an operator wants in the log, or a program wants to act on.
type Event struct {
	Kind EventKind
	Time time.Time
	// Op is "add", "replace" or "delete" for EventRepair and EventWrite.
	Op string
	// Key names the object as in [Error].
	Key any
	// Reason says why something was written: "desired", "swept", "repair" or
	// "take"; for EventGatewayDown "gateway" (our doing) or "foreign".
	Reason  string
	Err     error
	Link    Link
	Gateway netip.Addr
	Addr    netip.Prefix
	Scope   Scope
	// Permanent: the address has no lifetime (IFA_F_PERMANENT). Those of router
	// advertisements and of most DHCP clients have one.
	Permanent bool
	Gone      bool
	Count     int
	// Protocol and Port say who changed what is repaired: the protocol number in the
	// change (rtm_protocol and its like; 0 if it has none, as a deletion), and the netlink
	// port id of the socket that asked for it, which mostly is the process's id; 0 is the
	// kernel itself.
	Protocol uint8
	Port     uint32
}

// origin is who made a change, as a notification says.
type origin struct {
	proto uint8
	port  uint32
}

// WatchOptions select what a [Watcher] gets. The zero value is everything but
// EventWrite.
type WatchOptions struct {
	// Writes adds an EventWrite for every change that is written.
	Writes bool
	// Buffer bounds the events that wait for the reader. 0 is 1024; with
	// Writes a bigger one may be wanted. What does not fit is counted in an
	// EventLost.
	Buffer int
}

// Watcher hands out events. It is safe for concurrent use.
type Watcher struct {
	options WatchOptions
	mu      sync.Mutex
	events  []Event
	lost    int
	closed  bool
	ready   chan struct{} // capacity 1
	detach  func(*Watcher)
}

// Next waits for events and returns all there are. It returns ctx's error, or
// ErrClosed after Close or the end of Run.
func (w *Watcher) Next(ctx context.Context) ([]Event, error) {
	for {
		if events, closed := w.take(); len(events) > 0 {
			return events, nil
		} else if closed {
			return nil, ErrClosed
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.ready:
		}
	}
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *Watcher) Close() {
	if w.detach != nil {
		w.detach(w)
	}
	w.end()
}

func (w *Watcher) end() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
}

func (w *Watcher) take() ([]Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.events
	w.events = nil
	if w.lost > 0 {
		events = append(events, Event{Kind: EventLost, Time: time.Now(), Count: w.lost})
		w.lost = 0
	}
	if w.closed {
		w.poke() // for other callers of Next
	}
	return events, w.closed
}

func (w *Watcher) add(e Event) {
	if e.Kind == EventWrite && !w.options.Writes {
		return
	}
	w.mu.Lock()
	if len(w.events) < w.options.Buffer {
		w.events = append(w.events, e)
	} else {
		w.lost++
	}
	w.mu.Unlock()
	w.poke()
}

func (w *Watcher) poke() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func newWatcher(options WatchOptions, detach func(*Watcher)) *Watcher {
	options.Buffer = or(options.Buffer, 1024)
	return &Watcher{options: options, ready: make(chan struct{}, 1), detach: detach}
}
