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

// TestSlowReader: what a reader that was busy is handed, and how little is kept for it.
func TestSlowReader(t *testing.T) {
	k := Key{Peer: netip.MustParseAddr("192.0.2.1")}
	down := func(r Reason, downs uint64) Event { return Event{Key: k, State: StateDown, Reason: r, Downs: downs} }
	state := func(s State, downs uint64) Event { return Event{Key: k, State: s, Downs: downs} }
	for name, posts := range map[string][]Event{
		"gone by Init":             {down(ReasonExpired, 1), state(StateInit, 1), down(ReasonRemoteAdminDown, 1)},
		"gone by an AdminDown":     {down(ReasonExpired, 1), state(StateUp, 1), down(ReasonRemoteAdminDown, 2), state(StateUp, 2)},
		"after an AdminDown":       {down(ReasonRemoteAdminDown, 1), state(StateUp, 1), down(ReasonExpired, 2), state(StateInit, 2), state(StateUp, 2)},
		"the last of two":          {down(ReasonExpired, 1), state(StateUp, 1), down(ReasonExpired, 2), state(StateUp, 2)},
		"with the failover's word": {down(ReasonExpired, 1), {Key: k, State: StateDown, Reason: ReasonExpired, Downs: 1, Failover: []FailoverResult{{ID: 1}}}},
	} {
		var b board
		b.post(state(StateUp, 0), nil)
		w := b.watch()
		if n, err := w.Next(t.Context(), make([]Event, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for _, e := range posts {
			b.post(e, nil)
		}
		b.close()
		var failures []string
		for e, err := range w.Failures(t.Context()) {
			if err == nil {
				failures = append(failures, e.Reason.String())
			}
		}
		if !slices.Equal(failures, []string{"expired"}) {
			t.Errorf("%s: %q", name, failures)
		}
	}

	var b board
	w := b.watch()
	for i := range 100000 {
		e := Event{Key: Key{Peer: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}, State: StateDown}
		b.post(e, nil)
		e.Removed = true
		b.post(e, nil)
	}
	if len(w.todo) != 0 || len(w.seen) != 0 || len(w.order) > 65 {
		t.Errorf("of sessions that are gone %d events, %d counts and %d keys are kept", len(w.todo), len(w.seen), len(w.order))
	}
	ended := make(chan error, 4)
	for range cap(ended) {
		go func() {
			_, err := w.Next(t.Context(), make([]Event, 1))
			ended <- err
		}()
	}
	w.Close()
	for range cap(ended) {
		if err := <-ended; err != ErrClosed {
			t.Error(err)
		}
	}
}

// TestNextDoesNotWait: with a context that has ended Next returns what there is, and else the
// context's error; and ErrClosed once the service has ended.
func TestNextDoesNotWait(t *testing.T) {
	for range 200 { // select takes one of two at random
		var b board
		b.post(Event{Key: Key{Peer: netip.MustParseAddr("192.0.2.2")}}, nil)
		b.post(Event{Key: Key{Peer: netip.MustParseAddr("192.0.2.1")}}, nil)
		w := b.watch()
		var peers []string
		buf := make([]Event, 1)
		for n, err := w.Next(done, buf); err != context.Canceled; n, err = w.Next(done, buf) {
			if n != 1 || err != nil {
				t.Fatal(n, err)
			}
			peers = append(peers, buf[0].Peer.String())
		}
		if !slices.Equal(peers, []string{"192.0.2.1", "192.0.2.2"}) {
			t.Fatal(peers)
		}
		b.post(Event{Key: Key{Peer: netip.MustParseAddr("192.0.2.3")}}, nil)
		b.close()
		if n, err := w.Next(done, buf); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := w.Next(done, buf); n != 0 || err != ErrClosed {
			t.Fatal(n, err)
		}
	}
}

// TestServersNextDoesNotWait is that of servers with and without a thread.
func TestServersNextDoesNotWait(t *testing.T) {
	threaded, err := NewServer(Config{})
	if err != nil {
		t.Fatal(err)
	}
	driven, err := NewDrivenServer(newWire(1).node("a", "192.0.2.1").config())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []interface {
		Add(SessionConfig) error
		Watch() *Watcher
	}{threaded, driven} {
		w := s.Watch()
		buf := make([]Event, 2)
		if n, err := w.Next(done, buf); n != 0 || err != context.Canceled {
			t.Error(n, err)
		}
		if err := s.Add(SessionConfig{Key: Key{Peer: netip.MustParseAddr("192.0.2.2"), Interface: "none"}}); err != nil {
			t.Fatal(err)
		}
		if n, err := w.Next(done, buf); n != 1 || err != nil || buf[0].State != StateDown {
			t.Error(n, err, buf)
		}
		if n, err := w.Next(done, buf); n != 0 || err != context.Canceled {
			t.Error(n, err)
		}
	}
}
