package ndp

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestWatchLinux has a Linux guest add addresses, one with duplicate address detection
// after which it says nothing, one without; it takes one away, and its link goes.
func TestWatchLinux(t *testing.T) {
	w := newWire(t)
	w.guest.Sysctl("net/ipv6/conf/eth0/accept_dad", "1")
	w.host.IP("addr add fe80::1/64 dev vm1 nodad")
	w.up(t)
	conn := listen(t, w.host, TypeNeighborSolicitation, TypeNeighborAdvertisement)
	watcher := NewMonitor(conn, WatchConfig{Idle: time.Second, ProbeInterval: 300 * time.Millisecond})
	var mu sync.Mutex
	last := map[netip.Addr]EventKind{}
	events := watcher.Watch()
	go func() {
		for e, err := range events.All(context.Background()) {
			if err != nil {
				return
			}
			mu.Lock()
			if e.MAC != guestMAC || e.IfIndex != w.link {
				t.Errorf("%v", e)
			}
			last[e.IP] = e.Kind
			mu.Unlock()
		}
	}()
	runLoop(t, watcher.Run)
	if err := watcher.AddLink(w.link, w.router, gateway); err != nil {
		t.Fatal(err)
	}
	is := func(text string, kind EventKind) {
		t.Helper()
		nstest.Wait(t, 15*time.Second, text+" "+kind.String(), func() bool {
			mu.Lock()
			defer mu.Unlock()
			k, ok := last[netip.MustParseAddr(text)]
			return ok && k == kind
		})
	}
	w.guest.IP("addr add 2001:db8:cb00:7100::7/64 dev eth0")
	is("2001:db8:cb00:7100::7", EventSeen)
	w.guest.IP("addr add 2001:db8:cb00:7100::9/64 dev eth0 nodad")
	_ = w.guest.Command("ping", "-c1", "-W1", "-I", "2001:db8:cb00:7100::9", "2001:db8:cb00:7100::ff").Run() // asks for its neighbour
	is("2001:db8:cb00:7100::9", EventSeen)
	time.Sleep(3 * time.Second) // several rounds of questions, which Linux answers
	is("2001:db8:cb00:7100::7", EventSeen)
	w.guest.IP("addr del 2001:db8:cb00:7100::7/64 dev eth0")
	is("2001:db8:cb00:7100::7", EventGone)
	watcher.RemoveLink(w.link)
	is("2001:db8:cb00:7100::9", EventGone)
}
