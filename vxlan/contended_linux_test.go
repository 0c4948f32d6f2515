package vxlan

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestRunContended: somebody deletes an entry as soon as it is back, another puts an entry
// of his own in the way. Repairs and attempts have a bound, each is reported once at first and
// rarely later, other entries are repaired at once, and in the end all is as wanted.
func TestRunContended(t *testing.T) {
	ns, f := host(t)
	other, err := Open(Config{NetNS: ns.Path})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	link := ensure(t, f, vx100)
	a, b, m, x := addrOf("172.22.2.2"), addrOf("172.22.2.3"), macOf(t, "50:54:33:00:00:0f"), macOf(t, "50:54:33:00:00:10")
	f.SetFlood(link, []netip.Addr{a, b})
	f.SetMAC(link, m, a)
	f.SetMAC(link, x, a)
	flush(t, f, Result{Added: 4})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	var mu sync.Mutex
	writes, contended, foreign := 0, 0, 0
	go func() {
		done <- f.Run(ctx, func(r Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			writes += r.Writes()
			contended += b2i(errors.Is(err, ErrContended))
			foreign += b2i(errors.Is(err, ErrForeign))
		})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	nstest.Wait(t, time.Second, "Run to listen", func() bool { // to RTNLGRP_NEIGH
		return strings.Contains(ns.Exec("cat", "/proc/net/netlink"), " 00000004 ")
	})
	bridge(ns, "fdb replace 50:54:33:00:00:10 dev vx100 dst 172.22.2.9") // his, in the place of ours
	start, attempts := time.Now(), 0
	for time.Since(start) < 2*time.Second {
		if failed, err := other.write([]write{{opDelete, Entry{link, MAC{}, a}}, {opDelete, Entry{link, m, a}}}); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
		attempts++
		time.Sleep(5 * time.Millisecond)
	}
	mu.Lock()
	n, c, o := writes, contended, foreign
	mu.Unlock()
	t.Logf("%d attempts: %d writes, contended %d times, foreign %d times", attempts, n, c, o)
	// In two seconds: 10 at once, then after 0.1, 0.2, 0.4 and 0.8 s, of each of the two.
	if n < 20 || n > 2*15 || c < 1 || c > 2 || o < 1 || o > 8 {
		t.Errorf("%d writes, contended %d times, foreign %d times", n, c, o)
	}
	bridge(ns, "fdb del 00:00:00:00:00:00 dev vx100 dst 172.22.2.3")
	show := func(want string) func() bool {
		return func() bool { return strings.Contains(bridge(ns, "fdb show dev vx100"), want) }
	}
	nstest.Wait(t, time.Second, "what nobody fights for", show("00:00:00:00:00:00 dst 172.22.2.3"))
	nstest.Wait(t, 4*time.Second, "the flood list", show("00:00:00:00:00:00 dst 172.22.2.2"))
	nstest.Wait(t, 4*time.Second, "the entry", show("50:54:33:00:00:0f dst 172.22.2.2"))
	if !show("50:54:33:00:00:10 dst 172.22.2.9")() {
		t.Error("his entry is gone")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
