package daemon

import (
	"log/slog"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"

	"github.com/hyperfib/hyperfib/bfd"
)

// A start, whoever drives the daemon: newFailover, newRouter; each namespace is read; addDomains,
// firstInventory, begin; configureSessions, and BFD's sessions; announceComplete.

// newFailover makes what follows BFD in namespaces.
func newFailover(log *slog.Logger, now func() time.Time, all []*netns.Namespace, s *sessions.Speakers, service bfd.Service) *failover.Monitor {
	kernels := map[string]failover.Kernel{}
	for _, n := range all {
		kernels[n.NetNS().Path()] = n.Kernel()
	}
	return failover.New(failover.Config{Log: log, Now: now, Kernels: kernels, Paths: s, Service: service})
}

// addDomains makes the domains of the configuration, with their speakers.
func (r *router) addDomains(s *sessions.Speakers) error {
	r.sessions = s
	for _, d := range r.cfg.Domains {
		m, err := s.Add(r.cfg, d, r.at(d.NetNS))
		if err != nil {
			return err
		}
		r.addDomain(d, m)
	}
	r.linksDown(s)
	return nil
}

// linksDown has next hops over interfaces without a carrier not announced from the beginning: only
// a loss is an event.
func (r *router) linksDown(s *sessions.Speakers) {
	for _, n := range r.namespaces {
		for l := range n.Links().All {
			if !l.Up() {
				s.LinkDown(n.NetNS(), l.Interface)
			}
		}
	}
}

// firstInventory takes the guests of the configuration, and what was read of others.
func (r *router) firstInventory(h config.Host, n inventoryReading) {
	r.unread = unread{directory: r.cfg.Inventory.Directory != "", state: true}
	r.guests.Use(r.cfg.Admission(h))
	r.logRefused(r.guests.Replace(guest.FromConfig, r.cfg.Entries()))
	r.onInventory(n)
}

// begin takes over what an earlier run has left, and sets everything that follows from the
// configuration, but for the sessions.
func (r *router) begin() {
	r.adoptEarlierRun()
	r.linkLocals = false // the sessions are configured next, for the first time
	r.refresh()
}

// announceComplete says to BGP of each domain of which that is so that everything of ours is
// announced.
func (r *router) announceComplete() {
	for g := range r.all {
		r.announcements.complete(g)
	}
}
