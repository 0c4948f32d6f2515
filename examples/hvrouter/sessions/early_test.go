package sessions

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// What BFD says of a path before the speaker runs is not lost: a restart does not wait for a peer
// that died meanwhile, and one whose path is back is waited for.
func TestPathDownEarly(t *testing.T) {
	for _, back := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := makeBed(t, twoFabrics, wire.IPv4Unicast)
			defer func() { b.stop() }()
			watch := peering.Watches(b.cfg)[0]
			b.all.PathDown(watch, true)
			if back {
				b.all.PathUp(watch)
			}
			time.Sleep(time.Second)
			b.run()
			b.reflect("B", "203.0.113.2/32")
			b.members["public"].InventoryComplete()
			b.after(3 * time.Second)
			if got := b.sink.of("public", "203.0.113.2/32"); (len(got) == 0) != back {
				t.Errorf("back %v: paths %v", back, got)
			}
			if text := b.log.String(); strings.Contains(text, "bgp-error") && strings.Contains(text, "does not run yet") {
				t.Errorf("back %v: %s", back, text)
			}
		})
	}
}

// The last word of a path stays: what was said before it is said only if it is being said already.
func TestEarlyKeepsTheLast(t *testing.T) {
	a, b := bgp.PeerKey{Addr: netip.MustParseAddr("192.0.2.1")}, bgp.PeerKey{Addr: netip.MustParseAddr("192.0.2.2")}
	var said []string
	say := func(k bgp.PeerKey, text string) pathNotice {
		return pathNotice{k, func() error { said = append(said, text); return nil }}
	}
	for _, test := range []struct {
		saying bool
		want   []string
	}{{false, []string{"b down", "a up"}}, {true, []string{"a down", "b down", "a up"}}} {
		e, said0 := early{}, len(said)
		e.add(say(a, "a down"))
		e.saying = test.saying
		e.add(say(b, "b down"))
		for range 3 {
			e.add(say(a, "a up"))
		}
		for _, n := range e.list {
			_ = n.say()
		}
		if got := said[said0:]; !slices.Equal(got, test.want) {
			t.Errorf("the first being said %v: %q, want %q", test.saying, got, test.want)
		}
	}
}
