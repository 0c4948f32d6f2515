package sessions

import (
	"slices"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// setMemberships asks for the EVPN routes with the route targets that the overlays of a configuration import, and for no
// others (RFC 4684, Section 4); the lock is held. Every speaker does: one whose sessions have not negotiated the family has
// nobody to ask. It comes before the first session, so that what is asked for is complete whenever one begins.
func (s *speaker) setMemberships(c *config.Config) {
	want := c.Imports()
	for _, t := range want {
		if slices.Contains(s.asked, t) {
			continue
		}
		m := wire.NewMembership(c.AS, t)
		if err := s.bgp.Table().Originate(rib.LocalPath{Membership: &m}); err != nil {
			s.log.Error("route target membership", "event", "bgp-error", "domain", s.name, "membership", m, "err", err)
		}
	}
	for _, t := range s.asked {
		if !slices.Contains(want, t) {
			s.bgp.Table().WithdrawMembership(wire.NewMembership(c.AS, t), 0)
		}
	}
	s.asked = want
	s.bgp.MembershipsComplete()
}
