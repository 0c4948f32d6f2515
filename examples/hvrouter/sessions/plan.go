package sessions

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// plan is what the peers of a speaker are, and what they should be. It has no clock and no
// speaker: step says what is to be done.
type plan struct {
	members []peering.Member

	cfg       *config.Config        // what they should be; nil before the first
	domain    config.Domain         // whose sessions they are
	linkLocal map[string]netip.Addr // ours, by interface

	peers map[bgp.PeerKey]peer // as they are
	// disabled are those that are not to be, although they are configured. It is not changed.
	disabled map[bgp.PeerKey]Disabled
	drain    Drain
	rollout  rollout
}

// peer is a peer as it was last configured. Policies are functions, which cannot be compared,
// so it also has what they were made of.
type peer struct {
	bgp.PeerConfig
	imports, exports config.Policy
	originate        *config.DefaultOriginate // the default route, nil if it is not announced
	draining         bool                     // originate is with GRACEFUL_SHUTDOWN
	fabric           string
	nextHops         []peering.Announced // nil: the session's own
	own              bool                // nothing that comes from other peers is announced
}

// change is what is to be done to one peer.
type change struct {
	op  operation
	key bgp.PeerKey
	to  bgp.PeerConfig // of an addition or an update
}

type operation uint8

const (
	addPeer operation = iota
	updatePeer
	removePeer
)

// resets reports whether a configuration ends the session of its peer.
type resets func(bgp.PeerConfig) bool

// step returns which peers are to be changed now, and takes them for changed. If that is the
// step that shows that the others will not be, stuck names them.
func (p *plan) step(now time.Time, dead failover.Dead, status map[bgp.PeerKey]bgp.PeerStatus, ends resets) (changes []change, stuck []bgp.PeerKey) {
	sessions, _ := p.cfg.SessionsOf(p.domain)
	external := slices.ContainsFunc(sessions, func(r config.Reflector) bool { return r.External(p.cfg.AS) })
	next := map[bgp.PeerKey]peer{}
	var all []rolloutSession
	for _, r := range sessions {
		k := peering.SessionKey(r)
		if _, off := p.disabled[k]; off {
			continue
		}
		n := p.peer(r, external, dead, p.peers[k])
		next[k] = n
		one := rolloutSession{key: k, fabric: n.fabric, up: status[k].State == bgp.Established, settled: settled(status[k], now)}
		if old, ok := p.peers[k]; !ok {
			one.changed = true
		} else if one.changed = !old.same(n); one.changed {
			one.ends = one.up && ends(n.PeerConfig)
		}
		all = append(all, one)
	}
	for _, k := range slices.SortedFunc(maps.Keys(p.peers), compareKeys) {
		if _, ok := next[k]; !ok {
			old := p.peers[k]
			up := status[k].State == bgp.Established
			all = append(all, rolloutSession{key: k, fabric: old.fabric, changed: true, gone: true, up: up, ends: up})
		}
	}
	list, isStuck := p.rollout.step(now, all)
	for _, k := range list {
		changes = append(changes, p.take(k, next))
	}
	if isStuck {
		stuck = waiting(all, list)
	}
	return changes, stuck
}

func compareKeys(a, b bgp.PeerKey) int {
	return cmp.Or(a.Addr.Compare(b.Addr), a.Local.Compare(b.Local))
}

// take makes one peer what it is next.
func (p *plan) take(k bgp.PeerKey, next map[bgp.PeerKey]peer) change {
	n, stays := next[k]
	_, known := p.peers[k]
	switch {
	case !stays:
		delete(p.peers, k)
		return change{op: removePeer, key: k}
	case known:
		p.peers[k] = n
		return change{updatePeer, k, n.PeerConfig}
	}
	p.peers[k] = n
	return change{addPeer, k, n.PeerConfig}
}

// waiting returns the sessions that still wait when some have been done.
func waiting(all []rolloutSession, done []bgp.PeerKey) (list []bgp.PeerKey) {
	for _, s := range all {
		if s.changed && !slices.Contains(done, s.key) {
			list = append(list, s.key)
		}
	}
	return list
}

// peer makes the configuration of a peer. Policies that have not changed are taken from old: a
// new one would make the session exchange its routes again. own: it is to announce nothing that
// comes from other peers.
func (p *plan) peer(r config.Reflector, own bool, dead failover.Dead, old peer) peer {
	n := peer{PeerConfig: peering.Peer(p.cfg, r, p.linkLocal[r.Interface]), imports: r.Import, exports: r.Export, fabric: r.Fabric, own: own}
	if len(r.AdvertiseNextHops) > 0 {
		n.nextHops = dead.Alive(peering.Announce(r, p.members))
	}
	n.Import, n.Export = old.Import, old.Export
	first := old.Addr != n.Addr || old.AS != n.AS || old.EBGP.LocalAS != n.EBGP.LocalAS
	as := cmp.Or(n.EBGP.LocalAS, p.cfg.AS)
	if shared := p.members[0].Community != 0; !r.Import.Equal(old.imports) || first {
		n.Import = peering.Policy(r.Import, as)
		if shared {
			n.Import = peering.Known(p.members, n.Import)
		}
	}
	if !r.Export.Equal(old.exports) || !slices.Equal(n.nextHops, old.nextHops) || own != old.own || first {
		n.Export = peering.Shutdown(peering.Policy(r.Export, as))
		if len(r.AdvertiseNextHops) > 0 {
			n.Export = peering.Only(n.nextHops, n.Export)
		}
		if own {
			n.Export = peering.Own(n.Export)
		}
	}
	if r.Neighbor != nil && p.drain != DrainAll {
		n.originate, n.draining = r.Neighbor.DefaultOriginate, p.drain == DrainOn
	}
	if n.Default = old.Default; !n.originate.Equal(old.originate) || n.draining != old.draining || first {
		n.Default = peering.Default(n.originate, as, n.draining)
	}
	if r.AS != p.cfg.AS { // what has no policy exchanges nothing (RFC 8212, Section 3)
		if len(r.Import) == 0 {
			n.Import = nil
		}
		if len(r.Export) == 0 {
			n.Export = nil
		}
	}
	return n
}

func (p peer) same(o peer) bool {
	policies := p.originate.Equal(o.originate) && p.draining == o.draining && p.imports.Equal(o.imports) && p.exports.Equal(o.exports) && slices.Equal(p.nextHops, o.nextHops) && p.own == o.own
	for _, c := range []*peer{&p, &o} {
		c.Import, c.Export, c.Default = nil, nil, rib.DefaultRoute{}
	}
	return policies && reflect.DeepEqual(p.PeerConfig, o.PeerConfig)
}

// settleTime is how long a session is up until it counts as one that has sent all of its
// routes, if no End-of-RIB is promised.
const settleTime = 5 * time.Second

// settled reports whether a peer is up and has sent all of its routes. What it asks for is no route.
func settled(p bgp.PeerStatus, now time.Time) bool {
	if p.State != bgp.Established {
		return false
	}
	if n := p.Negotiated; n != nil && !n.GracefulRestart && !now.Before(p.Since.Add(settleTime)) {
		return true // it promises no End-of-RIB
	}
	for _, f := range p.Families {
		if f.EndOfRIB.IsZero() && f.Family != wire.RTConstrain && (p.Negotiated == nil || p.Negotiated.Families.Has(f.Family)) {
			return false
		}
	}
	return true
}
