package ndp

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/station"
	"github.com/hyperfib/hyperfib/internal/watch"
)

// ErrClosed is returned by what has ended: a second Run, and Next after Close.
var ErrClosed = errors.New("ndp: closed")

// Monitor drives a [Tracker] on a connection. All methods are safe for concurrent use.
type Monitor struct {
	tracker *Tracker              // decides
	loop    *station.Loop[Packet] // drives tracker
}

// NewMonitor makes a Monitor without links on conn, which must receive neighbor
// solicitations and advertisements, and stays the caller's to close.
func NewMonitor(conn PacketConn, cfg WatchConfig) *Monitor {
	t := NewTracker(cfg)
	return &Monitor{t, station.NewLoop(conn, machine{t}, Batch)}
}

// AddLink watches an interface; see [Tracker.AddLink].
func (m *Monitor) AddLink(ifindex int, mac MAC, ip netip.Addr) error {
	return m.loop.Add(ifindex, func() { m.tracker.AddLink(ifindex, mac, ip) })
}

// RemoveLink stops watching an interface. Its stations are gone.
func (m *Monitor) RemoveLink(ifindex int) { m.loop.Remove(ifindex) }

// Seed says that a station behind an interface had ip when it was last heard of; see
// [Tracker.Seed].
func (m *Monitor) Seed(ifindex int, ip netip.Addr) { m.loop.Seed(ifindex, ip) }

// Run reads packets and asks the questions until ctx ends, and then returns nil. It returns
// early only if the connection fails as a whole. A second Run returns [ErrClosed].
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.loop.Run(ctx); !errors.Is(err, station.ErrClosed) {
		return err
	}
	return ErrClosed
}

// Watch returns a reader of the events. It begins with an EventSeen for each station that
// is known. It may be called before Run. Close it when it is no longer needed.
func (m *Monitor) Watch() *Watcher { return &Watcher{m.loop.Watch()} }

// Watcher reads the events of a [Monitor]. Events are coalesced: a slow reader gets the
// last of each address, and beside it the last EventConflict of each address. What it costs
// is bounded by the stations that the Monitor remembers and those that the reader has been
// handed. It is safe for concurrent use.
type Watcher struct {
	reader *station.Reader // has the events
}

// Next waits for events and fills buf with as many as it has room for. Without room it does
// not wait. It returns the error of ctx when that ends, and [ErrClosed] after Close, or once
// Run has ended and all events before that were returned.
func (w *Watcher) Next(ctx context.Context, buf []Event) (n int, err error) {
	err = w.reader.Next(ctx, len(buf), func(e station.Event) {
		buf[n] = Event(e)
		n++
	})
	if errors.Is(err, station.ErrClosed) {
		err = ErrClosed
	}
	return n, err
}

// All iterates over the events until ctx ends, Close is called or Run ends; the last pair
// has the error of [Watcher.Next].
func (w *Watcher) All(ctx context.Context) iter.Seq2[Event, error] {
	return watch.All(ctx, make([]Event, 1), w.Next)
}

// Close ends the watcher; a waiting Next returns [ErrClosed].
func (w *Watcher) Close() { w.reader.Close() }

// machine is a Tracker as station.Loop drives it.
type machine struct{ *Tracker }

func (m machine) RemoveLink(ifindex int) []station.Event { return m.removeLink(ifindex) }

func (m machine) Observe(now time.Time, f *Packet, events []station.Event) []station.Event {
	return m.observe(now, f, events)
}

func (m machine) Advance(now time.Time, send []Packet, events []station.Event) ([]Packet, []station.Event) {
	return m.advance(now, send, events)
}

func (m machine) Stations() []station.Event { return m.stations.Stations() }
func (m machine) Seeded() []netip.Addr      { return m.stations.Seeded() }
