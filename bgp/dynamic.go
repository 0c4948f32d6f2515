package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// dynamicRange is a range with the peers that came from it. Its fields are
// guarded by Speaker.mu.
type dynamicRange struct {
	prefix   netip.Prefix
	template PeerConfig
	limit    int
	peers    int
}

// AddRange lets the peers of a range connect.
func (s *Speaker) AddRange(c RangeConfig) error {
	r, err := s.newRange(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return fmt.Errorf("bgp: range %v: %w", r.prefix, err)
	}
	if s.findRange(r.prefix) != nil {
		return fmt.Errorf("bgp: range %v: %w", r.prefix, ErrPeerExists)
	}
	s.ranges = append(s.ranges, r)
	slices.SortFunc(s.ranges, func(a, b *dynamicRange) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	s.deferral.AddOthers()
	if s.ctx != nil {
		s.resecure()
	}
	return nil
}

func (s *Speaker) newRange(c RangeConfig) (*dynamicRange, error) {
	if !c.Prefix.IsValid() {
		return nil, fmt.Errorf("bgp: range %v: prefix is not valid", c.Prefix)
	}
	t, err := c.Template.withDefaults(true)
	if err != nil {
		return nil, fmt.Errorf("bgp: range %v: %w", c.Prefix, err)
	}
	t.Passive, t.LocalAddr = true, t.LocalAddr.WithZone("")
	return &dynamicRange{prefix: c.Prefix.Masked(), template: t, limit: or(c.MaxPeers, s.cfg.MaxDynamicPeers)}, nil
}

func (s *Speaker) findRange(p netip.Prefix) *dynamicRange {
	for _, r := range s.ranges {
		if r.prefix == p {
			return r
		}
	}
	return nil
}

// UpdateRange gives a range another template. Its peers are treated as
// [Speaker.UpdatePeer] says.
func (s *Speaker) UpdateRange(c RangeConfig) error {
	n, err := s.newRange(c)
	if err != nil {
		return err
	}
	r, peers, err := s.replaceTemplate(n)
	if err != nil {
		return fmt.Errorf("bgp: range %v: %w", n.prefix, err)
	}
	for _, p := range peers {
		_ = p.do(func(now time.Time) { p.reconfigure(now, s.instanceOf(r, p.key.Addr)) })
	}
	return nil
}

// replaceTemplate gives the range of n's prefix what n has, and returns it with the
// peers that are to follow.
func (s *Speaker) replaceTemplate(n *dynamicRange) (*dynamicRange, []*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	r := s.findRange(n.prefix)
	if r == nil {
		return nil, nil, ErrNoPeer
	}
	r.template, r.limit = n.template, n.limit
	if s.ctx != nil {
		s.resecure()
	}
	return r, s.membersOf(r), nil
}

// instanceOf is the configuration of one peer of the range, by the template that the range
// has now: of several updates the last counts, in whichever order peers take them in.
func (s *Speaker) instanceOf(r *dynamicRange, addr netip.Addr) PeerConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.instance(addr)
}

// RemoveRange ends the sessions with all peers of a range, as [Speaker.RemovePeer]
// does.
func (s *Speaker) RemoveRange(prefix netip.Prefix) error {
	peers, err := s.deleteRange(prefix.Masked())
	if err != nil {
		return fmt.Errorf("bgp: range %v: %w", prefix, err)
	}
	for _, p := range peers {
		_ = p.do(func(now time.Time) { p.remove(now, wire.SubDeconfigured) })
	}
	return nil
}

// deleteRange deletes a range and returns its peers.
func (s *Speaker) deleteRange(prefix netip.Prefix) ([]*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	r := s.findRange(prefix)
	if r == nil {
		return nil, ErrNoPeer
	}
	s.ranges = slices.DeleteFunc(s.ranges, func(x *dynamicRange) bool { return x == r })
	if s.ctx != nil {
		s.resecure()
	}
	return s.membersOf(r), nil
}

func (s *Speaker) membersOf(r *dynamicRange) (peers []*peer) {
	for _, p := range s.peers {
		if p.dyn == r {
			peers = append(peers, p)
		}
	}
	return peers
}

// instance is the configuration of one peer of the range. Its key is the peer's address
// alone.
func (r *dynamicRange) instance(addr netip.Addr) PeerConfig {
	c := r.template
	c.Addr, c.LocalAddr = addr, netip.Addr{}
	return c
}

// spawn makes a peer from a range. s.mu is held.
func (s *Speaker) spawn(r *dynamicRange, addr netip.Addr) *peer {
	p := s.newPeer(r.instance(addr), r)
	if past, ok := s.failing[p.key]; ok {
		p.rep, p.limited = past.rep, past.limited
		delete(s.failing, p.key)
	}
	s.peers[p.key] = p
	r.peers++
	s.dynamic++
	s.launch(p)
	return p
}

// expire ends a dynamic peer that has nothing left to remember: no connection, no
// stale paths, no time out after too many prefixes.
func (p *peer) expire(now time.Time) {
	if p.dyn == nil || p.ended || p.slots[0].c != nil || p.slots[1].c != nil || p.fresh.nc != nil {
		return
	}
	if p.help.Phase() != RestartNone || now.Before(p.m.RefusedUntil()) {
		return
	}
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p.incoming) > 0 {
		return
	}
	if p.in != nil {
		p.in.Close()
	}
	p.forgetLocked()
}

// pastPeer is what is known of a dynamic peer that is gone: how it failed, and how often a
// prefix limit ended its sessions.
type pastPeer struct {
	rep     *reporter
	limited limitBackoff
}

// rememberFailing keeps what is known of a dynamic peer that fails until it calls again:
// else its next failure would be its first, and each be told. s.mu is held.
func (s *Speaker) rememberFailing(p *peer) {
	if p.rep.failures == 0 && p.limited.ends == 0 {
		return
	}
	if len(s.failing) >= s.cfg.MaxDynamicPeers {
		clear(s.failing)
	}
	if s.failing == nil {
		s.failing = map[PeerKey]pastPeer{}
	}
	s.failing[p.key] = pastPeer{p.rep, p.limited}
}
