package netns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/fib"
)

// Another program deletes 2,000 routes at once, three times: each is counted, and the log has a
// bounded number of lines, one of which says so.
func TestRepairsAreFolded(t *testing.T) {
	b, _ := newBed(t, "hv1.yaml")
	now := time.Unix(1000, 0)
	for range 3 {
		for i := range 2000 {
			key := fib.RouteKey{Table: 90, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)}
			b.Repaired(fib.Event{Kind: fib.EventRepair, Op: "add", Key: key}, now)
		}
		now = now.Add(time.Second)
	}
	b.Repaired(fib.Event{Kind: fib.EventContended, Key: fib.Sysctl{Path: "net/ipv4/ip_forward"}}, now.Add(time.Minute))
	events := map[string]int{}
	for _, e := range b.log.take() {
		events[e]++
	}
	if got := fmt.Sprint(events); got != "map[contended:1 repair:54 repairs-folded:3]" {
		t.Errorf("events: %s", got)
	}
	repairs, contended := b.Repairs()
	if repairs["route"] != 6000 || contended["sysctl"] != 1 {
		t.Errorf("repairs %v, contended %v", repairs, contended)
	}
}

// Each kind of key that the kernel's events have is counted by a name of its own.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range []fib.Key{fib.RouteKey{}, fib.Rule{}, fib.NextHopID(1), fib.Neighbor{}, fib.Address{}, fib.Sysctl{}} {
		if name := kindOf(k); name == "other" || seen[name] {
			t.Errorf("%T: %s", k, name)
		} else {
			seen[name] = true
		}
	}
}
