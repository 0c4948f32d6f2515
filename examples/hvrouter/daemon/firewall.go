package daemon

import (
	"context"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// applyFirewalls brings the firewalls in line with the guests that are here. A guest that moves
// changes nothing, and does not wait for a firewall of hundreds to be looked at.
func (r *router) applyFirewalls(here []config.Guest) {
	for _, p := range r.namespaces {
		if spec := r.firewallOf(p, r.guestsIn(p, here)); p.wanted == nil || !reflect.DeepEqual(*p.wanted, spec) {
			r.applyFirewall(p, spec)
		}
	}
}

// mendTime is how often a firewall that somebody tore down is put up again.
const mendTime = 5 * time.Second

// mendFirewalls puts the firewalls up again, should one be gone and nobody have said so.
func (d *Daemon) mendFirewalls(ctx context.Context) error {
	for pause(ctx, mendTime) == nil {
		d.loop.do(ctx, func() {
			for _, p := range d.router.namespaces {
				d.router.mendFirewall(p)
			}
		})
	}
	return nil
}

// mendFirewall applies a namespace's firewall as it was wanted last; one that stands as it should is
// not touched.
func (r *router) mendFirewall(p *namespace) {
	if p.wanted != nil {
		r.applyFirewall(p, *p.wanted)
	}
}

func (r *router) applyFirewall(p *namespace, spec firewall.Spec) {
	p.wanted = &spec
	if p.firewall == nil {
		return
	}
	do := p.firewall.Apply
	if r.cfg.Firewall.Off && r.cfg.Isolation != config.IsolationFwmark {
		do = p.firewall.End // one that stood before a reload
	}
	if err := do(spec); err != nil {
		p.log.Error("firewall", "event", "firewall-error", "err", err)
	}
}

// firewallOf says what the firewall of a namespace must do for its guests.
func (r *router) firewallOf(p *namespace, guests []config.Guest) firewall.Spec {
	s := firewallSpec(p.cfg, guests)
	s.VXLANPorts = ports(r.cfg.Overlays) // wherever their bridges are
	if r.cfg.Loopback.Address.IsValid() && len(r.cfg.Overlays) > 0 {
		s.VTEPs = append(s.VTEPs, r.cfg.Loopback.Address.Addr())
	}
	s.Host = append(s.Host, p.trust.Host...)
	s.OnLink = p.onLink()
	heard, routes := r.heardBy(p, guests), r.findings.routesByLink()
	for i, g := range guests {
		w := &s.Guests[i]
		w.Neighbors = append(w.Neighbors, heard[g.Interface]...)
		link, _ := p.links.byName(g.Interface)
		for k, routed := range routes[link.IfIndex] {
			w.Prefixes = append(w.Prefixes, k.prefix)
			if !routed && !k.prefix.IsSingleIP() {
				s.OnLink = append(s.OnLink, k.prefix) // somebody's route has the kernel resolve all of it
			}
		}
	}
	for i := range s.Guests { // the routes above came in no order
		slices.SortFunc(s.Guests[i].Prefixes, netip.Prefix.Compare)
	}
	slices.SortFunc(s.OnLink, netip.Prefix.Compare)
	return s
}

// onLink returns the prefixes of the uplinks' addresses.
func (p *namespace) onLink() (list []netip.Prefix) {
	for _, name := range slices.Sorted(maps.Keys(p.links.index)) {
		if !p.isUplink(name) {
			continue
		}
		for a := range p.links.addrs[p.links.index[name]] {
			if !a.IsSingleIP() && !a.Addr().IsLinkLocalUnicast() {
				list = append(list, a.Masked())
			}
		}
	}
	return list
}

// ports lists the UDP ports of overlays.
func ports(overlays []config.Overlay) (list []uint16) {
	for _, o := range overlays {
		if !slices.Contains(list, o.Port) {
			list = append(list, o.Port)
		}
	}
	return list
}

// firewallSpec says what the firewall of one namespace must do for a configuration and its
// guests, of which there are as many in it.
func firewallSpec(c *config.Config, guests []config.Guest) firewall.Spec {
	s := firewall.Spec{Table: c.Firewall.Table, LogRate: c.Firewall.LogRate, MarkMask: c.FwmarkMask, MarksOnly: c.Firewall.Off, VRF: c.Isolation == config.IsolationVRF}
	var names []string
	for _, g := range guests {
		names = append(names, g.Interface)
		s.Guests = append(s.Guests, firewallGuest(c, g))
	}
	for _, d := range c.Domains {
		group := domain.Interfaces(d)
		s.Uplinks = append(s.Uplinks, group...)
		if d.Loopback {
			// The VTEP is the loopback address, so overlays run where it is announced.
			s.Underlay = append(s.Underlay, group...)
		}
		if d.Guests {
			group = append(slices.Clone(group), names...)
		}
		if s.VRF {
			group = append(slices.Clone(group), d.VRF)
		}
		s.Domains = append(s.Domains, group)
		if c.Isolation == config.IsolationFwmark && !domain.Plain(c) {
			s.Marks = append(s.Marks, firewall.Mark{Value: d.Fwmark, Interfaces: group})
		}
	}
	for _, o := range c.Overlays {
		s.Isolated = append(s.Isolated, o.Bridge)
	}
	for _, open := range c.Firewall.Open {
		proto, port, _ := config.ParsePort(open) // checked when the file was read
		number := map[string]uint8{"tcp": 6, "udp": 17}[proto]
		s.Open = append(s.Open, firewall.Port{Protocol: number, Port: port})
	}
	return s
}

// firewallGuest says what a guest may say.
func firewallGuest(c *config.Config, g config.Guest) firewall.Guest {
	w := firewall.Guest{
		Interface: g.Interface, MAC: ether.MAC(g.MAC), Resolved: !domain.Permanent(g),
		Neighbors: domain.GuestNeighbours(g), Prefixes: domain.GuestOwn(g),
	}
	for _, a := range domain.GuestAddresses(c, g) {
		w.Gateways = append(w.Gateways, a.Prefix.Addr())
	}
	for _, t := range g.Transparent {
		w.Translations = append(w.Translations, firewall.Translation{Address: t.Address.Addr, To: t.To.Addr})
	}
	return w
}
