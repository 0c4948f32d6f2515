package daemon

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// evpnState is EVPN of the overlays: what is decided, and which guests are on which overlay.
type evpnState struct {
	on    bool // an overlay has it; otherwise the core only keeps what sessions say
	core  *overlay.Core
	fx    overlay.Effects     // scratch
	stand map[string]error    // how each overlay stands, also one without EVPN: see Edge.Overlays
	again time.Time           // when overlays that cannot be made are tried again; zero: there are none
	ports map[string][]string // interfaces of guests that are here, by overlay, also of those without EVPN
	keep  chan struct{}       // has one when what is to be kept over a restart has changed; nil: nothing is kept
}

// now returns the time, which is of no matter without EVPN.
func (e *evpnState) now(clock func() time.Time) (t time.Time) {
	if e.on {
		t = clock()
	}
	return t
}

// configureEVPN takes the overlays of another configuration.
func (r *router) configureEVPN() {
	had := r.evpn.on
	r.evpn.on = slices.ContainsFunc(r.cfg.Overlays, func(o config.Overlay) bool { return o.EVPN != nil })
	if had || r.evpn.on {
		r.evpn.core.Configure(r.cfg.Overlays, r.now(), &r.evpn.fx)
		r.applyEVPN()
	}
}

// stations takes which guests are here on overlays: those whose interface exists, and that are not
// down.
func (r *router) stations() {
	if len(r.cfg.Overlays) == 0 {
		r.evpn.ports = nil
		return
	}
	var list []overlay.Station
	ports := map[string][]string{}
	for one, away := range r.eachStation {
		if away != notThere {
			ports[one.Overlay] = append(ports[one.Overlay], one.Port) // one that is down waits there for its guest
		}
		if away == "" || one.Down {
			list = append(list, one)
		}
	}
	r.evpn.ports = ports
	if r.evpn.on {
		r.evpn.core.SetStations(list, r.now(), &r.evpn.fx)
		r.applyEVPN()
	}
}

// hereOnOverlays returns the guests that are here on overlays, by overlay, if a configuration has gateways there.
func (r *router) hereOnOverlays(c *config.Config) map[string][]firewall.Station {
	if len(c.Gateways()) == 0 {
		return nil
	}
	stations := map[string][]firewall.Station{}
	for one, away := range r.eachStation {
		if away == "" {
			stations[one.Overlay] = append(stations[one.Overlay], firewall.Station{MAC: ether.MAC(one.MAC), Addresses: one.Addresses})
		}
	}
	return stations
}

// Why a guest is not here.
const (
	notThere  = "the guest's interface is not there"
	guestDown = "the guest is down"
)

// eachStation yields every guest of the inventory on every overlay that it is on, and why it is not here, "" if it is.
func (r *router) eachStation(yield func(one overlay.Station, away string) bool) {
	for _, g := range r.guests.All() {
		for _, p := range g.Overlays {
			away := ""
			link, here := r.home().Links().ByName(p.Interface)
			if !here {
				away = notThere
			} else if g.Down {
				away = guestDown
			}
			if !yield(overlay.Station{Guest: g.Name, Overlay: p.Overlay, Port: p.Interface, IfIndex: link.IfIndex, MAC: overlay.MAC(p.MAC), Addresses: p.Addresses(), Down: g.Down}, away) {
				return
			}
		}
	}
}

// listEVPN returns how every route stands, also of guests that are not here, in no order.
func (r *router) listEVPN() []overlay.Listed {
	list := r.evpn.core.List()
	for one, away := range r.eachStation {
		if away != "" {
			list = append(list, r.evpn.core.Absent(one, away)...)
		}
	}
	return list
}

// overlays brings the overlays in line with the VTEPs that are known, and with EVPN.
func (r *router) overlays() {
	vteps := r.vteps.list()
	content := func(name string) eg.Content {
		return eg.Content{Ports: r.evpn.ports[name], EVPN: r.evpn.core.Desired(name)}
	}
	r.evpn.stand = r.edge.Overlays(r.cfg, r.home().Links().ByName, vteps, content)
	r.evpn.again = time.Time{}
	for _, o := range r.cfg.Overlays {
		err, known := r.evpn.stand[o.Name]
		r.evpn.core.SetReady(o.Name, known && err == nil, &r.evpn.fx)
		if err != nil {
			r.evpn.again = r.now().Add(overlayRetry)
		}
	}
	r.applyEVPN()
}

// overlayRetry is how often an overlay that cannot be made is tried again if nothing happens: what was in its way may have been
// nothing that an event tells of, such as memory, or a device in another namespace.
const overlayRetry = 30 * time.Second

// onEVPN takes changes of EVPN routes of a domain's sessions.
func (r *router) onEVPN(domain string, changes []sessions.EVPN, more bool) {
	now := r.evpn.now(r.now)
	for _, c := range changes {
		r.evpn.core.SetRoute(domain, c.Key, c.Route, now, &r.evpn.fx)
	}
	r.applyEVPN()
	if !more && r.evpn.core.Dirty() {
		r.overlays()
	}
}

// dropEVPN forgets what the sessions of a domain said.
func (r *router) dropEVPN(domain string) {
	r.evpn.core.DropSource(domain, r.evpn.now(r.now), &r.evpn.fx)
	r.applyEVPN()
}

// syncEVPN takes that all domains have converged.
func (r *router) syncEVPN() {
	r.evpn.core.Synced(r.evpn.now(r.now), &r.evpn.fx)
	r.applyEVPN()
}

// drainEVPN begins, changes or ends a drain.
func (r *router) drainEVPN(d DrainState) {
	e := overlay.Drain{On: d.On()}
	if d.All {
		e.Silent = d.Since.Add(domain.MoveTime)
	}
	r.evpn.core.SetDrain(e, r.evpn.now(r.now), &r.evpn.fx)
	r.applyEVPN()
}

// advanceEVPN does what is due.
func (r *router) advanceEVPN(now time.Time) {
	r.evpn.core.Advance(now, &r.evpn.fx)
	r.applyEVPN()
}

// announceEVPN has a domain that is new announce everything.
func (r *router) announceEVPN(g *routing) {
	var list []overlay.Change
	for c := range r.evpn.core.Originated {
		list = append(list, c)
	}
	if len(list) > 0 {
		g.bgp.SetEVPN(list)
	}
}

// applyEVPN carries out what was decided. Every domain originates: one whose sessions do not carry
// EVPN has nobody to announce it to.
func (r *router) applyEVPN() {
	fx := &r.evpn.fx
	if len(fx.Routes) > 0 {
		for g := range r.all {
			g.bgp.SetEVPN(fx.Routes)
		}
	}
	for _, n := range fx.Notices {
		r.logEVPN(n)
	}
	if fx.Keep {
		select {
		case r.evpn.keep <- struct{}{}:
		default:
		}
	}
	fx.Reset()
}

// logEVPN logs where a guest's MAC has gone.
func (r *router) logEVPN(n overlay.Notice) {
	switch n.Kind {
	case overlay.Claimed:
		r.log.Info("the MAC of a guest that came was another VTEP's", "event", "evpn-claimed", "overlay", n.Overlay, "guest", n.Guest, "mac", n.MAC, "vtep", n.VTEP, "sequence", n.Sequence)
	case overlay.Superseded:
		r.log.Info("another VTEP has taken the MAC of a guest over: withdrawn", "event", "evpn-superseded", "overlay", n.Overlay, "guest", n.Guest, "mac", n.MAC, "vtep", n.VTEP, "sequence", n.Sequence)
	case overlay.Returned:
		r.log.Info("no other VTEP has the MAC of a guest any more: announced again", "event", "evpn-returned", "overlay", n.Overlay, "guest", n.Guest, "mac", n.MAC, "sequence", n.Sequence)
	case overlay.Duplicate:
		r.log.Warn("a guest is here whose MAC another VTEP announces", "event", "evpn-duplicate", "overlay", n.Overlay, "guest", n.Guest, "mac", n.MAC, "vtep", n.VTEP, "sequence", n.Sequence)
	case overlay.Frozen:
		r.log.Warn("the MAC of a guest has moved too often, so that two may have it: its sequence number is raised no more", "event", "evpn-frozen", "overlay", n.Overlay, "guest", n.Guest, "mac", n.MAC, "vtep", n.VTEP, "sequence", n.Sequence, "moves", n.Moves)
	case overlay.Thawed:
		r.log.Info("the MAC of a guest moves no more, or the guest is down: its sequence number is raised again", "event", "evpn-thawed", "overlay", n.Overlay, "guest", n.Guest, "mac", n.MAC)
	}
}
