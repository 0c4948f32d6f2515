package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Speakers is the BGP of all domains. Its methods are safe for concurrent use, but for Step,
// Deadline and End, and for Add and Remove, of which one goroutine calls all. Either Run runs it, or
// Begin and then Step.
type Speakers struct {
	config Config

	mu       sync.RWMutex
	domains  map[string]Member        // by their names; never written to, but replaced
	list     []*speaker               // each once, in the order in which they came; never written to, but replaced
	disabled map[bgp.PeerKey]Disabled // what Disable said last
	start    func(*speaker) error     // starts one that is added; nil: before Run and Begin

	driven []*worker // by Step; nil under Run
}

// Config is what Speakers work with.
type Config struct {
	Log *slog.Logger     // required
	Now func() time.Time // required
	// BGP changes the configuration of each speaker before it is made; nil does not.
	BGP func(*bgp.Config)
}

var _ failover.Paths = (*Speakers)(nil)

// New makes Speakers without domains.
func New(c Config) *Speakers { return &Speakers{config: c, domains: map[string]Member{}} }

// all returns the speakers, which are not to be changed.
func (s *Speakers) all() []*speaker {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.list
}

// member returns the part of a domain in its speaker; ok is false if there is none.
func (s *Speakers) member(domain string) (m Member, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok = s.domains[domain]
	return m, ok
}

// Add makes the part of a domain in the speaker of its sessions, and the speaker itself for
// the first domain of it. Once Run or Begin has been called the speaker is started, and nothing of an
// earlier run counts as preserved for it; it must be the domain's alone.
func (s *Speakers) Add(c *config.Config, d config.Domain, n Namespace) (m Member, err error) {
	for no, one := range peering.Members(c, d) {
		if first, ok := s.member(one.Domain); ok {
			m = Member{first.speaker, slices.IndexFunc(first.members, func(m peering.Member) bool { return m.Domain == d.Name })}
		} else if one.Domain == d.Name {
			m.no = no
			if m.speaker, err = s.addSpeaker(c, d, n); err != nil {
				return m, err
			}
		} else {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.domains = maps.Clone(s.domains)
		s.domains[d.Name] = m
		return m, nil
	}
	return m, fmt.Errorf("domain %s has no speaker", d.Name)
}

// addSpeaker makes the speaker of a domain, and starts it if the others have been.
func (s *Speakers) addSpeaker(c *config.Config, d config.Domain, n Namespace) (*speaker, error) {
	s.mu.RLock()
	start := s.start
	s.mu.RUnlock()
	if start != nil {
		n = unpreserved{n}
	}
	one, err := newSpeaker(s.config, c, d, n)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	one.plan.disabled = s.disabled
	s.list = append(slices.Clip(s.list), one)
	s.mu.Unlock()
	if start != nil {
		if err := start(one); err != nil {
			s.forget(one)
			return nil, err
		}
	}
	return one, nil
}

// forget ends a speaker, if it was started, and has it be none of these.
func (s *Speakers) forget(one *speaker) {
	s.mu.Lock()
	s.list = slices.DeleteFunc(slices.Clone(s.list), func(o *speaker) bool { return o == one })
	s.mu.Unlock()
	one.finish()
}

// Try returns why Add would fail for a domain.
func (s *Speakers) Try(c *config.Config, d config.Domain, n Namespace) error {
	_, err := newSpeaker(s.config, c, d, unpreserved{n})
	return err
}

// unpreserved is a namespace in which an earlier run has left nothing.
type unpreserved struct{ Namespace }

func (unpreserved) Preserved([]config.Domain, func(config.Domain) (v4, v6 bool)) []wire.Family {
	return nil
}

// Remove ends the sessions of a domain, which are its alone, with Cease/Peer De-configured, and its
// speaker. The context of calls of the sink for it ends.
func (s *Speakers) Remove(domain string) {
	m, ok := s.member(domain)
	if !ok {
		return
	}
	m.retire()
	s.mu.Lock()
	s.domains = maps.Clone(s.domains)
	delete(s.domains, domain)
	s.mu.Unlock()
	s.forget(m.speaker)
}

// retire removes all peers for good.
func (s *speaker) retire() {
	s.mu.Lock()
	s.plan.cfg = nil // nobody reconciles any more
	s.mu.Unlock()
	for _, p := range s.bgp.Peers() {
		s.report(p.Key, s.bgp.RemovePeer(p.Key))
	}
}

// BGP returns the speakers, in the order in which their domains came.
func (s *Speakers) BGP() (list []*bgp.Speaker) {
	for _, one := range s.all() {
		list = append(list, one.bgp)
	}
	return list
}

// In returns the speakers of a namespace, in the order in which their domains came.
func (s *Speakers) In(n config.NetNS) (list []*bgp.Speaker) {
	for _, one := range s.all() {
		if one.netns == n {
			list = append(list, one.bgp)
		}
	}
	return list
}

// Run runs the speakers until ctx ends or one of them cannot begin. That another program listens where
// one should is no reason: its peers' listeners are tried again until they can be opened.
func (s *Speakers) Run(ctx context.Context, to Sink) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var mu sync.Mutex // guards over
	var over bool     // nothing is started any more
	var running sync.WaitGroup
	start := func(one *speaker) {
		mu.Lock()
		defer mu.Unlock()
		own, end := context.WithCancel(ctx)
		if one.endsBy(end); over {
			return
		}
		running.Go(func() {
			defer end()
			if err := run(own, one, to); err != nil && own.Err() == nil {
				fail(fmt.Errorf("BGP %s: %w", one.name, err))
			}
		})
	}
	for _, one := range s.starts(func(one *speaker) error { start(one); return nil }) {
		start(one)
	}
	<-ctx.Done()
	mu.Lock()
	over = true
	mu.Unlock()
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// starts sets what starts a speaker that is added from now on, and returns those that there are.
func (s *Speakers) starts(how func(*speaker) error) []*speaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = how
	return s.list
}

// run is a speaker at work, until ctx ends.
func run(ctx context.Context, s *speaker, to Sink) error {
	w := newWorker(s, to)
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside.Go(func() { w.events.run(ctx); w.events.close() })
	beside.Go(func() { w.follower.run(ctx); w.follower.close() })
	return s.bgp.Run(ctx)
}

// worker is what is done for a speaker, besides BGP itself.
type worker struct {
	events   *eventLog
	follower *follower
}

func newWorker(s *speaker, to Sink) *worker { return &worker{newEventLog(s), newFollower(s, to)} }

// Begin has Step do what Run does, and starts the drivers of the speakers that have one. One that
// is neither driven nor run has no sessions.
func (s *Speakers) Begin(to Sink) error {
	start := func(one *speaker) error {
		w := newWorker(one, to)
		s.driven = append(s.driven, w)
		one.endsBy(func() {
			s.driven = slices.DeleteFunc(slices.Clone(s.driven), func(o *worker) bool { return o == w })
			w.end()
		})
		if d := one.bgp.Driver(); d != nil {
			if err := d.Start(); err != nil {
				return fmt.Errorf("BGP %s: %w", one.name, err)
			}
		}
		return nil
	}
	for _, one := range s.starts(start) {
		if err := start(one); err != nil {
			return err
		}
	}
	return nil
}

// Step takes the events of the speakers and brings the sink the changes of their paths, up to
// changesAtOnce of each, and does what is due, as do their drivers. It reports whether there may
// be more. ctx has ended: nothing is waited for.
func (s *Speakers) Step(ctx context.Context) (more bool) {
	for _, w := range s.driven {
		for w.events.step(ctx) {
			more = true
		}
		more = w.follower.step(ctx) || more
		more = w.advance() || more
	}
	return more
}

// advance has the driver do what is due, and reports whether that was something.
func (w *worker) advance() bool {
	d := w.follower.bgp.Driver()
	if d == nil {
		return false
	}
	now, at := w.follower.now(), d.Deadline()
	if at.IsZero() || now.Before(at) {
		return false
	}
	d.Advance(now)
	return true
}

// Deadline returns when Step has something to do although nothing has changed, the zero time if
// never.
func (s *Speakers) Deadline() (next time.Time) {
	for _, w := range s.driven {
		next = earliest(next, w.follower.deadline())
		if d := w.follower.bgp.Driver(); d != nil {
			next = earliest(next, d.Deadline())
		}
	}
	return next
}

// End ends what Begin has begun, the drivers as a crash does.
func (s *Speakers) End() {
	for _, w := range s.driven {
		w.end()
	}
	s.driven = nil
}

// end ends what the worker does, its driver as a crash does.
func (w *worker) end() {
	if d := w.follower.bgp.Driver(); d != nil {
		d.Stop()
	}
	w.events.close()
	w.follower.close()
}

// Lookup returns a domain's paths to a prefix, best first.
func (s *Speakers) Lookup(domain string, p netip.Prefix) []rib.Path {
	m, ok := s.member(domain)
	if !ok {
		return nil
	}
	return m.members[m.no].Of(m.bgp.Table().Lookup(p), nil)
}

// Paths counts the paths of all peers.
func (s *Speakers) Paths() (n int) {
	for _, one := range s.all() {
		n += one.bgp.Table().Stats().Paths
	}
	return n
}

// Missing names the peers that have not sent all of their routes, and counts all peers.
func (s *Speakers) Missing() (names []string, all int) {
	for _, one := range s.all() {
		for _, k := range one.missing() {
			names = append(names, k.Addr.String())
		}
		all += len(one.bgp.Peers())
	}
	slices.Sort(names)
	return names, all
}

// WaitSync waits until every peer has sent all of its routes, or the deferral time has passed
// since the start, or ctx ends.
func (s *Speakers) WaitSync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.deferral().Sub(s.config.Now()))
	defer cancel()
	for _, one := range s.all() {
		select {
		case <-one.initialSync.all:
		case <-ctx.Done():
		}
	}
}

// Synced reports whether WaitSync would not wait, and if it would, until when at most.
func (s *Speakers) Synced() (synced bool, until time.Time) {
	until = s.deferral()
	return !s.config.Now().Before(until) || !slices.ContainsFunc(s.all(), func(one *speaker) bool { return !closed(one.initialSync.all) }), until
}

// deferral returns until when the sessions have time to come up after the start.
func (s *Speakers) deferral() (last time.Time) {
	for _, one := range s.all() {
		if last.Before(one.deferral) {
			last = one.deferral
		}
	}
	return last
}

// PathDown implements [failover.Paths].
func (s *Speakers) PathDown(w peering.Watch, remoteC bool) {
	s.mark(w, true)
	if w.Probe() {
		return
	}
	d, ok := s.member(w.Domain)
	if !ok {
		return // it was removed a moment ago
	}
	why := bgp.PathFailureBFDDown
	if remoteC && d.cBit {
		why = bgp.PathFailureBFDDownIndependent
	}
	d.sayBFD(w.Peer, pathFailed, func() error { return d.bgp.PathDown(w.Peer, why) })
}

// PathAdminDown implements [failover.Paths].
func (s *Speakers) PathAdminDown(w peering.Watch) {
	if d, ok := s.member(w.Domain); ok && !w.Probe() {
		d.sayBFD(w.Peer, pathAdminDown, func() error { return d.bgp.PathDown(w.Peer, bgp.PathFailureBFDRemoteAdminDown) })
	}
}

// PathUp implements [failover.Paths].
func (s *Speakers) PathUp(w peering.Watch) {
	s.mark(w, false)
	if d, ok := s.member(w.Domain); ok && !w.Probe() {
		d.sayBFD(w.Peer, pathUp, func() error { return d.bgp.PathUp(w.Peer) })
	}
}

// mark notes what a watch says about the next hops of speakers that have several.
func (s *Speakers) mark(w peering.Watch, dead bool) {
	for _, d := range s.all() {
		var mine []peering.NextHop
		for _, hop := range w.NextHops {
			if serves(d.members, hop.Domain) && !hop.Gateway.IsValid() { // one router is not its link
				mine = append(mine, hop)
			}
		}
		if d.wide && d.nextHops.Set(mine, dead) {
			d.updateNextHops()
		}
	}
}

// LinkDown ends the sessions over an interface of a namespace that has lost its carrier.
func (s *Speakers) LinkDown(n config.NetNS, name string) {
	for _, d := range s.all() {
		if d.netns == n {
			d.linkDown(name)
		}
	}
}

// linkDown ends the speaker's sessions over an interface that has lost its carrier.
func (s *speaker) linkDown(name string) {
	if n := s.bgp.LinkDown(name); n > 0 {
		s.log.Warn("carrier lost", "event", "carrier-lost", "domain", s.name, "interface", name, "sessions", n)
	}
	if s.wide && s.nextHops.Carrier(name, true) {
		s.updateNextHops()
	}
}

// LinkUp notes that an interface has its carrier again.
func (s *Speakers) LinkUp(n config.NetNS, name string) {
	for _, d := range s.all() {
		if d.netns == n && d.wide && d.nextHops.Carrier(name, false) {
			d.updateNextHops()
		}
	}
}
