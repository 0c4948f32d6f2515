package daemon

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// Put adds guests, or changes those of the same names, as the API does.
func (c *Core) Put(guests []config.Entry) error { return c.change(put(guests, c.config.Host)) }

// Remove removes a guest.
func (c *Core) Remove(name string) error { return c.change(remove(name)) }

// Move changes where a guest is: how it is preferred, and whether it is down.
func (c *Core) Move(name string, m api.Move) error {
	if c.ended || !c.running {
		return errNotRunning
	}
	if c.router.moveOfFile(name, m) {
		return nil
	}
	return c.change(moves(name, m))
}

// Moves returns what Move has said of guests of the configuration, for [CoreConfig] of the next run.
func (c *Core) Moves() []guest.Moved { return c.router.guests.Moves() }

// Reload makes another configuration the one that counts, judged as any reload is: one that changes
// what only a restart can is refused, and without force also one that loses what people would
// miss. It returns what it changes; host facts are those of the [CoreConfig].
func (c *Core) Reload(next *config.Config, force bool) ([]api.Change, error) {
	if c.ended || !c.running {
		return nil, errNotRunning
	}
	list, _, err := c.router.tryReload(next, c.config.Host)
	if err != nil {
		return nil, err
	}
	if lost := losses(list); len(lost) > 0 && !force {
		return list, lost
	}
	c.router.reload(next, c.config.Host, list)
	c.router.settleMoves(guest.FromConfig)
	return list, nil
}

// Drain begins a drain, or changes what it withdraws, as `hvrouter drain` does. The Core goes on.
func (c *Core) Drain(all bool) error {
	if c.ended || !c.running {
		return errNotRunning
	}
	if d := c.router.draining.state; !d.On() || d.All != all {
		c.router.setDrain(DrainState{Since: c.config.Now(), All: all})
	}
	return nil
}

// Undrain ends it.
func (c *Core) Undrain() error {
	if c.ended || !c.running {
		return errNotRunning
	}
	c.router.setDrain(DrainState{})
	return nil
}

// DrainState returns the drain, for [CoreConfig] of the next run.
func (c *Core) DrainState() DrainState { return c.router.draining.state }

// Shutdown ends the Core as the end of its context ends a daemon, or a crash: everything stays in
// the kernel, connections are closed without a word to the peers, and BFD lives on.
func (c *Core) Shutdown() {
	c.ended = true
	c.sessions.End()
	for _, k := range c.kernels {
		k.routes.Close()
	}
	for _, l := range c.learners {
		l.changes.Close()
	}
	c.kernels, c.learners = nil, nil
}

// Ended reports whether the Core has ended, by Shutdown or an error.
func (c *Core) Ended() (bool, error) { return c.ended, c.err }

// Running reports whether the kernels have been read and routing has begun.
func (c *Core) Running() bool { return c.running }

// Ready reports whether every session is up and all of its routes have come, or the deferral time
// has passed since the start; why says which sessions are.
func (c *Core) Ready() (ready bool, why string) { return c.ready, c.readyFor }

// Converged reports whether what an earlier run left has been swept in every namespace.
func (c *Core) Converged() bool { return c.router.converged }

// Status returns what the API shows of the daemon, but for its process.
func (c *Core) Status() api.Status {
	s := c.router.status()
	s.Restarted = c.again
	s.Missing, _ = c.sessions.Missing()
	for _, n := range c.router.namespaces {
		s.Writes += writes(n.Kernel())
	}
	return s
}

// Guests returns the guests that are here and served, in the order of their names.
func (c *Core) Guests() []guest.Port { return c.router.attached.sorted() }

// DomainRoute is what a domain knows of a prefix.
type DomainRoute struct {
	Prefix netip.Prefix
	domain.Sources
	Kernel    []domain.Route // what is to be in the kernel because of it
	Announced bool           // to the peers
	// GracefulShutdown: it is announced to be used only if there is nothing else.
	GracefulShutdown bool
}

// Routes returns what a domain knows, in the order of the prefixes.
func (c *Core) Routes(name string) (list []DomainRoute) {
	g := c.router.domains[name]
	if g == nil {
		return nil
	}
	announced := map[netip.Prefix]domain.Announcement{}
	for a := range g.exports.Announced {
		announced[a.Prefix] = a
	}
	for _, p := range slices.SortedFunc(g.rib.Prefixes, netip.Prefix.Compare) {
		a, is := announced[p]
		one := DomainRoute{Prefix: p, Announced: is, GracefulShutdown: a.GracefulShutdown}
		one.Sources, one.Kernel = g.rib.Explain(p)
		list = append(list, one)
	}
	return list
}
