package lookup

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestExplainMAC: what the kernel's tables say of MACs of an overlay, and where that differs from what is wanted. Entries
// are made by bridge(8) and ip(8), and formatted as bridge(8) does.
func TestExplainMAC(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	ns := nstest.New(t, "fdb")
	ns.IP("link set lo up")
	for _, line := range []string{
		"link add br100 address 02:00:00:00:01:00 type bridge mcast_snooping 0", "link add vx100 address 02:00:00:00:01:01 type vxlan id 100 dstport 4789 local 127.0.0.1 nolearning", "link set vx100 master br100",
		"link add vm1.x address 02:00:00:00:01:02 type veth peer name vm1.y", "link set vm1.x master br100", "link add other type bridge",
		"neigh add 192.168.5.2 lladdr 02:00:00:00:00:02 dev br100 nud noarp extern_learn protocol 201",
		"neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev br100 nud noarp extern_learn protocol 201",
		"neigh add 192.168.5.3 lladdr 02:00:00:00:00:02 dev br100 nud permanent", "neigh add 192.168.5.9 lladdr 02:00:00:00:00:02 dev other nud permanent",
	} {
		ns.IP(line)
	}
	for _, name := range []string{"br100", "vx100", "vm1.x", "vm1.y"} {
		ns.IP("link set " + name + " up")
	}
	for _, line := range []string{
		"append 00:00:00:00:00:00 dev vx100 dst 172.22.2.2", "append 00:00:00:00:00:00 dev vx100 dst 172.22.2.3",
		"add 02:00:00:00:00:02 dev vx100 dst 172.22.2.2 self extern_learn static", "add 02:00:00:00:00:02 dev vx100 master extern_learn",
		"add 02:00:00:00:00:01 dev vm1.x master static sticky", "add 02:00:00:00:00:04 dev vx100 dst 172.22.2.4 self dynamic", "add 02:00:00:00:00:05 dev vm1.x master dynamic",
		"add 02:00:00:00:00:06 dev vx100 dst 172.22.2.2 self static extern_learn", "add 02:00:00:00:00:06 dev vm1.x master static",
	} {
		ns.Exec("bridge", append([]string{"fdb"}, strings.Fields(line)...)...)
	}
	path := ns.Path
	vtep := func(s string) *WantMAC { return &WantMAC{VTEP: netip.MustParseAddr(s)} }
	var printed []string
	for line := range strings.Lines(ns.Exec("bridge", "fdb", "show")) {
		printed = append(printed, strings.Join(strings.Fields(line), " "))
	}
	for _, test := range []struct {
		mac     string
		want    *WantMAC
		outcome string
		differs []string
	}{
		{"02:00:00:00:00:02", &WantMAC{VTEP: netip.MustParseAddr("172.22.2.2"), Neighbours: []netip.Addr{netip.MustParseAddr("192.168.5.2"), netip.MustParseAddr("2001:db8::2")}}, "go to vx100, vx100 sends them to VTEP 172.22.2.2", nil},
		{"02:00:00:00:00:02", nil, "go to vx100, vx100 sends them to VTEP 172.22.2.2", nil},
		{"02:00:00:00:00:02", &WantMAC{VTEP: netip.MustParseAddr("172.22.2.3"), Neighbours: []netip.Addr{netip.MustParseAddr("192.168.5.2"), netip.MustParseAddr("192.168.5.7")}}, "go to vx100, vx100 sends them to VTEP 172.22.2.2", []string{
			"vx100 sends frames for 02:00:00:00:00:02 to VTEP 172.22.2.2, want 172.22.2.3", "neighbour 192.168.5.7 on br100 is missing, want 02:00:00:00:00:02",
			"neighbour 2001:db8::2 on br100 is at 02:00:00:00:00:02, which nobody announces with it"}},
		{"02:00:00:00:00:02", &WantMAC{Neighbours: []netip.Addr{netip.MustParseAddr("192.168.5.2"), netip.MustParseAddr("2001:db8::2")}}, "", []string{
			"vx100 sends frames for 02:00:00:00:00:02 to VTEP 172.22.2.2, which does not announce it", "br100 has 02:00:00:00:00:02 at vx100, and no VTEP announces it"}},
		{"02:00:00:00:00:01", &WantMAC{Port: "vm1.x"}, "go to the port vm1.x of br100", nil},
		{"02:00:00:00:00:01", &WantMAC{Port: "vm9.x"}, "", []string{"br100 has 02:00:00:00:00:01 at vm1.x, want it at vm9.x"}},
		{"02:00:00:00:00:01", &WantMAC{Open: true}, "", nil},
		{"02:00:00:00:00:01", vtep("172.22.2.2"), "", []string{"vx100 has no entry for 02:00:00:00:00:01, want one to VTEP 172.22.2.2", "br100 has 02:00:00:00:00:01 at vm1.x, want it at vx100"}},
		{"02:00:00:00:00:01", &WantMAC{Port: "vm1.x", Neighbours: []netip.Addr{netip.MustParseAddr("192.168.5.2")}}, "", []string{"neighbour 192.168.5.2 on br100 is at 02:00:00:00:00:02, want 02:00:00:00:00:01"}},
		{"02:00:00:00:00:04", vtep("172.22.2.4"), "are flooded to all ports of br100; vx100 sends them to VTEP 172.22.2.4", []string{
			"the entry of vx100 for 02:00:00:00:00:04 is another program's, or was learned: it is not extern_learn, or ages", "br100 has no entry for 02:00:00:00:00:04, want one at vx100"}},
		{"02:00:00:00:00:05", &WantMAC{Port: "vm1.x"}, "", []string{"the entry of br100 for 02:00:00:00:00:05 is not static: it was learned, and ages"}},
		{"02:00:00:00:00:05", &WantMAC{}, "go to the port vm1.x of br100", nil},
		{"02:00:00:00:00:06", &WantMAC{Port: "vm1.x"}, "", []string{"vx100 sends frames for 02:00:00:00:00:06 to VTEP 172.22.2.2: the guest is here"}},
		{"02:00:00:00:00:07", &WantMAC{}, "are flooded to all ports of br100; vx100 floods them to 172.22.2.2, 172.22.2.3", nil},
		{"02:00:00:00:00:07", &WantMAC{Port: "vm1.x"}, "", []string{"br100 has no entry for 02:00:00:00:00:07, want one at vm1.x"}},
		{"02:00:00:00:01:02", &WantMAC{Port: "vm1.x"}, "", []string{"the entry of br100 for 02:00:00:00:01:02 is permanent: this host takes the frames in, want it static"}},
		{"00:00:00:00:00:00", &WantMAC{}, "", nil}, // the flood list
		{"ff:ff:ff:ff:ff:ff", &WantMAC{Foreign: []netip.Addr{netip.MustParseAddr("172.22.2.3"), netip.MustParseAddr("172.22.2.9")}}, "are flooded to all ports of br100; vx100 floods them to 172.22.2.2, 172.22.2.3",
			[]string{"vx100 floods frames for ff:ff:ff:ff:ff:ff to VTEP 172.22.2.3, which another program has put into the flood list"}},
		{"02:00:00:00:00:05", &WantMAC{Foreign: []netip.Addr{netip.MustParseAddr("172.22.2.3")}}, "go to the port vm1.x of br100", nil},
		{"02:00:00:00:01:02", nil, "are taken in by this host: it is the MAC of vm1.x", nil},
	} {
		mac, _ := net.ParseMAC(test.mac)
		r := AskMAC(path, Overlay{Device: "vx100", Bridge: "br100"}, mac, test.want, nil)
		if want := fmt.Sprintf("vx100: frames for %s %s", test.mac, test.outcome); r.Outcome != want && test.outcome != "" {
			t.Errorf("%s: %q, want %q", test.mac, r.Outcome, want)
		}
		if !slices.Equal(r.Differences, test.differs) {
			t.Errorf("%s, %+v: differences %q, want %q", test.mac, test.want, r.Differences, test.differs)
		}
		var as []string
		for _, line := range printed {
			if strings.HasPrefix(line, test.mac) {
				as = append(as, line)
			}
		}
		slices.Sort(as)
		if !slices.Equal(r.FDB, as) {
			t.Errorf("%s: entries\n%s\nbridge(8) has\n%s", test.mac, strings.Join(r.FDB, "\n"), strings.Join(as, "\n"))
		}
	}
	mac, _ := net.ParseMAC("02:00:00:00:00:02")
	r := AskMAC(path, Overlay{Device: "vx100", Bridge: "br100"}, mac, nil, nil)
	if want := []string{"192.168.5.2 dev br100 lladdr 02:00:00:00:00:02 noarp proto hvrouter", "192.168.5.3 dev br100 lladdr 02:00:00:00:00:02 permanent",
		"2001:db8::2 dev br100 lladdr 02:00:00:00:00:02 noarp proto hvrouter"}; !slices.Equal(r.Neighbours, want) {
		t.Errorf("neighbours %q, want %q", r.Neighbours, want)
	}
	ns.Exec("bridge", "fdb", "del", "00:00:00:00:00:00", "dev", "vx100", "dst", "172.22.2.2")
	ns.Exec("bridge", "fdb", "del", "00:00:00:00:00:00", "dev", "vx100", "dst", "172.22.2.3")
	mac[5] = 7
	if r := AskMAC(path, Overlay{Device: "vx100", Bridge: "br100"}, mac, nil, nil); !strings.HasSuffix(r.Outcome, "vx100 drops them: it has neither an entry nor a flood list") {
		t.Error(r.Outcome)
	}
	// Interfaces that are down, elsewhere, or not there.
	ns.IP("link set vx100 nomaster down")
	if r := AskMAC(path, Overlay{Device: "vx100", Bridge: "br100"}, mac, &WantMAC{}, nil); !slices.Equal(r.Differences, []string{"vx100 is no port of br100", "vx100 is down"}) || !strings.HasSuffix(r.Outcome, "are flooded to the ports of br100, of which vx100 is none") {
		t.Errorf("%+v", r)
	}
	if r := AskMAC(path, Overlay{Device: "vx100", Bridge: "br7"}, mac, &WantMAC{}, nil); !slices.Equal(r.Differences, []string{"there is no bridge br7", "vx100 is down"}) || !strings.HasSuffix(r.Outcome, "there is no bridge br7") {
		t.Errorf("%+v", r)
	}
	if r := AskMAC(path, Overlay{Device: "vx7", Bridge: "br100"}, mac, &WantMAC{}, nil); !slices.Equal(r.Differences, []string{"there is no interface vx7"}) {
		t.Errorf("%+v", r)
	}
	if r := AskMAC("/var/run/netns/no-such", Overlay{Device: "vx100", Bridge: "br100"}, mac, nil, nil); !strings.HasPrefix(r.Outcome, "vx100: not known: ") {
		t.Errorf("%+v", r)
	}
}
