package sessions

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Namespace is what a speaker asks of the network namespace that its sockets are in, when it
// is made and when it is configured.
type Namespace interface {
	// Path leads to the namespace as long as the process lives; "" is the process's own.
	Path() string
	// LinkLocal returns the IPv6 link-local address of an interface, the zero Addr if it has
	// none.
	LinkLocal(link string) netip.Addr
	// Preserved returns the families whose forwarding state an earlier run has left in the
	// tables of all of these domains.
	Preserved(domains []config.Domain, carries func(config.Domain) (v4, v6 bool)) []wire.Family
}

// speaker is the BGP of one domain, or of those that share its sessions.
type speaker struct {
	bgp       *bgp.Speaker
	log       *slog.Logger
	name      string // of the domain; "shared" if it has several
	netns     config.NetNS
	namespace Namespace // of configure's caller only
	members   []peering.Member
	// cBit reports that BFD does not share the fate of this process.
	cBit bool
	// wide reports that some session has more next hops than its own.
	wide     bool
	nextHops failover.NextHops
	now      func() time.Time
	wake     chan struct{} // capacity 1: the follower has something to do
	// patience is how long routes of an earlier run stay while no peer is there to say what
	// they should be.
	patience time.Duration
	// deferral is until when the sessions have time to come up after the start.
	deferral    time.Time
	initialSync initialSync

	paths pathStates // what BFD has said of the paths to the peers

	mu       sync.Mutex
	plan     plan
	again    bool                // all paths are to be taken once more: next hops died, or live again
	next     time.Time           // when proceed has something to do although no session has changed; zero: never
	complete []bool              // the inventory of each member is
	asked    []wire.ExtCommunity // route targets of the memberships that are originated
	early    early
	end      func() // ends what Run or Begin has started; nil: neither has
}

// endsBy sets what ends the speaker.
func (s *speaker) endsBy(end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = end
}

// finish ends the speaker, if it was started.
func (s *speaker) finish() {
	s.mu.Lock()
	end := s.end
	s.mu.Unlock()
	if end != nil {
		end()
	}
}

// newSpeaker makes the speaker of a domain, and of those that share its sessions.
func newSpeaker(of Config, c *config.Config, d config.Domain, n Namespace) (*speaker, error) {
	members := peering.Members(c, d)
	var domains []config.Domain
	for _, m := range members {
		domains = append(domains, *c.Domain(m.Domain))
	}
	preserved := n.Preserved(domains, c.Families)
	if len(preserved) > 0 && c.CarriesEVPN(d) {
		// Where an earlier run's routes are in the kernel its VXLAN devices are, too, with their entries.
		// What we ask for the peers keep as well, else they would withdraw until they hear it again.
		preserved = append(slices.Clip(preserved), wire.L2VPNEVPN, wire.RTConstrain)
	}
	cfg := peering.Speaker(c, d, preserved)
	cfg.NetNS = n.Path()
	if of.BGP != nil {
		of.BGP(&cfg)
	}
	b, err := bgp.New(cfg)
	if err != nil {
		return nil, err
	}
	restart := c.BGP.GracefulRestart
	s := &speaker{bgp: b, log: of.Log, name: d.Name, netns: d.NetNS, namespace: n, members: members, cBit: c.BFD.Process == "separate",
		now: of.Now, wake: make(chan struct{}, 1), patience: restart.Time.Duration + restart.LongLived.Duration, deferral: of.Now().Add(restart.Deferral.Duration),
		initialSync: newInitialSync(), plan: plan{members: members, peers: map[bgp.PeerKey]peer{}}, complete: make([]bool, len(members))}
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

// configure brings the sessions in line with the configuration; sessions that did not change
// are left alone. It reads our link-local addresses anew.
func (s *speaker) configure(c *config.Config, d config.Domain) {
	ours := map[string]netip.Addr{}
	sessions, _ := c.SessionsOf(d)
	for _, r := range sessions {
		ours[r.Interface] = s.namespace.LinkLocal(r.Interface)
	}
	s.paths.keep(sessions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setMemberships(c)
	s.plan.cfg, s.plan.domain, s.plan.linkLocal = c, d, ours
	s.reconcile()
}

// updateNextHops changes what is announced and what is used, because next hops died or live
// again.
func (s *speaker) updateNextHops() {
	s.mu.Lock()
	if s.plan.cfg != nil {
		s.reconcile()
	}
	s.mu.Unlock()
	s.ring()
}

// ring has the follower take all paths once more.
func (s *speaker) ring() {
	s.mu.Lock()
	s.again = true
	s.mu.Unlock()
	s.poke()
}

// poke wakes the follower.
func (s *speaker) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takesAll reports, once, that all paths are to be taken once more.
func (s *speaker) takesAll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.again
	s.again = false
	return again
}

// deadline returns when proceed or sayEarly is due, the zero time if never.
func (s *speaker) deadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return earliest(s.next, s.early.next)
}

// due reports whether proceed is.
func (s *speaker) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.next.IsZero() && !s.now().Before(s.next)
}

// proceed goes on with what waits for sessions: a rollout, and the initial sync.
func (s *speaker) proceed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.plan.cfg == nil:
	case s.plan.rollout.waits():
		s.reconcile()
	default:
		s.noteSync(s.now())
	}
}

// reconcile adds, changes and removes peers, each when the rollout says; the lock is held.
func (s *speaker) reconcile() {
	now := s.now()
	changes, stuck := s.plan.step(now, s.nextHops.Dead(), s.status(), s.resets)
	for _, c := range changes {
		switch c.op {
		case addPeer:
			s.report(c.key, s.bgp.AddPeer(c.to))
		case updatePeer:
			s.report(c.key, s.bgp.UpdatePeer(c.to))
		case removePeer:
			s.report(c.key, s.bgp.RemovePeer(c.key))
		}
	}
	if len(stuck) > 0 {
		s.log.Error("sessions did not come back with their new configuration: the others stay as they are", "event", "rollout-stuck", "domain", s.name, "waiting", stuck)
	}
	s.noteSync(now)
}

// noteSync notes which peers have sent all of their routes, and has proceed called when time
// makes a difference; the lock is held.
func (s *speaker) noteSync(now time.Time) {
	next, done := s.plan.rollout.deadline(), 0
	peers := s.bgp.Peers()
	for _, p := range peers {
		if settled(p, now) {
			done++
		} else if t := p.Since.Add(settleTime); p.State == bgp.Established && now.Before(t) {
			next = earliest(next, t)
		}
	}
	all := len(peers)
	if s.plan.cfg != nil { // what has still to be found is a peer that has sent nothing
		all += s.plan.domain.Awaits()
	}
	s.initialSync.note(done, all)
	if s.next = next; !next.IsZero() && !next.After(now) {
		s.next = now.Add(time.Millisecond)
	}
	s.poke()
}

// earliest returns the earlier of two times, of which the zero time is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// missing returns the peers that have not sent all of their routes.
func (s *speaker) missing() (list []bgp.PeerKey) {
	now := s.now()
	for _, p := range s.bgp.Peers() {
		if !settled(p, now) {
			list = append(list, p.Key)
		}
	}
	slices.SortFunc(list, compareKeys)
	return list
}

// status returns the status of the peers.
func (s *speaker) status() map[bgp.PeerKey]bgp.PeerStatus {
	out := map[bgp.PeerKey]bgp.PeerStatus{}
	for _, p := range s.bgp.Peers() {
		out[p.Key] = p
	}
	return out
}

func (s *speaker) resets(c bgp.PeerConfig) bool {
	resets, err := s.bgp.Resets(c)
	return resets || err != nil
}

// off reports whether a peer is disabled.
func (s *speaker) off(k bgp.PeerKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, off := s.plan.disabled[k]
	return off
}

func (s *speaker) report(k bgp.PeerKey, err error) {
	if err != nil && !errors.Is(err, bgp.ErrClosed) {
		s.log.Error("BGP session", "event", "bgp-error", "domain", s.name, "peer", k, "err", err)
	}
}

// probed lists the next hops of a speaker that probes watch.
func probed(c *config.Config, members []peering.Member) (list []peering.NextHop) {
	for _, w := range peering.Watches(c) {
		if w.Probe() && serves(members, w.Domain) {
			list = append(list, w.NextHops...)
		}
	}
	return list
}

func serves(members []peering.Member, name string) bool {
	return slices.ContainsFunc(members, func(m peering.Member) bool { return m.Domain == name })
}
