package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

var _ api.Backend = (*Daemon)(nil)

// ask runs f on the loop; once the daemon ends it does nothing.
func (d *Daemon) ask(f func(*router)) { d.loop.do(d.ctx, func() { f(d.router) }) }

// Sessions implements [api.Backend].
func (d *Daemon) Sessions() (out []api.Session) {
	var c *config.Config
	d.ask(func(r *router) { c = r.cfg })
	if c == nil {
		return nil
	}
	bfds := d.bfdStates()
	for _, one := range d.sessions.Status(c) {
		out = append(out, session(c, one, bfds))
	}
	return out
}

func session(c *config.Config, one sessions.Status, bfds map[bfd.Key]bfd.Status) api.Session {
	ref, p := one.Reflector, one.Peer
	s := api.Session{Domain: one.Domains, NetNS: string(one.NetNS), Name: ref.Name, Fabric: ref.Fabric, Interface: ref.Interface,
		Local: ref.Local.Addr, Peer: ref.Peer.Addr, State: p.State.String(), Since: p.Since, BFD: "off",
		Restart: p.Restart.String(), Ups: p.Established}
	if b, ok := bfds[peering.BFDKey(one.NetNS, ref)]; ok {
		s.BFD = b.State.String()
	}
	if n := p.Negotiated; n != nil && n.GracefulRestart {
		s.RestartTime = n.Local.GracefulRestart.Time.String()
	}
	if p.LastError != nil {
		s.Error, s.ErrorAt = p.LastError.Error(), p.LastError.Time
	}
	if p.Plain != nil {
		s.Plain = p.Plain.Error()
	}
	for _, f := range p.Families {
		s.Families = append(s.Families, api.FamilyRoutes{Family: familyName(f.Family), Received: f.Paths, Stale: f.Stale, Refused: f.Refused.Total(),
			Counted: f.Counted, Maximum: f.PrefixLimit.Maximum, Limit: f.Limit.String(), Blocked: f.Refused[rib.ReasonOverLimit], NoNextHop: f.NoNextHop})
	}
	if p.LastLimit != nil {
		s.LimitError, s.LimitErrorAt, s.RefusedUntil = p.LastLimit.Error(), p.LastLimit.Time, p.RefusedUntil
	}
	for _, hop := range one.NextHops {
		s.NextHops = append(s.NextHops, nextHop(c, ref, hop, bfds))
	}
	return s
}

func nextHop(c *config.Config, r config.Reflector, w sessions.NextHop, bfds map[bfd.Key]bfd.Status) api.NextHop {
	out := api.NextHop{Domain: w.Domain, Fabric: w.Fabric, Interface: w.Interface, NextHop4: w.NextHop4.Addr, NextHop6: w.NextHop6.Addr,
		Probe: w.Probe.Addr, BFD: "off", Alive: w.Alive}
	if p, ok := peering.Probe(c, c.NetNSOf(r, w.Own), w.NextHop); ok {
		if b, ok := bfds[p.Key]; ok {
			out.BFD = b.State.String()
		}
	}
	return out
}

func familyName(f wire.Family) string {
	if f == wire.IPv6Unicast {
		return string(config.IPv6)
	}
	return string(config.IPv4)
}

func (d *Daemon) bfdStates() map[bfd.Key]bfd.Status {
	out := map[bfd.Key]bfd.Status{}
	all, _ := d.failover.Sessions() // no answer: shown as "off"
	for _, s := range all {
		out[s.Key] = s
	}
	return out
}

// BFD implements [api.Backend].
func (d *Daemon) BFD() ([]api.BFD, error) {
	out := []api.BFD{}
	all, err := d.failover.Sessions()
	for _, s := range all {
		out = append(out, api.BFD{NetNS: d.netnsName(s.NetNS), Local: s.Local, Peer: s.Peer, Interface: s.Interface, State: s.State.String(),
			RemoteState: s.RemoteState.String(), Reason: s.Reason.String(), Discr: s.Discr, RemoteDiscr: s.RemoteDiscr,
			Interval: s.TxInterval.String(), Detect: s.DetectTime.String(), RemoteC: s.RemoteC, Echo: d.failover.Echo(s.Key), Downs: s.Downs, Since: s.Since})
	}
	slices.SortFunc(out, func(a, b api.BFD) int {
		return cmp.Or(strings.Compare(a.NetNS, b.NetNS), strings.Compare(a.Interface, b.Interface), a.Peer.Compare(b.Peer))
	})
	return out, err
}

// RIB implements [api.Backend].
func (d *Daemon) RIB(name string, prefix netip.Prefix) []api.RIBEntry {
	out := []api.RIBEntry{}
	d.ask(func(r *router) {
		for _, n := range r.order {
			if name != "" && n != name {
				continue
			}
			g := r.domains[n]
			for p := range g.rib.Prefixes {
				if !prefix.IsValid() || p == prefix {
					out = append(out, ribEntry(g, p))
				}
			}
		}
	})
	slices.SortFunc(out, func(a, b api.RIBEntry) int {
		x, y := netip.MustParsePrefix(a.Prefix), netip.MustParsePrefix(b.Prefix)
		return cmp.Or(strings.Compare(a.Domain, b.Domain), x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
	})
	return out
}

func ribEntry(g *routing, p netip.Prefix) api.RIBEntry {
	e := api.RIBEntry{Domain: g.name, Prefix: p.String()}
	s, _ := g.rib.Explain(p)
	switch {
	case s.Local != nil:
		e.Source, e.Gateways, e.LocalPref = "local", gatewaysOf(s.Local.NextHops), s.Local.LocalPref
	case len(s.Learned) > 0:
		e.Source, e.Gateways, e.LocalPref = "learned", gatewaysOf(s.Learned[0].NextHops), 100
	default:
		e.Source, e.Gateways = "bgp", gatewaysOf(s.BGP)
	}
	e.Announced, e.Why = g.exports.Status(p)
	return e
}

func gatewaysOf(hops []domain.NextHop) (out []api.Gateway) {
	for _, h := range hops {
		out = append(out, api.Gateway{Address: h.Gateway, Link: h.Link, OnLink: h.OnLink})
	}
	return out
}

// FIB implements [api.Backend].
func (d *Daemon) FIB(table uint32) []api.FIBRoute {
	out := []api.FIBRoute{}
	for _, n := range d.namespaces {
		out = append(out, d.routesOf(n, table)...)
	}
	return out
}

func (d *Daemon) routesOf(n *netns.Namespace, table uint32) (out []api.FIBRoute) {
	name := d.linkNames(n)
	if name == nil {
		return nil
	}
	for s := range n.Kernel().Routes() {
		if table == 0 || s.Table == table {
			r := fibRoute(s, name)
			r.NetNS = string(n.NetNS())
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b api.FIBRoute) int {
		x, y := netip.MustParsePrefix(a.Prefix), netip.MustParsePrefix(b.Prefix)
		return cmp.Or(cmp.Compare(a.Table, b.Table), x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()), cmp.Compare(a.Metric, b.Metric))
	})
	return out
}

// linkNames returns the names of a namespace's interfaces, nil once the daemon ends.
func (d *Daemon) linkNames(n *netns.Namespace) (name func(int) string) {
	d.ask(func(*router) {
		names := map[int]string{}
		for l := range n.Links().All {
			names[l.IfIndex] = l.Interface
		}
		name = func(i int) string { return cmp.Or(names[i], fmt.Sprintf("if%d", i)) }
	})
	return name
}

func fibRoute(s fib.RouteStatus, name func(int) string) api.FIBRoute {
	f := api.FIBRoute{Table: s.Table, Prefix: s.Prefix.String(), Metric: s.Metric, Type: cmp.Or(s.Type, fib.RouteUnicast).String(),
		PrefSrc: s.PrefSrc, State: s.State.String(), NextHop: s.NextHopID}
	if s.Err != nil {
		f.Error = s.Err.Error()
	}
	for _, h := range s.NextHops {
		f.Gateways = append(f.Gateways, api.Gateway{Address: h.Gateway, Link: name(h.IfIndex), OnLink: h.OnLink})
	}
	return f
}

// Status implements [api.Backend].
func (d *Daemon) Status() (s api.Status) {
	d.ask(func(r *router) {
		s = api.Status{PID: os.Getpid(), Started: d.started, Restarted: d.again, Converged: r.converged,
			Config: d.opt.ConfigFile, Reloaded: r.reloaded, NotOnLink: r.notOnLink}
		s.NotAnnounced, s.Withdrawn = r.held()
	})
	s.Missing, _ = d.sessions.Missing()
	s.Namespaces = map[string]string{}
	for _, n := range d.namespaces {
		k := n.Kernel().Stats()
		s.Writes += k.Adds + k.Replaces + k.Deletes + k.ObjectWrites + k.RuleWrites
		if n.NetNS() != "" {
			s.Namespaces[string(n.NetNS())] = n.NameState().String()
		}
	}
	return s
}

// Explain implements [api.Backend].
func (d *Daemon) Explain(p netip.Prefix) api.Explanation {
	e := api.Explanation{Prefix: p.String()}
	d.ask(func(r *router) { e.Lines = r.explain(p, d.sessions.Lookup) })
	return e
}

// Diff implements [api.Backend].
func (d *Daemon) Diff() []api.Difference {
	out := []api.Difference{}
	for _, s := range d.namespaces {
		for _, diff := range s.Kernel().Diff() {
			out = append(out, api.Difference{NetNS: string(s.NetNS()), Op: diff.Op, What: fmt.Sprint(diff.Key), Want: diff.Want, Have: diff.Have})
		}
	}
	return out
}

// Put implements [api.Backend].
func (d *Daemon) Put(guests []config.Entry) error {
	var c *config.Config
	d.ask(func(r *router) { c = r.cfg })
	if c == nil {
		return context.Canceled
	}
	h := d.facts(c)
	return d.change(func(r *router, in *guest.Inventory) error {
		in.Use(r.cfg.Admission(h))
		return in.Put(guests...)
	})
}

// Remove implements [api.Backend].
func (d *Daemon) Remove(name string) error {
	return d.change(func(_ *router, in *guest.Inventory) error {
		if !in.Knows(name) {
			return fmt.Errorf("guest %s: %w", name, api.ErrNotFound)
		}
		return in.Remove(name)
	})
}

// Move implements [api.Backend].
func (d *Daemon) Move(name string, m api.Move) error {
	return d.change(func(_ *router, in *guest.Inventory) error { return move(in, name, m) })
}

// Reload implements [api.Backend].
func (d *Daemon) Reload(opt api.ReloadOptions) (api.Reload, error) { return d.reload(d.ctx, opt) }

// Drops implements [api.Backend].
func (d *Daemon) Drops() (out []api.Drop) {
	for _, s := range d.namespaces {
		drops, err := s.Drops()
		if err != nil {
			continue
		}
		for kind, n := range drops {
			out = append(out, api.Drop{NetNS: string(s.NetNS()), Kind: kind, Packets: n})
		}
	}
	return out
}

// netnsName returns the name of the namespace at a path, or the path if it is none of
// ours.
func (d *Daemon) netnsName(path string) string {
	for _, s := range d.namespaces {
		if s.NetNS().Path() == path {
			return string(s.NetNS())
		}
	}
	return path
}
