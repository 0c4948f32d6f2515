package bgp

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// peerTable has the peers and ranges of a speaker, which guards it.
type peerTable struct {
	cfg     *Config              // of the speaker
	byKey   map[PeerKey]*peer    // configured and dynamic peers
	ranges  []*dynamicRange      // longest prefix first
	dynamic int                  // peers that came from ranges
	failing map[PeerKey]pastPeer // dynamic peers that are gone
}

// pastPeer is what is known of a dynamic peer that is gone: how it failed, and how often a
// prefix limit ended its sessions.
type pastPeer struct {
	rep     *reporter    // how its failures were reported
	limited limitBackoff // how often a prefix limit ended its sessions
}

// get returns a peer.
func (t *peerTable) get(key PeerKey) (*peer, error) {
	key.Local = key.Local.WithZone("")
	if p := t.byKey[key]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("bgp: peer %v: %w", key, ErrNoPeer)
}

// all returns all peers, in the order of their keys.
func (t *peerTable) all() []*peer {
	return slices.SortedFunc(maps.Values(t.byKey), func(a, b *peer) int { return a.key.compare(b.key) })
}

// owner returns the peer that a connection belongs to, or the range that one is to be made
// from; neither if there is none.
func (t *peerTable) owner(remote, local netip.Addr) (*peer, *dynamicRange) {
	local = local.WithZone("")
	if p := t.byKey[PeerKey{remote, local}]; p != nil {
		return p, nil
	}
	if p := t.byKey[PeerKey{Addr: remote}]; p != nil {
		return p, nil
	}
	bare := remote.WithZone("")
	for _, r := range t.ranges {
		if !r.prefix.Contains(bare) || r.template.LocalAddr.IsValid() && r.template.LocalAddr.WithZone("") != local {
			continue
		}
		if r.peers >= r.limit || t.dynamic >= t.cfg.MaxDynamicPeers {
			return nil, nil
		}
		return nil, r
	}
	return nil, nil
}

// add adds a peer. A dynamic one goes on failing where it did before.
func (t *peerTable) add(p *peer) {
	t.byKey[p.key] = p
	if p.dyn == nil {
		return
	}
	if past, ok := t.failing[p.key]; ok {
		p.events.rep, p.limited = past.rep, past.limited
		delete(t.failing, p.key)
	}
	p.dyn.peers++
	t.dynamic++
}

// remove removes a peer. What is known of a dynamic one that fails is kept until it
// connects again: else its next failure would be its first, and each be published.
func (t *peerTable) remove(p *peer) {
	if t.byKey[p.key] == p {
		delete(t.byKey, p.key)
	}
	if p.dyn == nil {
		return
	}
	p.dyn.peers--
	t.dynamic--
	if p.events.rep.failures == 0 && p.limited.ends == 0 {
		return
	}
	if len(t.failing) >= t.cfg.MaxDynamicPeers {
		clear(t.failing)
	}
	if t.failing == nil {
		t.failing = map[PeerKey]pastPeer{}
	}
	t.failing[p.key] = pastPeer{p.events.rep, p.limited}
}

// newRange checks the configuration of a range.
func (t *peerTable) newRange(c RangeConfig) (*dynamicRange, error) {
	if !c.Prefix.IsValid() {
		return nil, fmt.Errorf("bgp: range %v: prefix is not valid", c.Prefix)
	}
	if len(c.Template.Families) == 0 {
		c.Template.Families = c.Template.familiesOf(c.Prefix.Addr())
	}
	template, err := t.cfg.complete(c.Template, true)
	if err != nil {
		return nil, fmt.Errorf("bgp: range %v: %w", c.Prefix, err)
	}
	template.Passive, template.LocalAddr = true, template.LocalAddr.WithZone("")
	return &dynamicRange{prefix: c.Prefix.Masked(), template: template, limit: or(c.MaxPeers, t.cfg.MaxDynamicPeers)}, nil
}

// addRange adds a range that is not there yet.
func (t *peerTable) addRange(r *dynamicRange) error {
	if t.findRange(r.prefix) != nil {
		return ErrPeerExists
	}
	t.ranges = append(t.ranges, r)
	slices.SortFunc(t.ranges, func(a, b *dynamicRange) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	return nil
}

// updateRange sets the configuration of the range that has n's prefix to n's. It returns the
// range, and the peers that are to follow.
func (t *peerTable) updateRange(n *dynamicRange) (*dynamicRange, []*peer, error) {
	r := t.findRange(n.prefix)
	if r == nil {
		return nil, nil, ErrNoPeer
	}
	r.template, r.limit = n.template, n.limit
	return r, t.membersOf(r), nil
}

// removeRange removes a range, and returns the peers that came from it.
func (t *peerTable) removeRange(prefix netip.Prefix) ([]*peer, error) {
	r := t.findRange(prefix)
	if r == nil {
		return nil, ErrNoPeer
	}
	t.ranges = slices.DeleteFunc(t.ranges, func(x *dynamicRange) bool { return x == r })
	return t.membersOf(r), nil
}

func (t *peerTable) findRange(p netip.Prefix) *dynamicRange {
	for _, r := range t.ranges {
		if r.prefix == p {
			return r
		}
	}
	return nil
}

func (t *peerTable) membersOf(r *dynamicRange) (peers []*peer) {
	for _, p := range t.all() {
		if p.dyn == r {
			peers = append(peers, p)
		}
	}
	return peers
}

// listen returns where peers want a listener (PeerConfig.Listen), sorted, without what Config.Listen
// has already.
func (t *peerTable) listen() (list []netip.AddrPort) {
	for _, p := range t.byKey {
		if a, ok := t.listenFor(p.info.config()); ok && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// listenFor returns where a peer wants a listener, if it does.
func (t *peerTable) listenFor(c *PeerConfig) (a netip.AddrPort, ok bool) {
	a = netip.AddrPortFrom(c.LocalAddr, c.Port)
	return a, c.Listen && !slices.ContainsFunc(t.cfg.Listen, func(l netip.AddrPort) bool {
		return l.Port() == a.Port() && (l.Addr() == a.Addr() || l.Addr().IsUnspecified() && l.Addr().Is4() == a.Addr().Is4())
	})
}

// demand collects what the peers that may connect to a listener at a want of it.
func (t *peerTable) demand(a netip.Addr) (d demand) {
	d.minTTL = 255
	any := false
	add := func(prefix netip.Prefix, c *PeerConfig) {
		if !reaches(prefix.Addr(), c.LocalAddr, a) {
			return
		}
		any = true
		d.minTTL = min(d.minTTL, c.leastTTL())
		if k := (md5Key{prefix, c.MD5Key}); k.key != "" && !slices.Contains(d.keys, k) {
			d.keys = append(d.keys, k)
		}
	}
	for _, p := range t.byKey {
		if p.dyn == nil {
			add(hostPrefix(p.key.Addr), p.info.config())
		}
	}
	for _, r := range t.ranges {
		add(r.prefix, &r.template)
	}
	if !any {
		d.minTTL = 0
	}
	slices.SortFunc(d.keys, func(a, b md5Key) int { return a.prefix.Compare(b.prefix) })
	return d
}

// keyConflict returns an error if a peer that is to be configured as c would need another
// key than a peer at the same address has, on a listener that both can reach: the kernel
// has one a peer address. not is the peer itself.
func (t *peerTable) keyConflict(c *PeerConfig, not *peer) error {
	var with *peer // the first, in the order of keys
	var at netip.AddrPort
	listen := append(t.listen(), t.cfg.Listen...)
	if a, ok := t.listenFor(c); ok {
		listen = append(listen, a)
	}
	for _, p := range t.byKey {
		q := p.info.config()
		if p == not || p.dyn != nil || q.MD5Key == c.MD5Key || hostPrefix(q.Addr) != hostPrefix(c.Addr) {
			continue
		}
		i := slices.IndexFunc(listen, func(l netip.AddrPort) bool {
			return reaches(c.Addr, c.LocalAddr, l.Addr()) && reaches(q.Addr, q.LocalAddr, l.Addr())
		})
		if i >= 0 && (with == nil || p.key.compare(with.key) < 0) {
			with, at = p, listen[i]
		}
	}
	if with == nil {
		return nil
	}
	return fmt.Errorf("its MD5 key differs from that of %v, and %v can have one for an address", with.key, at)
}
