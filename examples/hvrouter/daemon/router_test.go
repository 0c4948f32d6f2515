package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/vxlan"
)

// trace notes every call of the fakes: what the loop does, in order.
type trace struct {
	lines     []string
	sysctls   map[string]string           // that stand, by namespace and path
	neighbors map[netip.Addr]fib.Neighbor // that stand
	drained   map[string]sessions.Drain   // default routes, by domain
}

func newTrace() *trace {
	return &trace{sysctls: map[string]string{}, neighbors: map[netip.Addr]fib.Neighbor{}, drained: map[string]sessions.Drain{}}
}

func (t *trace) add(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last call. Runs of equal kind come from maps in any
// order and are sorted.
func (t *trace) take() []string {
	lines := t.lines
	t.lines = nil
	kind := func(s string) string { w, _, _ := strings.Cut(s, " "); return w }
	for i := 0; i < len(lines); {
		j := i
		for j < len(lines) && kind(lines[j]) == kind(lines[i]) {
			j++
		}
		slices.Sort(lines[i:j])
		i = j
	}
	return lines
}

type fakeKernel struct {
	netns.Kernel // what is not faked is not used
	*trace
	netns string
}

func (k fakeKernel) OwnTable(table uint32) error {
	k.add("table %d is ours", table)
	return nil
}

// add notes a call, with the namespace.
func (k fakeKernel) add(format string, args ...any) {
	if k.netns != "" {
		format += " @" + k.netns
	}
	k.trace.add(format, args...)
}

func (k fakeKernel) SetRoute(r fib.Route) error {
	var hops []string
	for _, h := range r.NextHops {
		hops = append(hops, fmt.Sprintf("%v%%%d", h.Gateway, h.IfIndex))
	}
	k.add("route %v %s", r.RouteKey, strings.Join(hops, " "))
	return nil
}
func (k fakeKernel) DeleteRoute(key fib.RouteKey) error { k.add("unroute %v", key); return nil }
func (k fakeKernel) SetRule(r fib.Rule) error           { k.add("rule %v", r); return nil }
func (k fakeKernel) SetRuleAbsent(r fib.Rule) error     { k.add("rule-absent %v", r); return nil }
func (k fakeKernel) DeleteRule(r fib.Rule) error        { k.add("unrule %v", r); return nil }
func (k fakeKernel) SetAddress(a fib.Address) error {
	k.add("address %v link %d", a.Prefix, a.IfIndex)
	return nil
}
func (k fakeKernel) DeleteAddress(a fib.Address) error {
	k.add("unaddress %v link %d", a.Prefix, a.IfIndex)
	return nil
}
func (k fakeKernel) SetNeighbor(n fib.Neighbor) error {
	k.neighbors[n.Addr] = n
	k.add("neighbor %v %v link %d", n.Addr, config.MAC(n.MAC), n.IfIndex)
	return nil
}
func (k fakeKernel) DeleteNeighbor(n fib.Neighbor) error {
	delete(k.neighbors, n.Addr)
	k.add("unneighbor %v link %d", n.Addr, n.IfIndex)
	return nil
}
func (k fakeKernel) SetSysctl(s fib.Sysctl) error {
	k.sysctls[k.netns+s.Path] = s.Value
	return nil
}
func (k fakeKernel) DeleteSysctl(path string) error      { delete(k.sysctls, k.netns+path); return nil }
func (k fakeKernel) Watch(fib.WatchOptions) netns.Events { return nil }
func (k fakeKernel) Flush(context.Context) error         { k.add("flush"); return nil }
func (k fakeKernel) Sweep()                              { k.add("sweep") }
func (k fakeKernel) Probe(link int, a netip.Addr, mac [6]byte) {
	k.add("neighbour %v link %d at %x", a, link, mac)
}

type fakeBGP struct {
	*trace
	name string
}

func (b fakeBGP) Announce(list []domain.Announcement) {
	for _, a := range list {
		b.add("announce %s %v pref %d%s", b.name, a.Prefix, a.LocalPref, map[bool]string{true: " graceful-shutdown"}[a.GracefulShutdown])
	}
}
func (b fakeBGP) DrainDefaults(d sessions.Drain) {
	if d != b.drained[b.name] {
		b.drained[b.name] = d
		b.add("default routes of %s %s", b.name, []string{"as configured", "drained", "withdrawn"}[d])
	}
}
func (b fakeBGP) SetEVPN(list []overlay.Change) {
	for _, c := range list {
		if c.Origin == nil {
			b.add("withdraw EVPN %x", c.Key)
		} else {
			b.add("originate EVPN %v", &c.Origin.Route)
		}
	}
}

func (b fakeBGP) Withdraw(list []netip.Prefix) {
	for _, p := range list {
		b.add("withdraw %s %v", b.name, p)
	}
}
func (b fakeBGP) InventoryComplete()                      { b.add("inventory-complete %s", b.name) }
func (b fakeBGP) Configure(*config.Config, config.Domain) {}

type fakeEdge struct {
	edge // what is not faked is not used
	*trace
	stand, refused map[string]error // of overlays
}

func (e fakeEdge) Arrive(_ *config.Config, p guest.Port) {
	e.add("arrive %s link %d", p.Name, p.Link.IfIndex)
}
func (e fakeEdge) Serve(_ *config.Config, ports ...guest.Port) {
	for _, p := range ports {
		e.add("serve %s", p.Name)
	}
}
func (e fakeEdge) Reannounce(_ *config.Config, p guest.Port) { e.add("reannounce %s", p.Name) }
func (e fakeEdge) Silence(p guest.Port)                      { e.add("silence %s", p.Name) }
func (e fakeEdge) Known(p guest.Port)                        { e.add("known %s %v", p.Name, p.Heard) }
func (e fakeEdge) Leave(p guest.Port, gone bool)             { e.add("leave %s gone %v", p.Name, gone) }
func (e fakeEdge) Target(p netip.Prefix, link int)           { e.add("target %v link %d", p, link) }
func (e fakeEdge) NoTarget(p netip.Prefix)                   { e.add("target %v gone", p) }
func (e fakeEdge) Overlays(c *config.Config, _ func(string) (fib.Link, bool), vteps []netip.Addr, content func(string) eg.Content) map[string]error {
	stand := map[string]error{}
	if len(c.Overlays) > 0 {
		e.add("overlays %v", vteps)
	}
	for _, o := range c.Overlays {
		if err := e.stand[o.Name]; err != nil {
			stand[o.Name] = err
		} else if d := content(o.Name).EVPN; d != nil {
			e.add("overlay %s: flood %v, %d MACs, %d neighbours", o.Name, d.FloodList(), len(d.MACs), len(d.Neighbors))
			d.Taken()
			stand[o.Name] = nil
		}
	}
	return stand
}
func (e fakeEdge) Refused(name string) error { return e.refused[name] }
func (e fakeEdge) Displaced() []vxlan.Entry  { return nil }
func (e fakeEdge) Foreign() []vxlan.Entry    { return nil }
func (e fakeEdge) SweepOverlays()            {}

type fakeFirewall struct{ last firewall.Spec }

func (w *fakeFirewall) Apply(s firewall.Spec) error { w.last = s; return nil }

func (w *fakeFirewall) End(firewall.Spec) error { return nil }

func (w *fakeFirewall) Audit() ([]firewall.Difference, error) { return nil, nil }
func (w *fakeFirewall) Balance(ctx context.Context, _ func(netip.Addr, int)) error {
	<-ctx.Done()
	return nil
}

func (w *fakeFirewall) Watch(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }

func (w *fakeFirewall) Flooded() (map[string]map[string]uint64, error) { return nil, nil }

func (w *fakeFirewall) Drops() (map[string]uint64, error) {
	return map[string]uint64{"spoofed": 3}, nil
}

type bench struct {
	*router
	*trace
	t testing.TB
	// firewalls are those of the namespaces.
	firewalls map[*netns.Namespace]*fakeFirewall
}

// newBench makes a router over fakes with the sample configuration.
func newBench(t testing.TB) *bench { return newBenchOf(t, "hv1.yaml") }

// newBenchOf makes one with another sample.
func newBenchOf(t testing.TB, sample string) *bench {
	t.Helper()
	c, err := configtest.Sample(sample)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrace()
	return newBenchWith(t, c, slog.New(slog.DiscardHandler), func(name string) netns.Kernel { return fakeKernel{trace: tr, netns: name} }, tr)
}

// newBenchWith makes one with a kernel for each namespace.
func newBenchWith(t testing.TB, c *config.Config, log *slog.Logger, kernelOf func(name string) netns.Kernel, tr *trace) *bench {
	var all []*netns.Namespace
	firewalls := map[*netns.Namespace]*fakeFirewall{}
	for _, p := range c.Namespaces() {
		fw := &fakeFirewall{}
		n := netns.New(netns.Config{Log: log, NetNS: p.NetNS, Kernel: kernelOf(string(p.NetNS)), Firewall: fw})
		firewalls[n] = fw
		all = append(all, n)
	}
	r := newRouter(log, time.Now, c, fakeEdge{trace: tr, stand: map[string]error{}, refused: map[string]error{}}, all...)
	r.failover = failover.New(failover.Config{Log: r.log, Now: time.Now})
	for _, d := range c.Domains {
		r.addDomain(d, fakeBGP{tr, d.Name})
	}
	r.guests.Use(c.Admission(config.Host{}))
	r.guests.Replace(guest.FromConfig, c.Entries())
	return &bench{r, tr, t, firewalls}
}

func (b *bench) links(names ...string) {
	for i, name := range names {
		b.link(10+i, name)
	}
}

func (b *bench) link(index int, name string) {
	b.kernelSays(fib.Event{Kind: fib.EventLink, Link: fib.Link{IfIndex: index, Interface: name, AdminUp: true, Carrier: true}})
}

func (b *bench) kernelSays(events ...fib.Event) {
	b.router.onKernel(b.namespaces[0], events)
	if b.dirty {
		b.refresh()
	}
}

func (b *bench) address(index int, prefix string) {
	b.kernelSays(fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: index}, Addr: netip.MustParsePrefix(prefix)})
}

// uplinks gives the bench the lab's uplinks.
func (b *bench) uplinks() {
	b.links("a.public", "b.public", "a.private", "b.private", "loopback")
	for i, p := range []string{"198.51.100.101/25", "198.51.100.201/25", "172.22.15.101/25", "172.22.15.201/25"} {
		b.address(10+i, p)
	}
	b.address(10, "2001:db8:c633:6400::1/120")
	b.address(11, "2001:db8:c633:6401::1/120")
}

// set makes a set of "next hop@peer" words.
func set(prefix string, words ...string) sessions.PathSet {
	out := sessions.PathSet{Prefix: netip.MustParsePrefix(prefix)}
	for _, w := range words {
		hop, peer, _ := strings.Cut(w, "@")
		out.Paths = append(out.Paths, peering.Path{NextHop: netip.MustParseAddr(hop), Peer: netip.MustParseAddr(peer)})
	}
	return out
}
