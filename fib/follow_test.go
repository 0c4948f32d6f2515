package fib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
)

// follower is a reader of a RouteWatcher that keeps what it was told.
type follower struct {
	*RouteWatcher
	rows map[RouteKey]RouteStatus
}

func follow(f *FIB, filter RouteFilter) *follower {
	return &follower{f.WatchRoutes(filter), map[RouteKey]RouteStatus{}}
}

// read takes up to n changes in, and describes them.
func (r *follower) read(n int) (lines []string) {
	buf := make([]RouteChange, n)
	got, _ := r.take(buf)
	for _, c := range buf[:got] {
		if c.Synced {
			continue
		}
		if c.Gone {
			delete(r.rows, c.RouteKey)
			lines = append(lines, fmt.Sprintf("%v gone", c.Prefix))
			continue
		}
		r.rows[c.RouteKey] = c.RouteStatus
		s := fmt.Sprintf("%v %v", c.Prefix, c.State)
		if len(c.NextHops) > 1 {
			s += fmt.Sprintf(" %d of %d", c.Active, len(c.NextHops))
		}
		if !c.Present {
			s += " absent"
		}
		if c.Err != nil {
			s += ": " + c.Err.Error()
		}
		lines = append(lines, s)
	}
	return lines
}

func (s RouteStatus) line() string {
	err := ""
	if s.Err != nil {
		err = s.Err.Error()
	}
	return fmt.Sprintf("%v %v %v present %v active %d id %d err %q", s.RouteKey, s.NextHops, s.State, s.Present, s.Active, s.NextHopID, err)
}

// compare returns how what the reader knows differs from what the FIB says.
func (r *follower) compare(f *FIB) error {
	for n := 1; n > 0; n = len(r.read(7)) {
	}
	rows := maps.Clone(r.rows)
	for s := range f.Routes() {
		if known, ok := rows[s.RouteKey]; !ok || known.line() != s.line() {
			return fmt.Errorf("the watcher of routes knows\n  %s\nbut it is\n  %s", known.line(), s.line())
		}
		delete(rows, s.RouteKey)
	}
	for k := range rows {
		return fmt.Errorf("the watcher of routes has not heard that %v is gone", k)
	}
	return nil
}

func TestWatchRoutesEnds(t *testing.T) {
	f := newFakeFIB(Config{}, newFake())
	w := f.WatchRoutes(RouteFilter{})
	buf := make([]RouteChange, 1)
	if n, err := w.Next(t.Context(), buf); n != 1 || !buf[0].Synced || err != nil {
		t.Errorf("nothing is desired: %d, %v, %v", n, buf, err)
	}
	none, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Next(none, buf); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.Close()
	if _, err := w.Next(t.Context(), buf); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if len(f.followers) != 0 {
		t.Error("still followed")
	}
	_ = f.SetRoute(Route{RouteKey: key(90, "10.1.0.0/16", 0), Type: RouteBlackhole})
	_ = f.SetRoute(Route{RouteKey: key(90, "10.2.0.0/16", 0), Type: RouteBlackhole})
	w = f.WatchRoutes(RouteFilter{Accept: func(k RouteKey) bool { return k.Prefix.Addr().As4()[1] == 2 }})
	for c, err := range w.All(t.Context()) {
		if err != nil || c.State != StatePending || c.Prefix.String() != "10.2.0.0/16" {
			t.Errorf("%v, %v", c, err)
		}
		break
	}
	f.end()
	for c, err := range w.All(t.Context()) {
		if !errors.Is(err, ErrClosed) && !c.Synced {
			t.Errorf("%v, %v", c, err)
		}
	}
	w = f.WatchRoutes(RouteFilter{}) // what is known can still be read
	n := 0
	for _, err := range w.All(t.Context()) {
		if n++; err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if n != 4 { // two routes, Synced, ErrClosed
		t.Errorf("%d pairs after the end", n)
	}
}
