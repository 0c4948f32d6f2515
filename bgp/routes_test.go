package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
)

// A reader of routes has what is there, waits for what comes, and is told of every end:
// its ctx, its Close, the end of Run.
func TestRouteWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{})
		prefix := func(n int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n)}), 16) }
		if err := a.Originate(rib.LocalPath{Prefix: prefix(1)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w := b.WatchRoutes(rib.WatchConfig{})
		var got []string
		next := func() error {
			buf := make([]rib.Change, 4)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			n, err := w.Next(ctx, buf)
			for _, c := range buf[:n] {
				if c.Converged {
					got = append(got, "converged")
					continue
				}
				got = append(got, fmt.Sprintf("%v %d", c.Prefix, len(c.Paths)))
			}
			return err
		}
		want := func(when string, lines ...string) {
			t.Helper()
			for len(got) < len(lines) && next() == nil {
			}
			if !slices.Equal(got, lines) {
				t.Errorf("%s: %q, want %q", when, got, lines)
			}
			got = nil
		}
		want("snapshot", "10.1.0.0/16 1", "converged")
		if err := next(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing new: %v", err)
		}
		time.AfterFunc(100*time.Millisecond, func() { _ = a.Originate(rib.LocalPath{Prefix: prefix(2)}) })
		want("one more", "10.2.0.0/16 1")
		if err := a.Withdraw(prefix(2), 0); err != nil {
			t.Error(err)
		}
		if err := a.Withdraw(prefix(3), 0); err != nil {
			t.Errorf("one that is not there: %v", err)
		}
		want("one less", "10.2.0.0/16 0")

		other := b.WatchRoutes(rib.WatchConfig{})
		time.AfterFunc(100*time.Millisecond, other.Close)
		n := 0
		for _, err := range other.All(t.Context()) {
			if n++; n == 3 && !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if n != 3 { // a prefix, the convergence, the end
			t.Errorf("%d turns", n)
		}
		other.Close()

		time.AfterFunc(100*time.Millisecond, b.kill)
		for err := error(nil); !errors.Is(err, ErrClosed); {
			if err = next(); err != nil && !errors.Is(err, ErrClosed) {
				t.Fatalf("at the end of Run: %v", err)
			}
		}
		if err := b.Originate(rib.LocalPath{Prefix: prefix(4)}); !errors.Is(err, ErrClosed) {
			t.Errorf("Originate after Run: %v", err)
		}
		if err := b.Withdraw(prefix(4), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("Withdraw after Run: %v", err)
		}
		if _, err := b.WatchRoutes(rib.WatchConfig{Families: 0}).Next(t.Context(), nil); err != nil {
			t.Errorf("no room: %v", err)
		}
	})
}
