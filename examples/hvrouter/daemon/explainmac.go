package daemon

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
)

// macInquiry is what the kernel is asked about a MAC of an overlay, and what is wanted of it.
type macInquiry struct {
	config config.Overlay
	place  overlay.Place
	evpn   bool // place counts; without EVPN nothing is wanted
	// foreign are VTEPs that other programs have put into the flood list.
	foreign []netip.Addr
	lines   []string
}

// ExplainMAC implements [api.Backend]. As in Explain, the kernel is asked without the loop.
func (d backend) ExplainMAC(q api.MACQuestion) (e api.MACExplanation, err error) {
	e = api.MACExplanation{MAC: net.HardwareAddr(q.MAC[:]).String(), Overlays: []api.OverlayMAC{}}
	var list []macInquiry
	path, name, table := "", config.NetNS(""), ""
	d.ask(func(r *router) {
		list = r.macInquiries(q, d.sessions.PeersOfMAC)
		path, name, table = r.home().Path(), r.home().NetNS(), r.cfg.Firewall.Table
	})
	if len(list) == 0 && q.VNI != 0 {
		return e, fmt.Errorf("an overlay with the VNI %d: %w", q.VNI, api.ErrNotFound)
	}
	for _, i := range list {
		report := lookup.AskMAC(path, lookup.Overlay{Device: i.config.Name, Bridge: i.config.Bridge}, q.MAC[:], i.want(), nftrace.Frames(path, table))
		report.NetNS = string(name)
		one := api.OverlayMAC{Overlay: i.config.Name, VNI: i.config.VNI, Kernel: *report, Routes: show.EVPNRoutes(i.place.Routes), Lines: i.lines}
		if q.VNI != 0 || one.Known() {
			e.Overlays = append(e.Overlays, one)
		}
	}
	return e, nil
}

// want returns what is wanted of the kernel, nil if that is not known.
func (i *macInquiry) want() *lookup.WantMAC {
	if !i.evpn {
		return nil
	}
	w := &lookup.WantMAC{VTEP: i.place.VTEP, Open: !i.place.Settled, Neighbours: i.place.Neighbors, Foreign: i.foreign}
	if i.place.Settled {
		w.Port = i.place.Port
	}
	return w
}

// macInquiries returns the overlays that are asked about, with what is known of the MAC in each.
func (r *router) macInquiries(q api.MACQuestion, peers func(*config.Config, string, evpn.RD, evpn.MAC) []sessions.Peer) (list []macInquiry) {
	for _, o := range r.cfg.Overlays {
		if q.VNI != 0 && o.VNI != q.VNI {
			continue
		}
		i := macInquiry{config: o, lines: []string{o.Name + ": without EVPN: MACs are learned from traffic, and what is not known is flooded"}}
		if i.place, i.evpn = r.evpn.core.Place(o.Name, q.MAC); i.evpn {
			link, _ := r.home().Links().ByName(o.Name)
			for _, e := range r.edge.Foreign() {
				if e.IfIndex == link.IfIndex {
					i.foreign = append(i.foreign, e.VTEP)
				}
			}
			for one, away := range r.eachStation {
				if away != "" && one.Overlay == o.Name && one.MAC == q.MAC {
					i.place.Routes = append(i.place.Routes, r.evpn.core.Absent(one, away)...)
				}
			}
			var all []sessions.Peer
			for g := range r.all {
				all = append(all, peers(r.cfg, g.name, o.EVPN.RD.RD, q.MAC)...)
			}
			i.lines = show.ExplainMAC(o.Name, o.EVPN.Imports(), i.place, all)
		}
		list = append(list, i)
	}
	return list
}
