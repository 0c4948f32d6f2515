package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
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
	if s.findRange(r.prefix) != nil {
		return fmt.Errorf("bgp: range %v: %w", r.prefix, ErrPeerExists)
	}
	s.ranges = append(s.ranges, r)
	slices.SortFunc(s.ranges, func(a, b *dynamicRange) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	s.startup.ranges = true
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
	t.Passive = true
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
	s.mu.Lock()
	r := s.findRange(n.prefix)
	if r == nil {
		s.mu.Unlock()
		return fmt.Errorf("bgp: range %v: %w", n.prefix, ErrNoPeer)
	}
	same := reflect.DeepEqual(r.template, n.template)
	r.template, r.limit = n.template, n.limit
	peers := s.membersOf(r)
	if s.ctx != nil {
		s.resecure()
	}
	s.mu.Unlock()
	for _, p := range peers {
		if !same {
			_ = p.do(func(now time.Time) { p.reconfigure(now, r.instance(p.key.Addr)) })
		}
	}
	return nil
}

// RemoveRange ends the sessions with all peers of a range, as [Speaker.RemovePeer]
// does.
func (s *Speaker) RemoveRange(prefix netip.Prefix) error {
	s.mu.Lock()
	r := s.findRange(prefix.Masked())
	if r == nil {
		s.mu.Unlock()
		return fmt.Errorf("bgp: range %v: %w", prefix, ErrNoPeer)
	}
	s.ranges = slices.DeleteFunc(s.ranges, func(x *dynamicRange) bool { return x == r })
	peers := s.membersOf(r)
	if s.ctx != nil {
		s.resecure()
	}
	s.mu.Unlock()
	for _, p := range peers {
		_ = p.do(func(now time.Time) { p.remove(now, wire.SubDeconfigured) })
	}
	return nil
}

func (s *Speaker) membersOf(r *dynamicRange) (peers []*peer) {
	for _, p := range s.peers {
		if p.dyn == r {
			peers = append(peers, p)
		}
	}
	return peers
}

// instance is the configuration of one peer of the range.
func (r *dynamicRange) instance(addr netip.Addr) PeerConfig {
	c := r.template
	c.Addr = addr
	return c
}

// spawn makes a peer from a range. s.mu is held.
func (s *Speaker) spawn(r *dynamicRange, addr netip.Addr) *peer {
	c := r.instance(addr)
	c.LocalAddr = netip.Addr{} // the key is the peer's address alone
	p := s.newPeer(c, r)
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
	if p.help.phase != RestartNone || now.Before(p.m.refuseUntil) {
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
