package bgp

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"sync"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/internal/watch"
)

// Originate adds a local path, or replaces the one with the same prefix and path
// identifier; see [rib.Table.Originate]. It may be called before Run, and returns
// [ErrClosed] after it.
func (s *Speaker) Originate(p rib.LocalPath) error {
	if err := s.open("originate"); err != nil {
		return err
	}
	err := s.env.table.Originate(p)
	s.settle()
	return err
}

// Withdraw removes the local path with that prefix and path identifier. One that is not
// there is no error. It may be called before Run, and returns [ErrClosed] after it.
func (s *Speaker) Withdraw(prefix netip.Prefix, pathID uint32) error {
	if err := s.open("withdraw"); err != nil {
		return err
	}
	s.env.table.Withdraw(prefix, pathID)
	s.settle()
	return nil
}

// open returns ErrClosed, in words about what was to be done, once Run has ended.
func (s *Speaker) open(do string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return fmt.Errorf("bgp: %s: %w", do, err)
	}
	return nil
}

// WatchRoutes returns a reader of the best paths: first those that are there, then every
// change. Changes are coalesced, so that a slow reader sees the last state of each prefix.
// c.Notify is not used. It may be called before Run. Close it when it is no longer needed.
func (s *Speaker) WatchRoutes(c rib.WatchConfig) *RouteWatcher {
	w := &RouteWatcher{wake: make(chan struct{}, 1), closed: make(chan struct{}), ended: s.env.hub.ended}
	c.Notify = w.signal
	w.paths = s.env.table.Watch(c)
	return w
}

// RouteWatcher is a reader of the best paths of a speaker. It is safe for concurrent use.
type RouteWatcher struct {
	paths  *rib.Watcher    // of the speaker's table
	wake   chan struct{}   // there may be something to read
	ended  <-chan struct{} // Run has ended
	closed chan struct{}   // closed by Close
	once   sync.Once       // closes closed
}

func (w *RouteWatcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next waits for changes and fills buf with as many as it has room for; it reuses the room
// of their Paths. A Change of a prefix may say what the one before it said; one has Converged
// set and no prefix. Without room it does not wait.
//
// Next returns the error of ctx when that ends, and [ErrClosed] after Close, or once the
// speaker's Run has ended and all changes before that were returned.
func (w *RouteWatcher) Next(ctx context.Context, buf []rib.Change) (n int, err error) {
	for {
		over := done(w.ended) // asked first: what came before is still there to be read
		if done(w.closed) {
			return 0, ErrClosed
		}
		if n = w.paths.Next(buf); n > 0 || len(buf) == 0 {
			w.signal() // others wait, too, and there may be more
			return n, nil
		}
		if over {
			return 0, ErrClosed
		}
		select {
		case <-w.wake:
		case <-w.ended:
		case <-w.closed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func done(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// All iterates over the changes until ctx ends, Close is called or Run ends; the last pair
// has the error of [RouteWatcher.Next]. The Paths of a Change are valid until the next one.
func (w *RouteWatcher) All(ctx context.Context) iter.Seq2[rib.Change, error] {
	return watch.All(ctx, make([]rib.Change, 64), w.Next)
}

// Close ends the watch; a waiting Next returns [ErrClosed].
func (w *RouteWatcher) Close() {
	w.once.Do(func() { close(w.closed) })
	w.paths.Close()
}
