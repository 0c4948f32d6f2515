package sessions

import (
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Disabled says since when a session is disabled, and why.
type Disabled struct {
	Since time.Time
	// Text is for people, here and at the peer; "" is none.
	Text string
}

// Disable makes these the sessions that are disabled: those that were not are ended with
// Cease/Administrative Shutdown and their text, and those that are none any more begin again.
// all belongs to the Speakers then. Before the first configuration it says what there will not be.
func (s *Speakers) Disable(all map[bgp.PeerKey]Disabled) {
	s.mu.Lock()
	s.disabled = all
	s.mu.Unlock()
	for _, one := range s.all() {
		one.disable(all)
	}
}

func (s *speaker) disable(all map[bgp.PeerKey]Disabled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.plan.disabled
	s.plan.disabled = all
	if s.plan.cfg == nil {
		return
	}
	for k, d := range all {
		if _, was := old[k]; !was && s.plan.has(k) {
			s.report(k, s.bgp.Stop(k, d.Text))
		}
	}
	s.reconcile()
}

// has reports whether there is a peer.
func (p *plan) has(k bgp.PeerKey) bool {
	_, ok := p.peers[k]
	return ok
}

// Disabled returns the sessions of a configuration that are disabled.
func (s *Speakers) Disabled(c *config.Config) map[bgp.PeerKey]Disabled {
	out := map[bgp.PeerKey]Disabled{}
	for _, one := range s.all() {
		one.mu.Lock()
		maps.Copy(out, one.plan.disabled)
		one.mu.Unlock()
	}
	configured := map[bgp.PeerKey]bool{}
	for _, d := range c.Domains {
		list, _ := c.SessionsOf(d)
		for _, r := range list {
			configured[peering.SessionKey(r)] = true
		}
	}
	maps.DeleteFunc(out, func(k bgp.PeerKey, _ Disabled) bool { return !configured[k] })
	return out
}

// Reset ends the session with a peer with Cease/Administrative Reset and text, and lets it come
// again. Hard: neither side keeps paths meanwhile.
func (s *Speakers) Reset(k bgp.PeerKey, text string, hard bool) error {
	err := error(bgp.ErrNoPeer)
	for _, one := range s.all() {
		if _, e := one.bgp.Peer(k); e == nil {
			err = one.bgp.Reset(k, text, hard)
		}
	}
	return err
}
