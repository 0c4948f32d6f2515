package fib

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
)

// TestBeforeRun: what is desired before Run is written by it, and watchers and learners that
// are older than Run get the state when it is there.
func TestBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake()
		f := newFakeFIB(Config{}, m)
		if err := f.SetRoute(Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: []NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: 2}}}); err != nil {
			t.Fatal(err)
		}
		early, routes, learner := f.Watch(WatchOptions{}), f.WatchRoutes(RouteFilter{}), f.Learn(Filter{Tables: []uint32{90}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(kernel.With(ctx, "", m)) }()
		if err := f.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := m.state(); len(got) != 1 {
			t.Errorf("the kernel has %q", got)
		}
		late := f.Watch(WatchOptions{})
		for what, w := range map[string]*Watcher{"before Run": early, "later": late} {
			links, addresses := 0, 0
			for e, err := range w.All(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Kind == EventSynced {
					break
				}
				switch e.Kind {
				case EventLink:
					links++
				case EventAddress:
					addresses++
				}
			}
			if links != 4 || addresses != 9 {
				t.Errorf("a watcher made %s: %d interfaces, %d addresses", what, links, addresses)
			}
		}
		for c, err := range learner.All(ctx) {
			if err != nil || !c.Synced {
				t.Errorf("learned %+v, %v", c, err)
			}
			break
		}
		var last RouteChange
		for c, err := range routes.All(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Synced {
				break
			}
			last = c
		}
		if last.State != StateInstalled {
			t.Errorf("status %v", last)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{"DeleteRoute": f.DeleteRoute(key(90, "10.1.0.0/16", 0)), "SetRoute": f.SetRoute(Route{}), "Flush": f.Flush(t.Context()), "Run": f.Run(t.Context())} {
			if err != ErrClosed {
				t.Errorf("%s after the end: %v", what, err)
			}
		}
	})
}

// TestNextEnded: with a ctx that has ended, Next returns everything that there is, in pieces of
// whatever size, and then ctx's error: a caller that does not wait misses nothing, and sees
// nothing twice.
func TestNextEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake()
		f := newFakeFIB(Config{}, m)
		for i := range 20 {
			r := Route{RouteKey: key(90, fmt.Sprintf("10.1.%d.0/24", i), 0), NextHops: []NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: 2}}}
			if err := f.SetRoute(r); err != nil {
				t.Fatal(err)
			}
		}
		ended, end := context.WithCancel(t.Context())
		end()
		w, routes, learner := f.Watch(WatchOptions{}), f.WatchRoutes(RouteFilter{}), f.Learn(Filter{Tables: []uint32{90}})
		if n, err := w.Next(ended, make([]Event, 3)); n != 0 || err != context.Canceled {
			t.Errorf("before Run: %d events, %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(kernel.With(ctx, "", m)) }()
		if err := f.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		events := readEnded(t, ended, w.Next)
		if n := len(events); n < 14 || events[n-1].Kind != EventSynced && !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == EventSynced }) {
			t.Errorf("%d events", n)
		}
		prefixes := map[netip.Prefix]int{}
		for _, c := range readEnded(t, ended, routes.Next) {
			prefixes[c.Prefix]++
		}
		if len(prefixes) != 21 { // with that of Synced
			t.Errorf("routes: %v", prefixes)
		}
		for p, n := range prefixes {
			if n != 1 {
				t.Errorf("%v came %d times", p, n)
			}
		}
		if learned := readEnded(t, ended, learner.Next); len(learned) != 1 || !learned[0].Synced {
			t.Errorf("learned: %v", learned)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := routes.Next(ended, make([]RouteChange, 1)); err != ErrClosed {
			t.Errorf("after the end: %v", err)
		}
	})
}

// readEnded reads a watcher with a ctx that has ended until that is its error.
func readEnded[T any](t *testing.T, ended context.Context, next func(context.Context, []T) (int, error)) (all []T) {
	t.Helper()
	for size := 1; ; size = size%7 + 1 {
		buf := make([]T, size)
		n, err := next(ended, buf)
		if all = append(all, buf[:n]...); err != nil {
			if err != context.Canceled || n != 0 {
				t.Errorf("%d with %v", n, err)
			}
			return all
		}
	}
}

// TestErrInUse: what keeps Run from opening its sockets ends the FIB, and who waits for it.
func TestErrInUse(t *testing.T) {
	f := newFakeFIB(Config{}, newFake())
	ctx := kernel.With(t.Context(), "", opener(func(string, ...uint8) (kernel.Handles, error) { return kernel.Handles{}, ErrInUse }))
	w := f.Watch(WatchOptions{})
	if err := f.Run(ctx); !errors.Is(err, ErrInUse) {
		t.Errorf("Run: %v", err)
	}
	if _, err := w.Next(t.Context(), make([]Event, 1)); err != ErrClosed {
		t.Errorf("Next: %v", err)
	}
	if err := f.Flush(t.Context()); err != ErrClosed {
		t.Errorf("Flush: %v", err)
	}
}

// TestDeleteInvalid: what could not have been set cannot be deleted.
func TestDeleteInvalid(t *testing.T) {
	f := newFakeFIB(Config{Tables: []uint32{90}}, newFake())
	for what, err := range map[string]error{
		"route": f.DeleteRoute(RouteKey{Table: 90}), "rule": f.DeleteRule(Rule{}), "address": f.DeleteAddress(Address{}), "neighbour": f.DeleteNeighbor(Neighbor{}), "sysctl": f.DeleteSysctl("kernel/hostname"),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := f.DeleteRoute(key(91, "10.0.0.0/8", 0)); !errors.Is(err, ErrTable) {
		t.Error(err)
	}
	if err := f.DeleteRoute(key(90, "10.0.0.0/8", 0)); err != nil { // not desired: nothing to do
		t.Error(err)
	}
}

// TestEventsCoalesce: a slow reader gets the newest event of each interface, in the place of
// the first, and room in the buffer for what does not coalesce.
func TestEventsCoalesce(t *testing.T) {
	f := newFakeFIB(Config{}, newFake())
	w := f.Watch(WatchOptions{Buffer: 1})
	link := func(i int, up bool) Event {
		return Event{Kind: EventLink, Link: Link{IfIndex: i, AdminUp: up, Carrier: up}}
	}
	w.add(link(2, true))
	w.add(link(3, true))
	w.add(Event{Kind: EventRepair})
	w.add(Event{Kind: EventRepair}) // has no room
	w.add(link(2, false))
	buf := make([]Event, 1)
	next := func() Event {
		t.Helper()
		if n, err := w.Next(t.Context(), buf); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		return buf[0]
	}
	if e := next(); e.Link.IfIndex != 2 || e.Link.AdminUp {
		t.Errorf("%+v", e)
	}
	w.add(link(2, true)) // it was taken: another event
	for i, want := range []EventKind{EventLink, EventRepair, EventLink, EventLost} {
		if e := next(); e.Kind != want || want == EventLost && e.Count != 1 {
			t.Errorf("%d: %+v", i, e)
		}
	}
}
