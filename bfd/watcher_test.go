package bfd

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
)

// TestFailures: a reader of failures hears of each time that a path failed, once, and of
// nothing that was done on purpose.
func TestFailures(t *testing.T) {
	key := func(n byte) Key { return Key{Peer: netip.AddrFrom4([4]byte{192, 0, 2, n})} }
	var b board
	b.post(Event{Key: key(1), State: StateDown, Reason: ReasonExpired, Downs: 3}, nil)
	b.post(Event{Key: key(2), State: StateDown, Reason: ReasonRemoteAdminDown, Downs: 1}, nil)
	b.post(Event{Key: key(3), State: StateUp, Downs: 7}, nil)
	b.post(Event{Key: key(4), State: StateDown}, nil) // it is new
	b.post(Event{Key: key(5), State: StateDown, Reason: ReasonUnavailable}, nil)
	w := b.watch()
	var got []string
	want := func(when string, lines ...string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what is there is yielded all the same
		for e, err := range w.Failures(ctx) {
			if err != nil {
				if err != context.Canceled {
					t.Errorf("%s: %v", when, err)
				}
				break
			}
			got = append(got, fmt.Sprintf("%v %v %d", e.Peer, e.Reason, e.Downs))
		}
		if !slices.Equal(got, lines) {
			t.Errorf("%s: %q, want %q", when, got, lines)
		}
		got = nil
	}
	want("what failed before", "192.0.2.1 expired 3")

	// One reader sees all of this.
	posts := []Event{
		{Key: key(3), State: StateUp, Downs: 7},
		{Key: key(3), State: StateDown, Reason: ReasonNeighborDown, Downs: 8},
		{Key: key(3), State: StateDown, Reason: ReasonNeighborDown, Downs: 8, Failover: []FailoverResult{{ID: 1}}},
		{Key: key(3), State: StateUp, Downs: 8},
		{Key: key(3), State: StateDown, Reason: ReasonRemoteAdminDown, Downs: 9},
		{Key: key(3), State: StateUp, Downs: 9},
		{Key: key(3), State: StateDown, Reason: ReasonEchoFailed, Downs: 10},
		{Key: key(3), State: StateAdminDown, Reason: ReasonLocalAdminDown, Downs: 10, Removed: true},
		{Key: key(3), State: StateDown}, // another session of the same key
		{Key: key(3), State: StateUp},
		{Key: key(3), State: StateDown, Reason: ReasonUnavailable, Downs: 1},
	}
	go func() {
		for _, e := range posts {
			b.post(e, nil)
			for !b.read(w) {
				runtime.Gosched()
			}
		}
		b.close()
	}()
	for e, err := range w.Failures(t.Context()) {
		if err != nil {
			if err != ErrClosed {
				t.Error(err)
			}
			break
		}
		got = append(got, fmt.Sprintf("%v %v %d", e.Peer, e.Reason, e.Downs))
	}
	all := []string{"192.0.2.3 neighbor down 8", "192.0.2.3 echo failed 10", "192.0.2.3 unavailable 1"}
	if !slices.Equal(got, all) {
		t.Errorf("%q, want %q", got, all)
	}
}

// read reports whether a watcher has nothing to read any more.
func (b *board) read(w *Watcher) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(w.order) == 0
}
