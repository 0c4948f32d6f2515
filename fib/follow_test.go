package fib

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
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
	got, _, _ := r.take(buf)
	for _, c := range buf[:got] {
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

// TestWatchRoutes: the life of a route as its watcher sees it.
func TestWatchRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		f, o := newModelFIB(Config{OnForeign: ForeignWait}, m)
		turn := func() {
			t.Helper()
			for {
				more, err := o.turn()
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					return
				}
			}
		}
		hops := func(gateways ...string) (list []NextHop) {
			for i, g := range gateways {
				list = append(list, NextHop{Gateway: netip.MustParseAddr(g), Link: 2 + i})
			}
			return list
		}
		one, two := key(90, "10.1.0.0/16", 0), key(90, "10.2.0.0/16", 0)
		set := func(k RouteKey, gateways ...string) func() {
			return func() { _ = f.SetRoute(Route{RouteKey: k, NextHops: hops(gateways...)}) }
		}
		foreign := func(what string) func() {
			s := stage{T: t, m: m}
			return func() { s.foreign(strings.Fields(what)) }
		}
		set(one, "10.0.0.2", "10.0.1.2")()
		r := follow(f, RouteFilter{Tables: []uint32{90}})
		steps := []struct {
			what string
			do   func()
			want string
		}{
			{"before Run", func() {}, "10.1.0.0/16 pending 0 of 2 absent"},
			{"start", func() { _ = o.sync(true) }, "10.1.0.0/16 installed 2 of 2"},
			{"a gateway dies", func() { f.GatewayDown(2, netip.MustParseAddr("10.0.0.2")) }, "10.1.0.0/16 partial 1 of 2"},
			{"and is back", func() { f.GatewayUp(2, netip.MustParseAddr("10.0.0.2")) }, "10.1.0.0/16 installed 2 of 2"},
			{"a link goes", func() { m.setLink(2, true, false) }, "10.1.0.0/16 partial 1 of 2"},
			{"the other, too", func() { m.setLink(3, false, false) }, "10.1.0.0/16 held 0 of 2 absent"},
			{"both are back", func() { m.setLink(2, true, true); m.setLink(3, true, true) }, "10.1.0.0/16 installed 2 of 2"},
			{"refused", func() { m.refuse[netip.MustParseAddr("10.0.0.9")] = true; set(two, "10.0.0.9")() },
				"10.2.0.0/16 failed absent: fib: add 10.2.0.0/16 table 90: network is unreachable"},
			{"both next hops of a group are refused", func() { m.refuse[netip.MustParseAddr("10.0.1.9")] = true; set(two, "10.0.0.9", "10.0.1.9")() },
				"10.2.0.0/16 failed 0 of 2 absent: fib: add 10.2.0.0/16 table 90: network is unreachable"},
			{"not any more", set(two, "10.0.0.3"), "10.2.0.0/16 installed"},
			{"replaced by one that is refused", set(two, "10.0.0.9"), "10.2.0.0/16 failed: fib: replace 10.2.0.0/16 table 90: network is unreachable"},
			{"taken back", set(two, "10.0.0.3"), "10.2.0.0/16 installed"},
			{"deleted", func() { f.DeleteRoute(two) }, "10.2.0.0/16 gone"},
			{"somebody else is there", func() { foreign("add 10.2.0.0/16 via 10.0.0.3 dev v0 proto 4")(); set(two, "10.0.0.3")() },
				"10.2.0.0/16 foreign absent: fib: add 10.2.0.0/16 table 90: foreign route under the same key"},
			{"and goes", foreign("del 10.2.0.0/16 via 10.0.0.3 dev v0 proto 4"), "10.2.0.0/16 installed"},
			{"another table", func() { _ = f.SetRoute(Route{RouteKey: key(91, "10.3.0.0/16", 0), Type: Blackhole}) }, ""},
		}
		for _, s := range steps {
			s.do()
			if s.what != "before Run" {
				turn()
			}
			lines := r.read(10)
			if len(lines) == 0 {
				lines = []string{""}
			}
			if got := lines[len(lines)-1]; got != s.want {
				t.Errorf("%s: %q, want %q", s.what, lines, s.want)
			}
		}
		// The kernel has lost it, and the owner has not had its turn yet.
		foreign("del 10.2.0.0/16 via 10.0.0.3 dev v0 proto 201")()
		if err := o.listenNow(); err != nil {
			t.Fatal(err)
		}
		f.lock()
		f.tell()
		f.unlock()
		if got := strings.Join(r.read(1), ""); got != "10.2.0.0/16 lost absent" {
			t.Error(got)
		}
		turn()
		if got := strings.Join(r.read(1), ""); got != "10.2.0.0/16 installed" {
			t.Error(got)
		}
		var e *Error
		m.refuse[netip.MustParseAddr("10.0.0.4")] = true
		set(two, "10.0.0.4")()
		turn()
		r.read(1)
		if err := r.rows[two].Err; !errors.As(err, &e) || !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("%v", err)
		}
	})
}

func TestWatchRoutesEnds(t *testing.T) {
	f, _ := newModelFIB(Config{}, newModel())
	w := f.WatchRoutes(RouteFilter{})
	buf := make([]RouteChange, 1)
	if n, synced, err := w.Next(t.Context(), buf); n != 0 || !synced || err != nil {
		t.Errorf("nothing is desired: %d, %v, %v", n, synced, err)
	}
	none, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Next(none, buf); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.Close()
	if _, _, err := w.Next(t.Context(), buf); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if len(f.followers) != 0 {
		t.Error("still followed")
	}
	_ = f.SetRoute(Route{RouteKey: key(90, "10.1.0.0/16", 0), Type: Blackhole})
	_ = f.SetRoute(Route{RouteKey: key(90, "10.2.0.0/16", 0), Type: Blackhole})
	w = f.WatchRoutes(RouteFilter{Accept: func(k RouteKey) bool { return k.Prefix.Addr().As4()[1] == 2 }})
	for c, err := range w.All(t.Context()) {
		if err != nil || c.State != RoutePending || c.Prefix.String() != "10.2.0.0/16" {
			t.Errorf("%v, %v", c, err)
		}
		break
	}
	f.Close()
	for c, err := range w.All(t.Context()) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%v, %v", c, err)
		}
	}
	if _, _, err := f.WatchRoutes(RouteFilter{}).Next(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
