package daemon

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/wall"
)

// applyWalls brings the walls in line if the inventory or the configuration has
// changed. They know every guest of the inventory, so that they stand before an
// interface appears, and an interface that appears changes nothing. A guest that moves
// changes nothing either, and does not wait for a wall of hundreds to be looked at.
func (r *router) applyWalls() {
	for _, p := range r.places {
		version := wallVersion{r.cfg, r.guests.Version()}
		if version != p.walled {
			p.walled = version
			if p.wanted == nil || !reflect.DeepEqual(*p.wanted, r.wallOf(p)) {
				r.mendWall(p)
			}
		}
	}
}

// wallVersion says what a wall was made from.
type wallVersion struct {
	config *config.Config
	guests uint64
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

// mendWall applies a place's wall; one that stands as it should is not touched.
func (r *router) mendWall(p *place) {
	if p.wall == nil || r.cfg.Wall.Off && r.cfg.DomainBy != config.ByMark {
		return
	}
	spec := r.wallOf(p)
	if err := p.wall.Apply(spec); err != nil {
		p.log.Error("wall", "event", "wall-error", "err", err)
		return
	}
	p.wanted = &spec
}

func (r *router) wallOf(p *place) wall.Spec {
	spec := wallSpec(p.cfg, r.guestsIn(p, r.guests.All()))
	spec.VXLANPorts = ports(r.cfg.Overlays) // wherever their bridges are
	return spec
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
// guests.
func wallSpec(c *config.Config, guests []config.Guest) wall.Spec {
	s := wall.Spec{Table: c.Wall.Table, LogRate: c.Wall.LogRate, MarkMask: c.MarkMask, MarksOnly: c.Wall.Off, VRF: c.DomainBy == config.ByVRF}
	for _, g := range guests {
		s.Guests = append(s.Guests, wallName(g.Interface))
		for _, t := range g.Transparent {
			s.Translations = append(s.Translations, wall.Translation{Address: t.Address.Addr, To: t.To.Addr})
		}
	}
	for _, t := range c.GuestsFrom {
		s.Guests = append(s.Guests, wallName(t.Interfaces))
	}
	for _, d := range c.Domains {
		group := domain.Interfaces(d)
		if d.Loopback {
			// The VTEP is the loopback address, so overlays run where it is announced.
			s.Underlay = append(s.Underlay, group...)
		}
		if d.Guests {
			group = append(slices.Clone(group), s.Guests...)
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

// wallName gives what the wall calls an interface, or those of a pattern: all that begin
// like them, which the configuration keeps for guests.
func wallName(name string) string {
	if config.IsPattern(name) {
		return config.Literal(name) + "*"
	}
	return name
}
