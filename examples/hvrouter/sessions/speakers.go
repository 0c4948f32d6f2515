package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Speakers is the BGP of all domains. All calls of Add come before those of its other methods,
// which are safe for concurrent use, but for Step and Deadline. Either Run runs it, or Begin and
// then Step, which one goroutine calls.
type Speakers struct {
	config  Config
	domains map[string]Member // by their names
	list    []*speaker        // each once, in the order of the domains
	driven  []*worker         // by Step; nil under Run
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

// Add makes the part of a domain in the speaker of its sessions, and the speaker itself for
// the first domain of it.
func (s *Speakers) Add(c *config.Config, d config.Domain, n Namespace) (m Member, err error) {
	for no, one := range peering.Members(c, d) {
		if first, ok := s.domains[one.Domain]; ok {
			m = Member{first.speaker, slices.IndexFunc(first.members, func(m peering.Member) bool { return m.Domain == d.Name })}
		} else if one.Domain == d.Name {
			m.no = no
			if m.speaker, err = newSpeaker(s.config, c, d, n); err == nil {
				s.list = append(s.list, m.speaker)
			}
		} else {
			continue
		}
		if err == nil {
			s.domains[d.Name] = m
		}
		return m, err
	}
	return m, fmt.Errorf("domain %s has no speaker", d.Name)
}

// BGP returns the speakers, in the order of their domains.
func (s *Speakers) BGP() (list []*bgp.Speaker) {
	for _, one := range s.list {
		list = append(list, one.bgp)
	}
	return list
}

// In returns the speakers of a namespace, in the order of their domains.
func (s *Speakers) In(n config.NetNS) (list []*bgp.Speaker) {
	for _, one := range s.list {
		if one.netns == n {
			list = append(list, one.bgp)
		}
	}
	return list
}

// Run runs the speakers until ctx ends or one of them fails.
func (s *Speakers) Run(ctx context.Context, to Sink) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	for _, one := range s.list {
		running.Go(func() {
			if err := run(ctx, one, to); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("BGP %s: %w", one.name, err))
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
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
	for _, one := range s.list {
		s.driven = append(s.driven, newWorker(one, to))
		if d := one.bgp.Driver(); d != nil {
			if err := d.Start(); err != nil {
				return fmt.Errorf("BGP %s: %w", one.name, err)
			}
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
		if d := w.follower.bgp.Driver(); d != nil {
			d.Stop()
		}
		w.events.close()
		w.follower.close()
	}
	s.driven = nil
}

// Lookup returns a domain's paths to a prefix, best first.
func (s *Speakers) Lookup(domain string, p netip.Prefix) []rib.Path {
	m := s.domains[domain]
	return m.members[m.no].Of(m.bgp.Table().Lookup(p), nil)
}

// Paths counts the paths of all peers.
func (s *Speakers) Paths() (n int) {
	for _, one := range s.list {
		n += one.bgp.Table().Stats().Paths
	}
	return n
}

// Missing names the peers that have not sent all of their routes, and counts all peers.
func (s *Speakers) Missing() (names []string, all int) {
	for _, one := range s.list {
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
	for _, one := range s.list {
		select {
		case <-one.initialSync.all:
		case <-ctx.Done():
		}
	}
}

// Synced reports whether WaitSync would not wait, and if it would, until when at most.
func (s *Speakers) Synced() (synced bool, until time.Time) {
	until = s.deferral()
	return !s.config.Now().Before(until) || !slices.ContainsFunc(s.list, func(one *speaker) bool { return !closed(one.initialSync.all) }), until
}

// deferral returns until when the sessions have time to come up after the start.
func (s *Speakers) deferral() (last time.Time) {
	for _, one := range s.list {
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
	d := s.domains[w.Domain]
	why := bgp.PathFailureBFDDown
	if remoteC && d.cBit {
		why = bgp.PathFailureBFDDownIndependent
	}
	d.sayBFD(w.Peer, pathFailed, func() error { return d.bgp.PathDown(w.Peer, why) })
}

// PathAdminDown implements [failover.Paths].
func (s *Speakers) PathAdminDown(w peering.Watch) {
	if !w.Probe() {
		d := s.domains[w.Domain]
		d.sayBFD(w.Peer, pathAdminDown, func() error { return d.bgp.PathDown(w.Peer, bgp.PathFailureBFDRemoteAdminDown) })
	}
}

// PathUp implements [failover.Paths].
func (s *Speakers) PathUp(w peering.Watch) {
	s.mark(w, false)
	if !w.Probe() {
		d := s.domains[w.Domain]
		d.sayBFD(w.Peer, pathUp, func() error { return d.bgp.PathUp(w.Peer) })
	}
}

// mark notes what a watch says about the next hops of speakers that have several.
func (s *Speakers) mark(w peering.Watch, dead bool) {
	for _, d := range s.list {
		var mine []peering.NextHop
		for _, hop := range w.NextHops {
			if serves(d.members, hop.Domain) {
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
	for _, d := range s.list {
		if d.netns != n {
			continue
		}
		if n := d.bgp.LinkDown(name); n > 0 {
			d.log.Warn("carrier lost", "event", "carrier-lost", "domain", d.name, "interface", name, "sessions", n)
		}
		if d.wide && d.nextHops.Carrier(name, true) {
			d.updateNextHops()
		}
	}
}

// LinkUp notes that an interface has its carrier again.
func (s *Speakers) LinkUp(n config.NetNS, name string) {
	for _, d := range s.list {
		if d.netns == n && d.wide && d.nextHops.Carrier(name, false) {
			d.updateNextHops()
		}
	}
}
