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
	"github.com/hyperfib/hyperfib/examples/hvrouter/wall"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// applyWalls brings the walls in line with the guests that are here. A guest that moves
// changes nothing, and does not wait for a wall of hundreds to be looked at.
func (r *router) applyWalls(here []config.Guest) {
	for _, p := range r.places {
		if spec := r.wallOf(p, r.guestsIn(p, here)); p.wanted == nil || !reflect.DeepEqual(*p.wanted, spec) {
			r.applyWall(p, spec)
		}
	}
}

// mendTime is how often a wall that somebody tore down is put up again.
const mendTime = 5 * time.Second

// mendWalls puts the walls up again, should one be gone and nobody have said so.
func (d *Daemon) mendWalls(ctx context.Context) error {
	for pause(ctx, mendTime) == nil {
		d.loop.do(ctx, func() {
			for _, p := range d.router.places {
				d.router.mendWall(p)
			}
		})
	}
	return nil
}

// mendWall applies a place's wall as it was wanted last; one that stands as it should is
// not touched.
func (r *router) mendWall(p *place) {
	if p.wanted != nil {
		r.applyWall(p, *p.wanted)
	}
}

func (r *router) applyWall(p *place, spec wall.Spec) {
	p.wanted = &spec
	if p.wall == nil {
		return
	}
	do := p.wall.Apply
	if r.cfg.Wall.Off && r.cfg.DomainBy != config.ByMark {
		do = p.wall.End // one that stood before a reload
	}
	if err := do(spec); err != nil {
		p.log.Error("wall", "event", "wall-error", "err", err)
	}
}

// wallOf says what the wall of a place must do for its guests.
func (r *router) wallOf(p *place, guests []config.Guest) wall.Spec {
	s := wallSpec(p.cfg, guests)
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
		for k, routed := range routes[link.Index] {
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

// onLink gives the prefixes of the uplinks' addresses.
func (p *place) onLink() (list []netip.Prefix) {
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

// wallSpec says what the wall of one namespace must do for a configuration and its
// guests, of which there are as many in it.
func wallSpec(c *config.Config, guests []config.Guest) wall.Spec {
	s := wall.Spec{Table: c.Wall.Table, LogRate: c.Wall.LogRate, MarkMask: c.MarkMask, MarksOnly: c.Wall.Off, VRF: c.DomainBy == config.ByVRF}
	var names []string
	for _, g := range guests {
		names = append(names, g.Interface)
		s.Guests = append(s.Guests, wallGuest(c, g))
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
		if c.DomainBy == config.ByMark && !domain.Plain(c) {
			s.Marks = append(s.Marks, wall.Mark{Value: d.Mark, Interfaces: group})
		}
	}
	for _, o := range c.Overlays {
		s.Isolated = append(s.Isolated, o.Bridge)
	}
	for _, open := range c.Wall.Open {
		proto, port, _ := config.ParsePort(open) // checked when the file was read
		number := map[string]uint8{"tcp": 6, "udp": 17}[proto]
		s.Open = append(s.Open, wall.Port{Protocol: number, Port: port})
	}
	return s
}

// wallGuest says what a guest may say.
func wallGuest(c *config.Config, g config.Guest) wall.Guest {
	w := wall.Guest{
		Interface: g.Interface, MAC: ether.MAC(g.MAC), Resolved: !domain.Permanent(g),
		Neighbors: domain.GuestNeighbours(g), Prefixes: domain.GuestOwn(g),
	}
	for _, a := range domain.GuestAddresses(c, g) {
		w.Gateways = append(w.Gateways, a.Prefix.Addr())
	}
	for _, t := range g.Transparent {
		w.Translations = append(w.Translations, wall.Translation{Address: t.Address.Addr, To: t.To.Addr})
	}
	return w
}
