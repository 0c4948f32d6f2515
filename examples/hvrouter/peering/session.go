package peering

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// BFD gives the session that watches a reflector; ok is false if none shall.
func BFD(c *config.Config, r config.Reflector) (s bfd.SessionConfig, ok bool) {
	if r.BFD == "off" || c.BFD.Process == "off" {
		return s, false
	}
	return bfd.SessionConfig{
		Key:           bfd.Key{Peer: r.Peer.Addr, Local: r.Local.Addr, Interface: r.Interface}.Normal(),
		DesiredMinTx:  c.BFD.Interval.Duration,
		RequiredMinRx: c.BFD.Interval.Duration,
		Multiplier:    c.BFD.Multiplier,
	}, true
}

// Watch says what dies with a BFD session: the gateways of one family on one
// link, unless another session of the same kind is up.
type Watch struct {
	Key    bfd.Key
	Domain string
	IPv6   bool
	Link   string
}

// Watches lists the watched sessions of a configuration.
func Watches(c *config.Config) []Watch {
	var out []Watch
	for _, d := range c.Domains {
		for _, r := range d.Reflectors {
			if s, ok := BFD(c, r); ok {
				out = append(out, Watch{Key: s.Key, Domain: d.Name, IPv6: r.Peer.Is6(), Link: r.Interface})
			}
		}
	}
	return out
}

// same tells whether two sessions speak for the same gateways.
func (w Watch) same(o Watch) bool {
	return w.Link == o.Link && w.IPv6 == o.IPv6 && w.Domain == o.Domain
}

// alternative tells whether o stands for another way to the same destinations.
func (w Watch) alternative(o Watch) bool {
	return w.Link != o.Link && w.IPv6 == o.IPv6 && w.Domain == o.Domain
}

// Alone tells whether no other session in the list speaks for the same gateways
// and is up.
func (w Watch) Alone(all []Watch, up func(bfd.Key) bool) bool {
	for _, o := range all {
		if o.Key != w.Key && w.same(o) && up(o.Key) {
			return false
		}
	}
	return true
}

// Covers tells whether a gateway on a link is one that this session speaks for.
func (w Watch) Covers(link string, gateway netip.Addr) bool {
	return link == w.Link && gateway.Is6() == w.IPv6
}
