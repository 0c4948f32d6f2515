package edge

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/vxlan"
)

// TestDisplaced: an entry is named from when another's is in its place until it is written, or is not wanted any more.
func TestDisplaced(t *testing.T) {
	vtep, addr := netip.MustParseAddr("172.22.2.2"), netip.MustParseAddr("192.168.5.1")
	mac := vxlan.MAC{2, 5: 1}
	device := vxlan.Entry{IfIndex: 7, MAC: mac, VTEP: vtep}
	bridge := vxlan.Entry{IfIndex: 7, MAC: mac, Table: vxlan.TableBridge}
	neighbor := vxlan.Entry{IfIndex: 8, MAC: mac, Addr: addr, Table: vxlan.TableNeighbors}
	e := &Edge{}
	for _, test := range []struct {
		entry vxlan.Entry
		state vxlan.State
		want  []vxlan.Entry
	}{
		{device, vxlan.StatePending, nil},
		{device, vxlan.StateForeign, []vxlan.Entry{device}},
		{device, vxlan.StateForeign, []vxlan.Entry{device}},
		{bridge, vxlan.StateForeign, []vxlan.Entry{device, bridge}},
		{neighbor, vxlan.StateForeign, []vxlan.Entry{device, bridge, neighbor}},
		{device, vxlan.StateInstalled, []vxlan.Entry{bridge, neighbor}},
		{vxlan.Entry{IfIndex: 8, Addr: addr, Table: vxlan.TableNeighbors}, vxlan.StateRemoved, []vxlan.Entry{bridge}},
		{device, vxlan.StateForeign, []vxlan.Entry{device, bridge}},
		{vxlan.Entry{IfIndex: 7, MAC: mac}, vxlan.StateRemoved, []vxlan.Entry{bridge}},
		{bridge, vxlan.StateFailed, nil},
	} {
		e.displaced.take([]vxlan.Event{{Kind: vxlan.EventSynced}, {Kind: vxlan.EventEntry, Entry: test.entry, State: test.state}})
		if got := e.Displaced(); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%v %v: %v, want %v", test.entry, test.state, got, test.want)
		}
	}
	for i := range 100 {
		e.displaced.take([]vxlan.Event{{Kind: vxlan.EventEntry, Entry: vxlan.Entry{IfIndex: i + 1, MAC: mac, VTEP: vtep}, State: vxlan.StateForeign}})
	}
	if n := len(e.Displaced()); n != MostDisplaced {
		t.Errorf("%d are named", n)
	}
}
