package vxlan

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestRunContended: another program deletes an entry as soon as it is back, a third puts an entry
// of its own in the way. Repairs and attempts have a bound, a reader learns that it is
// contended, other entries are repaired at once, and in the end all is as wanted.
func TestRunContended(t *testing.T) {
	ns, f := host(t)
	other := opened(t, ns)
	link := ensure(t, f, vx100)
	a, b, m, x := addrOf("172.22.2.2"), addrOf("172.22.2.3"), macOf(t, "50:54:33:00:00:0f"), macOf(t, "50:54:33:00:00:10")
	f.SetFlood(link, []netip.Addr{a, b})
	f.SetMAC(link, m, a)
	f.SetMAC(link, x, a)
	flush(t, f, Result{Added: 4})
	w := f.Watch()
	defer w.Close()
	var mu sync.Mutex
	var writes uint64
	contended, foreign := 0, 0
	go func() {
		for e := range w.All(t.Context()) {
			mu.Lock()
			writes += e.Repairs
			contended += b2i(e.Contended && e.Repairs > 0)
			foreign += b2i(e.State == StateForeign && errors.Is(e.Err, ErrForeign))
			mu.Unlock()
		}
	}()
	bridge(ns, "fdb replace 50:54:33:00:00:10 dev vx100 dst 172.22.2.9") // his, in the place of ours
	start, attempts := time.Now(), 0
	for time.Since(start) < 2*time.Second {
		if failed, err := other.write([]write{{op: opDelete, Entry: Entry{IfIndex: link, VTEP: a}}, {op: opDelete, Entry: Entry{IfIndex: link, MAC: m, VTEP: a}}}); err != nil || len(failed) > 0 {
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
	if n < 20 || n > 2*15 || c < 1 || c > 2*6 || o < 1 || o > 8 {
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
