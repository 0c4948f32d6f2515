package lookup

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestExplainAddress: which MAC the bridge's neighbours have for an address, and where that differs from what is wanted.
func TestExplainAddress(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	ns := nstest.New(t, "address")
	for _, line := range []string{"link add br100 type bridge", "link set br100 up", "neigh add 192.168.5.2 lladdr 02:00:00:00:00:02 dev br100 nud noarp extern_learn protocol 201",
		"neigh add 2001:db8::3 lladdr 02:00:00:00:00:03 dev br100 nud permanent", "neigh add 192.168.5.4 dev br100 nud failed"} {
		ns.IP(line)
	}
	two, three := net.HardwareAddr{2, 0, 0, 0, 0, 2}, net.HardwareAddr{2, 0, 0, 0, 0, 3}
	for _, test := range []struct {
		addr    string
		want    *WantAddress
		outcome string
		mac     string
		differs []string
	}{
		{"192.168.5.2", nil, "vx100: 192.168.5.2 is at 02:00:00:00:00:02 by the neighbours of br100", "02:00:00:00:00:02", nil},
		{"192.168.5.2", &WantAddress{two}, "vx100: 192.168.5.2 is at 02:00:00:00:00:02 by the neighbours of br100", "02:00:00:00:00:02", nil},
		{"192.168.5.2", &WantAddress{three}, "vx100: 192.168.5.2 is at 02:00:00:00:00:02 by the neighbours of br100", "02:00:00:00:00:02", []string{"neighbour 192.168.5.2 on br100 is at 02:00:00:00:00:02, want 02:00:00:00:00:03"}},
		{"192.168.5.2", &WantAddress{}, "vx100: 192.168.5.2 is at 02:00:00:00:00:02 by the neighbours of br100", "02:00:00:00:00:02", []string{"neighbour 192.168.5.2 on br100 is at 02:00:00:00:00:02, which nobody announces with it"}},
		{"2001:db8::3", &WantAddress{}, "vx100: 2001:db8::3 is at 02:00:00:00:00:03 by the neighbours of br100", "02:00:00:00:00:03", nil}, // another program's
		{"192.168.5.4", &WantAddress{two}, "vx100: br100 has no MAC for 192.168.5.4: its neighbour is failed", "", []string{"neighbour 192.168.5.4 on br100 is failed, want 02:00:00:00:00:02"}},
		{"192.168.5.9", nil, "vx100: br100 has no neighbour 192.168.5.9: ARP and neighbour discovery for it are flooded", "", nil},
		{"192.168.5.9", &WantAddress{two}, "vx100: br100 has no neighbour 192.168.5.9: ARP and neighbour discovery for it are flooded", "", []string{"neighbour 192.168.5.9 on br100 is missing, want 02:00:00:00:00:02"}},
	} {
		r := AskAddress(ns.Path, Overlay{Device: "vx100", Bridge: "br100"}, netip.MustParseAddr(test.addr), test.want)
		if r.Outcome != test.outcome || r.MAC != test.mac || !slices.Equal(r.Differences, test.differs) || len(r.Unread) > 0 || (r.MAC != "") && r.Neighbour == "" {
			t.Errorf("%s, %v: %+v", test.addr, test.want, r)
		}
	}
	if r := AskAddress(ns.Path, Overlay{Device: "vx7", Bridge: "br7"}, netip.MustParseAddr("192.168.5.2"), &WantAddress{two}); r.Outcome != "vx7: 192.168.5.2 is nobody's: there is no bridge br7" || len(r.Differences) != 1 {
		t.Errorf("no bridge: %+v", r)
	}
}
