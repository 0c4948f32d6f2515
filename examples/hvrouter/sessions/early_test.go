package sessions

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
