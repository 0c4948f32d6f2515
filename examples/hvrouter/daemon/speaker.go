package daemon

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// speaker is the BGP of one domain, or of those that share its sessions: the adapter
// between the loop and package bgp.
type speaker struct {
	*bgp.Speaker
	log   *slog.Logger
	name  string
	netns config.NetNS
	cBit  bool // our BFD does not share the fate of this process
	// linkLocal gives our link-local address on an interface.
	linkLocal func(name string) netip.Addr
	members   []peering.Member
	// wide tells that some session has more next hops than its own.
	wide     bool
	nextHops *failover.NextHops
	again    chan struct{} // the paths are to be taken once more: next hops died, or live again
	// patience is how long routes of an earlier run stay while no peer is there to say
	// what they should be.
	patience time.Duration
	// deferral is how long the sessions have to come up after the start.
	deferral    time.Time
	initialSync initialSync

	mu       sync.Mutex
	peers    map[bgp.PeerKey]configured // as they are
	rollout  rollout                    // of what they should be
	timer    *time.Timer                // proceed
	complete []bool                     // the inventory of each member is
	cfg      *config.Config
	domain   config.Domain
}

// configured is a peer as it was last configured. Policies are functions, which
// cannot be compared, so what they were made of is kept.
type configured struct {
	bgp.PeerConfig
	imports, exports config.Policy
	fabric           string
	nextHops         []peering.Announced // nil: the session's own
}

// peer makes the configuration of a peer. Policies that have not changed are
// taken from old: a new one would make the session exchange its routes again.
func (s *speaker) peer(c *config.Config, r config.Reflector, dead failover.Dead, old configured) configured {
	p := configured{PeerConfig: peering.Peer(c, r, s.linkLocal(r.Interface)), imports: r.Import, exports: r.Export, fabric: r.Fabric}
	if len(r.AdvertiseNextHops) > 0 {
		p.nextHops = dead.Alive(peering.Announce(r, s.members))
	}
	p.Import, p.Export = old.Import, old.Export
	first := old.Addr != p.Addr
	if shared := s.members[0].Community != 0; !r.Import.Equal(old.imports) || first {
		p.Import = peering.Policy(r.Import)
		if shared {
			p.Import = peering.Known(s.members, p.Import)
		}
	}
	if !r.Export.Equal(old.exports) || !slices.Equal(p.nextHops, old.nextHops) {
		p.Export = peering.Policy(r.Export)
		if len(r.AdvertiseNextHops) > 0 {
			p.Export = peering.Only(p.nextHops, p.Export)
		}
	}
	return p
}

func (p configured) same(o configured) bool {
	policies := p.imports.Equal(o.imports) && p.exports.Equal(o.exports) && slices.Equal(p.nextHops, o.nextHops)
	for _, c := range []*configured{&p, &o} {
		c.Import, c.Export = nil, nil
	}
	return policies && reflect.DeepEqual(p.PeerConfig, o.PeerConfig)
}

// newSpeaker makes the speaker of a domain, and of those that share its sessions.
// Addresses of ours that do not exist cannot be listened on, their sessions only dial.
func newSpeaker(log *slog.Logger, c *config.Config, d config.Domain, p *namespace) (*speaker, error) {
	members := peering.Members(c, d)
	var domains []config.Domain
	for _, m := range members {
		domains = append(domains, *c.Domain(m.Domain))
	}
	preserved := p.preserved.families(domains, c.Families)
	cfg := peering.Speaker(c, d, preserved, p.links.hasAddress)
	cfg.NetNS = p.path
	b, err := bgp.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &speaker{Speaker: b, log: log, name: d.Name, netns: d.NetNS, peers: map[bgp.PeerKey]configured{},
		cBit: c.BFD.Process == "separate", linkLocal: p.links.linkLocal, members: members,
		deferral: time.Now().Add(c.BGP.GracefulRestart.Deferral.Duration), nextHops: &failover.NextHops{}, again: make(chan struct{}, 1), initialSync: newInitialSync(), patience: c.BGP.GracefulRestart.Time.Duration + c.BGP.GracefulRestart.LongLived.Duration}
	s.complete = make([]bool, len(s.members))
	s.timer = time.AfterFunc(time.Hour, s.proceed)
	s.timer.Stop()
	sessions, shared := c.SessionsOf(d)
	s.wide = slices.ContainsFunc(sessions, config.Reflector.Wide)
	if shared {
		s.name = "shared"
	}
	if len(preserved) == 0 {
		s.nextHops.Set(probed(c, s.members), true)
		s.ring()
	}
	return s, nil
}

// configure brings the sessions in line with the configuration; sessions that did not
// change are left alone.
func (s *speaker) configure(c *config.Config, d config.Domain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg, s.domain = c, d
	s.bring()
}

// updateNextHops looks again at what is announced and used, because next hops died or live again.
func (s *speaker) updateNextHops() {
	s.mu.Lock()
	if s.cfg != nil {
		s.bring()
	}
	s.mu.Unlock()
	s.ring()
}

// ring has [speaker.watch] take all paths once more.
func (s *speaker) ring() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// proceed goes on with what waits for sessions: a rollout, and who wants to know when all
// have said everything.
func (s *speaker) proceed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg == nil {
		return
	}
	if !s.rollout.began.IsZero() {
		s.bring()
		return
	}
	now, status := time.Now(), s.standings()
	s.wake(now, status)
}

// missing returns the peers that have not said everything.
func (s *speaker) missing() (list []bgp.PeerKey) {
	now := time.Now()
	for k, p := range s.standings() {
		if !settled(p, now) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b bgp.PeerKey) int { return cmp.Or(a.Addr.Compare(b.Addr), a.Local.Compare(b.Local)) })
	return list
}

// bring adds, changes and removes peers, each when the rollout says; the lock is held.
func (s *speaker) bring() {
	sessions, _ := s.cfg.SessionsOf(s.domain)
	dead := s.nextHops.Dead()
	next := map[bgp.PeerKey]configured{}
	var all []rolloutSession
	now, status := time.Now(), s.standings()
	for _, r := range sessions {
		k := peering.SessionKey(r)
		p := s.peer(s.cfg, r, dead, s.peers[k])
		next[k] = p
		one := rolloutSession{key: k, fabric: p.fabric, up: status[k].State == bgp.Established, settled: settled(status[k], now)}
		if old, ok := s.peers[k]; !ok {
			one.changed = true
		} else if one.changed = !old.same(p); one.changed {
			one.ends = one.up && s.resets(p.PeerConfig)
		}
		all = append(all, one)
	}
	for k, old := range s.peers {
		if _, ok := next[k]; !ok {
			up := status[k].State == bgp.Established
			all = append(all, rolloutSession{key: k, fabric: old.fabric, changed: true, gone: true, up: up, ends: up})
		}
	}
	list, stuck := s.rollout.step(now, all)
	for _, k := range list {
		s.change(k, next)
	}
	if stuck {
		s.log.Error("sessions did not come back with their new configuration: the others stay as they are", "event", "rollout-stuck", "domain", s.name, "waiting", waiting(all, list))
	}
	s.wake(now, s.standings())
}

// wake notes who has said everything, and comes again when time makes a difference.
func (s *speaker) wake(now time.Time, status map[bgp.PeerKey]bgp.PeerStatus) {
	next, done := s.rollout.deadline(), 0
	for _, p := range status {
		if settled(p, now) {
			done++
		} else if t := p.Since.Add(settleTime); p.State == bgp.Established && now.Before(t) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	s.initialSync.note(done, len(status))
	if !next.IsZero() {
		s.timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}

// change brings one peer in line with what is to be.
func (s *speaker) change(k bgp.PeerKey, next map[bgp.PeerKey]configured) {
	p, stays := next[k]
	_, known := s.peers[k]
	switch {
	case !stays:
		s.report(k, s.RemovePeer(k))
		delete(s.peers, k)
		return
	case known:
		s.report(k, s.UpdatePeer(p.PeerConfig))
	default:
		s.report(k, s.AddPeer(p.PeerConfig))
	}
	s.peers[k] = p
}

// standings returns the status of the peers.
func (s *speaker) standings() map[bgp.PeerKey]bgp.PeerStatus {
	out := map[bgp.PeerKey]bgp.PeerStatus{}
	if s.Speaker == nil {
		return out
	}
	for _, p := range s.Peers() {
		out[p.Key] = p
	}
	return out
}

func (s *speaker) resets(c bgp.PeerConfig) bool {
	resets, err := s.Resets(c)
	return resets || err != nil
}

// settled reports whether a peer is up and has said everything that it has to say.
func settled(p bgp.PeerStatus, now time.Time) bool {
	if p.State != bgp.Established {
		return false
	}
	if n := p.Negotiated; n != nil && !n.GracefulRestart && !now.Before(p.Since.Add(settleTime)) {
		return true // it promises no End-of-RIB
	}
	for _, f := range p.Families {
		if f.EndOfRIB.IsZero() && (p.Negotiated == nil || p.Negotiated.Families.Has(f.Family)) {
			return false
		}
	}
	return true
}

// waiting names what still waits.
func waiting(all []rolloutSession, done []bgp.PeerKey) (list []bgp.PeerKey) {
	for _, s := range all {
		if s.changed && !slices.Contains(done, s.key) {
			list = append(list, s.key)
		}
	}
	return list
}

func (s *speaker) report(k bgp.PeerKey, err error) {
	if err != nil && !errors.Is(err, bgp.ErrClosed) {
		s.log.Error("BGP session", "event", "bgp-error", "domain", s.name, "peer", k, "err", err)
	}
}

// changesAtOnce is how many prefixes the loop takes from BGP at a time: enough to
// be worth the switch, few enough that a guest's arrival waits under a millisecond.
const changesAtOnce = 256
