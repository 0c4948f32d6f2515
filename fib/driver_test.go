package fib_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/fib/fibtest"
)

// A FIB that is driven writes what is desired, repairs what others change, leaves everything at
// its end, and does the same in the same order each time.
func TestDriver(t *testing.T) {
	first := driven(t)
	if second := driven(t); first != second {
		t.Errorf("the same calls made\n%s\nand\n%s", first, second)
	}
	if !strings.Contains(first, "203.0.113.9/32") {
		t.Errorf("the kernel has\n%s", first)
	}
}

func driven(t *testing.T) string {
	k := fibtest.NewKernel()
	v0 := k.AddLink("v0", netip.MustParsePrefix("10.0.0.1/24"))
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	f, err := fib.New(fib.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := fibtest.WithKernel(t.Context(), "", k)
	d, err := f.Drive(ctx, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Drive(ctx, time.Now); !errors.Is(err, fib.ErrRunning) {
		t.Errorf("driven twice: %v", err)
	}
	steps := func() {
		for more := true; more; {
			if more, err = d.Step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	steps()
	hops := []fib.NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: v0}, {Gateway: netip.MustParseAddr("10.0.0.3"), IfIndex: v0}}
	keys := []fib.RouteKey{{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.9/32")}, {Table: 90, Prefix: netip.MustParsePrefix("203.0.113.10/32")}}
	for _, key := range keys {
		if err := f.SetRoute(fib.Route{RouteKey: key, NextHops: hops}); err != nil {
			t.Fatal(err)
		}
	}
	if !d.Pending() {
		t.Error("there is nothing to do")
	}
	steps()
	if d.Pending() || len(k.Routes()) != 2 {
		t.Errorf("pending %v, %d routes", d.Pending(), len(k.Routes()))
	}
	w := f.Watch(fib.WatchOptions{})
	for _, key := range keys { // another program
		if err := k.DeleteRoute(key); err != nil {
			t.Fatal(err)
		}
	}
	steps()
	if n := len(k.Routes()); n != 2 {
		t.Errorf("%d routes after the repair", n)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	buf := make([]fib.Event, 100)
	n, err := w.Next(done, buf)
	repaired := 0
	for _, e := range buf[:n] {
		if e.Kind == fib.EventRepair {
			repaired++
		}
	}
	if err != nil || repaired != 2 {
		t.Errorf("%d events of repairs, %v", repaired, err)
	}
	if n, err := w.Next(done, buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("then %d events, %v", n, err)
	}
	if at := d.Deadline(); !at.After(now) {
		t.Errorf("the deadline is %v", at)
	}
	d.Stop()
	d.Stop()
	if _, err := d.Step(); !errors.Is(err, fib.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if err := f.DeleteRoute(keys[0]); !errors.Is(err, fib.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if n := len(k.Routes()); n != 2 {
		t.Errorf("%d routes after the end", n)
	}
	return k.String()
}
