package daemon

import (
	"fmt"
	"net"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
)

// mostMACs is how many MACs of an address are explained.
const mostMACs = 4

// ExplainAddress implements [api.Backend]. As in Explain, the kernel is asked without the loop.
func (d backend) ExplainAddress(q api.AddressQuestion) (e api.AddressExplanation, err error) {
	e = api.AddressExplanation{Address: q.Addr, VNI: q.VNI, Lines: []string{}, MACs: []api.MACExplanation{}}
	var of *config.Overlay
	var place overlay.AddressPlace
	path, name, evpn := "", config.NetNS(""), false
	d.ask(func(r *router) {
		i := slices.IndexFunc(r.cfg.Overlays, func(o config.Overlay) bool { return o.VNI == q.VNI })
		if i < 0 {
			return
		}
		of = &r.cfg.Overlays[i]
		place, evpn = r.addressPlace(of.Name, q)
		path, name = r.home().Path(), r.home().NetNS()
	})
	if of == nil {
		return e, fmt.Errorf("an overlay with the VNI %d: %w", q.VNI, api.ErrNotFound)
	}
	e.Overlay = of.Name
	var want *lookup.WantAddress
	macs := []overlay.MAC{}
	if evpn {
		want = &lookup.WantAddress{}
		if place.MAC != (overlay.MAC{}) {
			want.MAC, macs = place.MAC[:], append(macs, place.MAC)
		}
		e.Lines = show.ExplainAddress(of.Name, q.Addr, place)
	} else {
		e.Lines = []string{of.Name + ": without EVPN: nothing is known of guests' addresses"}
	}
	report := lookup.AskAddress(path, lookup.Overlay{Device: of.Name, Bridge: of.Bridge}, q.Addr, want)
	report.NetNS = string(name)
	e.Kernel = *report
	if have, err := net.ParseMAC(report.MAC); err == nil && len(have) == 6 {
		macs = append(macs, overlay.MAC(have))
	}
	for _, l := range place.Routes {
		macs = append(macs, l.MAC)
	}
	for i, mac := range macs {
		if slices.Index(macs, mac) < i || len(e.MACs) == mostMACs {
			continue
		}
		one, err := d.ExplainMAC(api.MACQuestion{MAC: mac, VNI: q.VNI})
		if err != nil {
			return e, err
		}
		e.MACs = append(e.MACs, one)
	}
	return e, nil
}

// addressPlace returns which MAC an address of an overlay should have, and all that have it, those of guests that are not
// here among them; ok is false if the overlay has no EVPN.
func (r *router) addressPlace(name string, q api.AddressQuestion) (p overlay.AddressPlace, ok bool) {
	if p, ok = r.evpn.core.AddressPlace(name, q.Addr); !ok {
		return p, false
	}
	for one, away := range r.eachStation {
		if away == "" || one.Overlay != name {
			continue
		}
		for _, l := range r.evpn.core.Absent(one, away) {
			if l.IP == q.Addr {
				p.Routes = append(p.Routes, l)
			}
		}
	}
	return p, true
}
