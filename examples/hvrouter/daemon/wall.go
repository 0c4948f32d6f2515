package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/wall"
)

// applyWall brings the wall in line if the inventory or the configuration has changed.
// It knows every guest of the inventory, so that it stands before an interface
// appears, and an interface that appears changes nothing.
func (r *router) applyWall() {
	version := wallVersion{r.cfg, r.guests.Version()}
	if version == r.walled {
		return
	}
	r.walled = version
	r.mendWall()
}

// wallVersion says what a wall was made from.
type wallVersion struct {
	config *config.Config
	guests uint64
}

// mendTime is how often a wall that somebody tore down is put up again.
const mendTime = 5 * time.Second

// mendWalls puts the wall up again, should it be gone.
func (d *Daemon) mendWalls(ctx context.Context) error {
	for pause(ctx, mendTime) == nil {
		d.loop.do(ctx, d.router.mendWall)
	}
	return nil
}

// mendWall applies the wall; one that stands as it should is not touched.
func (r *router) mendWall() {
	if r.cfg.Wall.Off || r.wall == nil {
		return
	}
	if err := r.wall.Apply(wallSpec(r.cfg, r.guests.All())); err != nil {
		r.log.Error("wall", "event", "wall-error", "err", err)
	}
}

// wallSpec says what the wall must do for a configuration and its guests.
func wallSpec(c *config.Config, guests []config.Guest) wall.Spec {
	s := wall.Spec{Table: c.Wall.Table, LogRate: c.Wall.LogRate}
	for _, g := range guests {
		s.Guests = append(s.Guests, g.Interface)
		for _, t := range g.Transparent {
			s.Translations = append(s.Translations, wall.Translation{Address: t.Address.Addr, To: t.To.Addr})
		}
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
		s.Domains = append(s.Domains, group)
	}
	for _, o := range c.Overlays {
		s.Isolated = append(s.Isolated, o.Bridge)
		if !slices.Contains(s.VXLANPorts, o.Port) {
			s.VXLANPorts = append(s.VXLANPorts, o.Port)
		}
	}
	for _, open := range c.Wall.Open {
		proto, port, _ := config.ParsePort(open) // checked when the file was read
		number := map[string]uint8{"tcp": 6, "udp": 17}[proto]
		s.Open = append(s.Open, wall.Port{Protocol: number, Port: port})
	}
	return s
}
