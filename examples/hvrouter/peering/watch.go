package peering

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Way is what fails together: the gateways of one family that a domain has on one
// link.
type Way struct {
	Domain string
	IPv6   bool
	Link   string
}

// covers tells whether a gateway on a link is one of the way.
func (w Way) covers(link string, gateway netip.Addr) bool {
	return link == w.Link && gateway.Is6() == w.IPv6
}

// alternative tells whether o leads to the same destinations over another link.
func (w Way) alternative(o Way) bool {
	return w.Link != o.Link && w.IPv6 == o.IPv6 && w.Domain == o.Domain
}

// Watch says what dies with a BFD session: its ways, unless another session that
// watches them is up.
type Watch struct {
	Key    bfd.Key
	Domain string // of the BGP session
	Ways   []Way
}

// Watches lists the watched sessions of a configuration. A session that carries both
// families speaks for the gateways of both.
func Watches(c *config.Config) []Watch {
	var out []Watch
	for _, d := range c.Domains {
		for _, r := range d.Reflectors {
			s, ok := BFD(c, r)
			if !ok {
				continue
			}
			w := Watch{Key: s.Key, Domain: d.Name}
			for _, f := range r.Families {
				w.Ways = append(w.Ways, Way{Domain: d.Name, IPv6: f == config.IPv6, Link: r.Interface})
			}
			out = append(out, w)
		}
	}
	return out
}

// watches tells whether the session speaks for a way.
func (w Watch) watches(way Way) bool { return slices.Contains(w.Ways, way) }

// Alone gives the ways for which no other session in the list speaks that is up.
func (w Watch) Alone(all []Watch, up func(bfd.Key) bool) Ways {
	return slices.DeleteFunc(slices.Clone(w.Ways), func(way Way) bool {
		return slices.ContainsFunc(all, func(o Watch) bool { return o.Key != w.Key && o.watches(way) && up(o.Key) })
	})
}

// Ways are several.
type Ways []Way

// Cover tells whether a gateway on a link is one of them.
func (ws Ways) Cover(link string, gateway netip.Addr) bool {
	return slices.ContainsFunc(ws, func(w Way) bool { return w.covers(link, gateway) })
}
