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
// which are safe for concurrent use.
type Speakers struct {
	log     *slog.Logger
	domains map[string]Member // by their names
	// transport replaces the kernel's TCP in tests; nil does not.
	transport func(*bgp.Config)
}

var _ failover.Paths = (*Speakers)(nil)

// New makes Speakers without domains.
func New(log *slog.Logger) *Speakers { return &Speakers{log: log, domains: map[string]Member{}} }

// Add makes the part of a domain in the speaker of its sessions, and the speaker itself for
// the first domain of it.
func (s *Speakers) Add(c *config.Config, d config.Domain, n Namespace) (m Member, err error) {
	for no, one := range peering.Members(c, d) {
		if first, ok := s.domains[one.Domain]; ok {
			m = Member{first.speaker, slices.IndexFunc(first.members, func(m peering.Member) bool { return m.Domain == d.Name })}
		} else if one.Domain == d.Name {
			m.no = no
			m.speaker, err = newSpeaker(s.log, s.transport, c, d, n)
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

// all yields every speaker once.
func (s *Speakers) all(yield func(*speaker) bool) {
	for _, m := range s.domains {
		if m.no == 0 && !yield(m.speaker) {
			return
		}
	}
}

// Run runs the speakers until ctx ends or one of them fails.
func (s *Speakers) Run(ctx context.Context, to Sink) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	for one := range s.all {
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
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside.Go(func() { logEvents(ctx, s) })
	beside.Go(func() { follow(ctx, s, to) })
	return s.bgp.Run(ctx)
}

// Lookup returns a domain's paths to a prefix, best first.
func (s *Speakers) Lookup(domain string, p netip.Prefix) []rib.Path {
	m := s.domains[domain]
	return m.members[m.no].Of(m.bgp.Table().Lookup(p), nil)
}

// Paths counts the paths of all peers.
func (s *Speakers) Paths() (n int) {
	for one := range s.all {
		n += one.bgp.Table().Stats().Paths
	}
	return n
}

// Missing names the peers that have not sent all of their routes, and counts all peers.
func (s *Speakers) Missing() (names []string, all int) {
	for one := range s.all {
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
	var wait time.Duration
	for one := range s.all {
		wait = max(wait, time.Until(one.deferral))
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for one := range s.all {
		select {
		case <-one.initialSync.all:
		case <-ctx.Done():
		}
	}
}

// Shutdown ends all sessions with Cease/Administrative Shutdown and a text (RFC 9003,
// Section 2).
func (s *Speakers) Shutdown(text string) {
	for one := range s.all {
		one.bgp.Shutdown(text)
	}
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
	d.report(w.Peer, d.bgp.PathDown(w.Peer, why))
}

// PathUp implements [failover.Paths].
func (s *Speakers) PathUp(w peering.Watch) {
	s.mark(w, false)
	if !w.Probe() {
		d := s.domains[w.Domain]
		d.report(w.Peer, d.bgp.PathUp(w.Peer))
	}
}

// mark notes what a watch says about the next hops of speakers that have several.
func (s *Speakers) mark(w peering.Watch, dead bool) {
	for d := range s.all {
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
	for d := range s.all {
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
	for d := range s.all {
		if d.netns == n && d.wide && d.nextHops.Carrier(name, false) {
			d.updateNextHops()
		}
	}
}
