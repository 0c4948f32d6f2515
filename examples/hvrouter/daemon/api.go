package daemon

import (
	"context"
	"net/netip"
	"os"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
)

// backend answers the API.
type backend struct {
	*Daemon
	ctx context.Context // of the run
}

var _ api.Backend = backend{}

// ask runs f on the loop; once the daemon ends it does nothing.
func (d backend) ask(f func(*router)) { d.loop.do(d.ctx, func() { f(d.router) }) }

// config returns the configuration that counts, nil once the daemon ends.
func (d backend) config() (c *config.Config) {
	d.ask(func(r *router) { c = r.cfg })
	return c
}

// Sessions implements [api.Backend].
func (d backend) Sessions() []api.Session {
	c := d.config()
	if c == nil {
		return nil
	}
	bfds, _ := d.failover.Sessions() // no answer: shown as "off"
	return show.Sessions(c, d.sessions.Status(c), bfds)
}

// BFD implements [api.Backend].
func (d backend) BFD() ([]api.BFD, error) {
	all, err := d.failover.Sessions()
	return show.BFD(all, d.netnsName, d.failover.Echo, d.failover.LastDown), err
}

// RIB implements [api.Backend].
func (d backend) RIB(name string, prefix netip.Prefix) (out []api.RIBEntry) {
	out = []api.RIBEntry{}
	d.ask(func(r *router) {
		domains := shown(r, d.sessions.Lookup)
		if name != "" {
			domains = slices.DeleteFunc(domains, func(g show.Domain) bool { return g.Name != name })
		}
		out = show.RIB(domains, prefix)
	})
	return out
}

// FIB implements [api.Backend].
func (d backend) FIB(table uint32) []api.FIBRoute {
	out := []api.FIBRoute{}
	for _, n := range d.router.namespaces {
		if names := d.linkNames(n); names != nil {
			out = append(out, show.FIB(n.NetNS(), n.Kernel().Routes(), table, func(i int) string { return show.LinkName(names[i], i) })...)
		}
	}
	return out
}

// linkNames returns the names of a namespace's interfaces, nil once the daemon ends.
func (d backend) linkNames(n *netns.Namespace) (names map[int]string) {
	d.ask(func(*router) {
		names = map[int]string{}
		for l := range n.Links().All {
			names[l.IfIndex] = l.Interface
		}
	})
	return names
}

// Guests implements [api.Backend].
func (d backend) Guests() (out []api.Guest) {
	d.ask(func(r *router) {
		out = show.Guests(&r.guests, r.attached.ports, func(name string) bool { _, ok := r.home().Links().ByName(name); return ok })
		for i := range out {
			if p, here := r.attached.ports[out[i].Name]; here && out[i].Present {
				for _, a := range r.edge.Abuse(p) {
					out[i].Abuse = append(out[i].Abuse, api.Abuse(a))
				}
			}
		}
	})
	return out
}

// EVPN implements [api.Backend].
func (d backend) EVPN() []api.EVPN {
	var list []overlay.Listed
	d.ask(func(r *router) { list = r.listEVPN() })
	return show.EVPN(list)
}

// Neighbours implements [api.Backend]: the kernel's tables of every namespace, joined with the
// addresses that guests were found to have.
func (d backend) Neighbours() ([]api.Neighbour, error) {
	all := []api.Neighbour{}
	for _, n := range d.router.namespaces {
		list, err := n.Kernel().Neighbours()
		if err != nil {
			return nil, err
		}
		d.ask(func(r *router) { all = append(all, neighboursAt(r, n, list)...) })
	}
	show.SortNeighbours(all)
	return all, nil
}

// Status implements [api.Backend].
func (d backend) Status() (s api.Status) {
	d.ask(func(r *router) { s = r.status() })
	s.PID, s.Started, s.Restarted, s.Config = os.Getpid(), d.started, d.again, d.opt.ConfigFile
	s.Missing, _ = d.sessions.Missing()
	if err := d.eventsError(); err != nil {
		s.EventsError = err.Error()
	}
	s.MovesError, s.DisabledError = d.movesError.Load(), d.disabledError.Load()
	s.StateErrors = d.stateErrors()
	s.Confirmation = d.reloader.trial.confirmation()
	s.RefusedFile = d.reloader.refusedFile(d.ctx, d.config())
	s.Reloads = api.Reloads{Done: d.reloader.done.Load(), Refused: d.reloader.refused.Load(), RolledBack: d.reloader.rolledBack.Load()}
	s.Namespaces = map[string]string{}
	for _, n := range d.router.namespaces {
		s.Writes += writes(n.Kernel())
		if n.NetNS() != "" {
			s.Namespaces[string(n.NetNS())] = n.NameState().String()
		}
	}
	return s
}

// Diff implements [api.Backend].
func (d backend) Diff() []api.Difference {
	out := []api.Difference{}
	for _, n := range d.router.namespaces {
		out = append(out, show.Differences(n.NetNS(), n.Kernel().Diff())...)
	}
	return out
}

// Events implements [api.Backend].
func (d backend) Events(recent int) (*journal.Reader, error) { return d.journal.Subscribe(recent) }

// Put implements [api.Backend].
func (d backend) Put(guests []config.Entry) error {
	c := d.config()
	if c == nil {
		return context.Canceled
	}
	return d.inventory.change(d.ctx, put(guests, facts(d.log, c)))
}

// Remove implements [api.Backend].
func (d backend) Remove(name string) error {
	return d.inventory.change(d.ctx, remove(name))
}

// Move implements [api.Backend].
func (d backend) Move(name string, m api.Move) (api.Done, error) {
	return d.inventory.move(d.ctx, name, m)
}

// Reload implements [api.Backend].
func (d backend) Reload(opt api.ReloadOptions) (api.Reload, error) {
	return d.reloader.reload(d.ctx, opt)
}

// ConfirmReload implements [api.Backend].
func (d backend) ConfirmReload() error { return d.reloader.confirm(d.ctx) }

// CancelReload implements [api.Backend].
func (d backend) CancelReload() error { return d.reloader.cancel(d.ctx) }

// Drops implements [api.Backend].
func (d backend) Drops() (out []api.Drop) {
	for _, s := range d.router.namespaces {
		drops, err := s.Drops()
		if err != nil {
			continue
		}
		floods, _ := s.Flooded()
		for kind, n := range drops {
			out = append(out, api.Drop{NetNS: string(s.NetNS()), Kind: kind, Packets: n, Interfaces: floods[kind]})
		}
	}
	return out
}

// netnsName returns the name of the namespace at a path, or the path if it is none of
// ours.
func (d backend) netnsName(path string) string {
	for _, s := range d.router.namespaces {
		if s.NetNS().Path() == path {
			return string(s.NetNS())
		}
	}
	return path
}
