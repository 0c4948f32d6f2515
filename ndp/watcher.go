package ndp

import (
	"context"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/station"
)

// Watcher drives a Tracker on a Conn. All methods are safe for concurrent use.
type Watcher struct {
	tracker *Tracker
	loop    *station.Loop[Packet]
}

// NewWatcher makes a Watcher without links on conn, which must receive neighbor
// solicitations and advertisements, and stays the caller's to close.
func NewWatcher(conn PacketConn, cfg WatchConfig) *Watcher {
	t := NewTracker(cfg)
	return &Watcher{t, station.NewLoop(conn, t, Batch)}
}

// AddLink watches link; see [Tracker.AddLink].
func (w *Watcher) AddLink(ifindex int, mac MAC, ip netip.Addr) error {
	return w.loop.Add(ifindex, func() { w.tracker.AddLink(ifindex, mac, ip) })
}

// RemoveLink stops watching link; Run reports its stations as Gone.
func (w *Watcher) RemoveLink(ifindex int) { w.loop.Remove(ifindex) }

// Seed says that somebody on link had ip when it was last heard of; see
// [Tracker.Seed].
func (w *Watcher) Seed(ifindex int, ip netip.Addr) {
	w.loop.Change(func() { w.tracker.Seed(time.Now(), ifindex, ip) })
}

// Run watches until ctx ends, and then returns nil: it reads packets, asks the
// questions, and calls report for every event, from its own goroutine, which report
// holds up. It returns early only if the Conn fails as a whole.
func (w *Watcher) Run(ctx context.Context, report func(WatchEvent)) error {
	return w.loop.Run(ctx, report)
}
