package daemon

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
)

// What the kernel has and what was found make one entry an address, with who it belongs
// to and who else wants it.
func TestNeighbours(t *testing.T) {
	b := tapBench(t)
	b.link(20, "tap0")
	b.link(21, "tap1")
	b.onSightings([]eg.Sighting{sighting(arp.EventSeen, 20, "203.0.113.50", 1), sighting(arp.EventConflict, 21, "203.0.113.50", 9)})
	b.findings.Seed(netip.MustParseAddr("203.0.113.51"), 21, time.Now())
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	all := neighboursAt(b.router, b.home(), []netns.Neighbour{
		{IfIndex: 20, Addr: netip.MustParseAddr("203.0.113.50"), MAC: mac, State: "reachable"},
		{IfIndex: 10, Addr: netip.MustParseAddr("198.51.100.126"), State: "failed", Router: true},
		{IfIndex: 99, Addr: netip.MustParseAddr("192.0.2.1"), MAC: mac, State: "0x100"},
	})
	got := map[string]string{}
	for _, n := range all {
		text := n.Interface + " " + n.MAC + " " + n.Kernel + " " + n.Found + " " + n.Guest
		if n.Announced {
			text += " announced"
		}
		if n.Router {
			text += " router"
		}
		if n.Conflict != nil {
			text += " conflict " + n.Conflict.MAC + " " + n.Conflict.Interface
		}
		got[n.Address.String()] = text
	}
	for addr, want := range map[string]string{
		"203.0.113.50":   "tap0 02:00:00:00:00:01 reachable seen tap0 announced conflict 02:00:00:00:00:09 tap1",
		"203.0.113.51":   "tap1   presumed tap1",
		"198.51.100.126": "a.public  failed   router",
		"192.0.2.1":      "if99 02:00:00:00:00:01 0x100  ",
	} {
		if got[addr] != want {
			t.Errorf("%s: got %q, want %q", addr, got[addr], want)
		}
	}
	if len(all) != 4 {
		t.Errorf("%d entries", len(all))
	}
}
