package station

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/ether"
)

func next(t *testing.T, r *Reader, most int) (out []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = r.Next(ctx, most, func(e Event) { out = append(out, fmt.Sprint(e)) })
	return out, err
}

// TestReader: what a slow reader is handed, and how little is kept for it.
func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		mac := ether.MAC{2, 0, 0, 0, 0, 1}
		at := func(k EventKind, ip netip.Addr, link, old int) Event {
			return Event{Kind: k, IP: ip, IfIndex: link, MAC: mac, OldIfIndex: old, OldMAC: mac}
		}
		seen := func(ip netip.Addr, link int) Event { return Event{Kind: Seen, IP: ip, IfIndex: link, MAC: mac} }
		var mu sync.Mutex
		rs := &readers{mu: &mu}
		r := rs.add([]Event{seen(a, 1)}, nil)
		post := func(events ...Event) { mu.Lock(); rs.post(events); mu.Unlock() }
		want := func(what string, most int, lines ...string) {
			t.Helper()
			got, err := next(t, r, most)
			if !slices.Equal(got, lines) || (err != nil) != (len(lines) == 0) {
				t.Errorf("%s: %q, %v, want %q", what, got, err, lines)
			}
		}
		want("snapshot", 9, "seen 192.0.2.1 02:00:00:00:00:01 on link 1")
		want("nothing new", 9)
		post(at(Moved, a, 2, 1), seen(b, 3), at(Moved, b, 4, 3), at(Moved, a, 5, 2))
		want("two moves are one, and who was not handed out is seen where it is now", 9,
			"moved 192.0.2.1 02:00:00:00:00:01 from link 1 to link 5", "seen 192.0.2.2 02:00:00:00:00:01 on link 4")
		post(at(Conflict, a, 7, 5), at(Conflict, a, 8, 5), at(Gone, b, 4, 0), seen(b, 9))
		want("the last conflict, one at a time", 1, "conflict 192.0.2.1 of 02:00:00:00:00:01 on link 5, claimed by 02:00:00:00:00:01 on link 8")
		want("the last of an address", 1, "seen 192.0.2.2 02:00:00:00:00:01 on link 9")
		for i := range 10000 { // a guest that makes addresses up
			ip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			post(seen(ip, 1), at(Conflict, ip, 2, 1), at(Gone, ip, 1, 0))
		}
		if len(r.pending) != 0 || len(r.order) != 0 || len(r.known) != 2 {
			t.Errorf("%d events, %d addresses are kept", len(r.pending), len(r.known))
		}
		post(at(Gone, a, 5, 0))
		want("gone", 9, "gone 192.0.2.1 02:00:00:00:00:01 on link 5")
		mu.Lock()
		rs.seed(a)
		mu.Unlock()
		post(seen(a, 1), at(Gone, a, 1, 0))
		want("the user believed in it", 9, "gone 192.0.2.1 02:00:00:00:00:01 on link 1")
		if _, err := next(t, r, 0); err != nil {
			t.Errorf("no room: %v", err)
		}
		other := rs.add(nil, []netip.Addr{b})
		time.AfterFunc(time.Second/2, other.Close)
		if _, err := next(t, other, 1); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		post(seen(a, 1))
		mu.Lock()
		rs.close()
		mu.Unlock()
		want("before the end", 9, "seen 192.0.2.1 02:00:00:00:00:01 on link 1")
		for _, r := range []*Reader{r, rs.add(nil, nil)} {
			if _, err := next(t, r, 1); !errors.Is(err, ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
	})
}
