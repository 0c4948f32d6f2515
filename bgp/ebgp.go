package bgp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// MissingPolicy says that a session is external and has no import or no export policy. RFC 8212,
// Section 3: "Routes contained in an Adj-RIB-In associated with an EBGP peer SHALL NOT be
// considered eligible in the Decision Process if no explicit Import Policy has been applied."
// "Routes SHALL NOT be added to an Adj-RIB-Out associated with an EBGP peer if no explicit Export
// Policy has been applied." Such a session comes up, and exchanges nothing in that direction.
// [rib.AcceptAll] is a policy. PeerConfig.Default is an export policy for the default route, which alone is announced
// if there is no Export. The zero value is that nothing is missing.
type MissingPolicy struct {
	Import, Export bool // true: missing
}

// String returns "", or what is missing, such as "no import policy: nothing is accepted", with
// the RFC.
func (m MissingPolicy) String() string {
	switch m {
	case MissingPolicy{true, true}:
		return "no import and no export policy: nothing is accepted or announced (RFC 8212)"
	case MissingPolicy{true, false}:
		return "no import policy: nothing is accepted (RFC 8212)"
	case MissingPolicy{false, true}:
		return "no export policy: nothing is announced (RFC 8212)"
	}
	return ""
}

// missingPolicy returns what a session with a peer of an AS lacks.
func (s *Config) missingPolicy(c *PeerConfig, peerAS uint32) MissingPolicy {
	if peerAS == s.AS {
		return MissingPolicy{}
	}
	return MissingPolicy{Import: c.Import == nil, Export: c.Export == nil && c.Default.Families == 0}
}

// noPolicy is in place of the import policy that an external peer has not.
func noPolicy(r *rib.Route) rib.Verdict { return r.Refuse(rib.ReasonNoPolicy) }

// rejectAll is in place of its export policy. It is one value: sessions without share a group.
var rejectAll rib.Policy = rib.RejectAll

// complete checks the configuration of a peer of the speaker, and fills in what is zero.
func (s *Config) complete(c PeerConfig, template bool) (PeerConfig, error) {
	c, err := c.withDefaults(template)
	if err != nil {
		return c, err
	}
	c.EBGP.ThirdParty = slices.Clone(c.EBGP.ThirdParty)
	return c, s.checkExternal(&c)
}

// checkExternal checks what depends on the AS numbers of both sides.
func (s *Config) checkExternal(c *PeerConfig) error {
	e := &c.EBGP
	if err := e.Check(); err != nil {
		return err
	}
	internal := c.AS == 0 || c.AS == s.AS
	switch {
	case c.Multihop < 0 || c.Multihop > 255:
		return fmt.Errorf("multihop %d is outside 0 to 255", c.Multihop)
	case internal && (e.LocalAS != 0 || e.Role != 0):
		return errors.New("a local AS and a role are for external peers")
	case e.LocalAS != 0 && (e.LocalAS == s.AS || e.LocalAS == c.AS || e.LocalAS == AnyAS || e.LocalAS == ExternalAS):
		return fmt.Errorf("local AS %d is not a number of its own", e.LocalAS)
	case c.RoleStrict && e.Role == 0:
		return errors.New("a strict role needs a role")
	}
	return nil
}

// ttl returns the TTL with which we send to a peer, and the least that we accept; 0 leaves it
// to the kernel. GTSM sends 255 and lets the packets be forwarded as often as Multihop says
// (RFC 5082, Section 3). An external peer without it is directly connected, or as far away as
// Multihop says. Whether AnyAS is external is not known yet: see sessionTTL.
func (s *Config) ttl(c *PeerConfig) (send, least int) {
	switch {
	case c.TTLSecurity:
		return 255, c.leastTTL()
	case c.AS == 0 || c.AS == s.AS || c.AS == fsm.AnyAS:
		return 0, 0
	}
	return max(1, c.Multihop), 0
}

// sessionTTL returns the TTL with which a session with a peer of an AS goes on whose connection
// began without one, because the peer's AS was not known; 0 leaves it as it is.
func (s *Config) sessionTTL(c *PeerConfig, as uint32) int {
	if c.AS != fsm.AnyAS || c.TTLSecurity || as == s.AS {
		return 0
	}
	return max(1, c.Multihop)
}

// leastTTL is what TTL security lets in.
func (c *PeerConfig) leastTTL() int {
	if !c.TTLSecurity {
		return 0
	}
	return 256 - max(1, c.Multihop)
}
