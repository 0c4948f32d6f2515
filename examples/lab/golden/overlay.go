package golden

import (
	"slices"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Overlay returns the canonical lines of what EVPN has put into the overlay of hypervisor n: the flood list, where
// the guests of the others are, to the VXLAN device and to its bridge, and the MACs of all guests, of its own too,
// which the bridge answers ARP with.
func (x Expect) Overlay(n int) []string {
	var all []nl.Learned
	for m := 1; m <= plan.HVs; m++ {
		if m != n {
			all = append(all, nl.Learned{MAC: make([]byte, 6), VTEP: plan.Loopback(m)})
		}
		for _, g := range x.GuestsOf(m) {
			if m != n {
				all = append(all, nl.Learned{MAC: g.OverlayMAC(), VTEP: plan.Loopback(m)}, nl.Learned{MAC: g.OverlayMAC()})
			}
			all = append(all, nl.Learned{MAC: g.OverlayMAC(), Addr: g.Overlay().Addr()})
		}
	}
	return OverlayLines(all)
}

// OverlayLines brings entries to their canonical, sorted form.
func OverlayLines(all []nl.Learned) []string {
	out := make([]string, 0, len(all))
	for _, l := range all {
		switch {
		case l.Addr.IsValid():
			out = append(out, l.Addr.String()+" lladdr "+l.MAC.String())
		case l.VTEP.IsValid():
			out = append(out, l.MAC.String()+" dst "+l.VTEP.String())
		default:
			out = append(out, l.MAC.String()+" bridge")
		}
	}
	slices.Sort(out)
	return out
}
