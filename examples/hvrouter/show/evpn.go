package show

import (
	"slices"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
)

// EVPN shows the routes of the overlays, which it sorts.
func EVPN(list []overlay.Listed) []api.EVPN {
	slices.SortFunc(list, overlay.Listed.Compare)
	return EVPNRoutes(list)
}

// EVPNRoutes shows routes in their order.
func EVPNRoutes(list []overlay.Listed) []api.EVPN {
	out := make([]api.EVPN, 0, len(list))
	for _, l := range list {
		e := api.EVPN{Overlay: l.Overlay, Type: "multicast", VTEP: l.VTEP, RD: l.RD.String(), Sequence: l.Mobility.Sequence, Sticky: l.Mobility.Sticky,
			Guest: l.Guest, Peer: l.Peer, State: l.State, Why: l.Why}
		if l.Type == evpn.TypeMACIP {
			e.Type, e.MAC, e.Address = "mac-ip", l.MAC.String(), l.IP
		}
		out = append(out, e)
	}
	return out
}

// EVPNStatus shows how the overlays stand.
func EVPNStatus(list []overlay.Counts) (out []api.EVPNStatus) {
	for _, c := range list {
		s := api.EVPNStatus{Overlay: c.Overlay, Announced: c.Announced, Withheld: c.Withheld, Imported: c.Imported, Unused: c.Unused, Moves: map[string]uint64{}}
		for _, t := range c.Imports {
			s.Imports = append(s.Imports, t.String())
		}
		for _, kind := range []overlay.NoticeKind{overlay.Claimed, overlay.Superseded, overlay.Returned} {
			s.Moves[kind.String()] = c.Moves[kind]
		}
		for _, d := range c.Duplicates {
			s.Duplicates = append(s.Duplicates, d.Guest+", "+d.MAC.String())
		}
		for _, d := range c.Frozen {
			s.Frozen = append(s.Frozen, d.Guest+", "+d.MAC.String())
		}
		out = append(out, s)
	}
	return out
}
