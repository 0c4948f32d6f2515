package daemon

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/wall"
	"github.com/hyperfib/hyperfib/fib"
)

var update = flag.Bool("update", false, "rewrite golden files")

// trace notes every call of the fakes: what the loop does, in order.
type trace struct{ lines []string }

func (t *trace) add(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

// take gives the lines since the last call. Runs of equal kind come from maps in any
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
	*trace
	at string // what its lines end with
}

func (k fakeKernel) SetRoute(r fib.Route) error {
	var hops []string
	for _, h := range r.NextHops {
		hops = append(hops, fmt.Sprintf("%v%%%d", h.Gateway, h.Link))
	}
	k.add("route %v %s%s", r.RouteKey, strings.Join(hops, " "), k.at)
	return nil
}
func (k fakeKernel) DeleteRoute(key fib.RouteKey) { k.add("unroute %v%s", key, k.at) }
func (k fakeKernel) SetRule(r fib.Rule) error     { k.add("rule %v%s", r, k.at); return nil }
func (k fakeKernel) BanRule(r fib.Rule) error     { k.add("ban %v%s", r, k.at); return nil }
func (k fakeKernel) DeleteRule(r fib.Rule)        { k.add("unrule %v%s", r, k.at) }
func (k fakeKernel) SetAddress(a fib.Address) error {
	k.add("address %v link %d%s", a.Prefix, a.Link, k.at)
	return nil
}
func (k fakeKernel) DeleteAddress(a fib.Address) {
	k.add("unaddress %v link %d%s", a.Prefix, a.Link, k.at)
}
func (k fakeKernel) SetNeighbor(n fib.Neighbor) error {
	k.add("neighbor %v %v link %d%s", n.Addr, config.MAC(n.MAC), n.Link, k.at)
	return nil
}
func (k fakeKernel) DeleteNeighbor(n fib.Neighbor) {
	k.add("unneighbor %v link %d%s", n.Addr, n.Link, k.at)
}
func (k fakeKernel) SetSysctl(fib.Sysctl) error  { return nil }
func (k fakeKernel) DeleteSysctl(string)         {}
func (k fakeKernel) Flush(context.Context) error { k.add("flush%s", k.at); return nil }
func (k fakeKernel) Sweep()                      { k.add("sweep%s", k.at) }
func (k fakeKernel) Probe(link int, a netip.Addr, mac [6]byte) {
	k.add("neighbour %v link %d at %x%s", a, link, mac, k.at)
}

type fakeBGP struct {
	*trace
	name string
}

func (b fakeBGP) Announce(list []domain.Announcement) {
	for _, a := range list {
		b.add("announce %s %v pref %d", b.name, a.Prefix, a.LocalPref)
	}
}
func (b fakeBGP) Withdraw(list []netip.Prefix) {
	for _, p := range list {
		b.add("withdraw %s %v", b.name, p)
	}
}
func (b fakeBGP) InventoryComplete()                      { b.add("inventory-complete %s", b.name) }
func (b fakeBGP) Configure(*config.Config, config.Domain) {}

type fakeEdge struct{ *trace }

func (e fakeEdge) Arrive(_ *config.Config, p guest.Port) {
	e.add("arrive %s link %d", p.Name, p.Link.Index)
}
func (e fakeEdge) Serve(_ *config.Config, p guest.Port) { e.add("serve %s", p.Name) }
func (e fakeEdge) Greet(_ *config.Config, p guest.Port) { e.add("greet %s", p.Name) }
func (e fakeEdge) Silence(p guest.Port)                 { e.add("silence %s", p.Name) }
func (e fakeEdge) Leave(p guest.Port, gone bool)        { e.add("leave %s gone %v", p.Name, gone) }
func (e fakeEdge) Target(p netip.Prefix, link int)      { e.add("target %v link %d", p, link) }
func (e fakeEdge) NoTarget(p netip.Prefix)              { e.add("target %v gone", p) }
func (e fakeEdge) Overlays(_ *config.Config, _ func(string) (int, bool), vteps []netip.Addr) {
	e.add("overlays %v", vteps)
}

type fakeWall struct{ last wall.Spec }

func (w *fakeWall) Apply(s wall.Spec) error { w.last = s; return nil }

func (w *fakeWall) Watch(context.Context, func()) error { return nil }

type bench struct {
	*router
	*trace
	t testing.TB
}

// newBench makes a router over fakes with the sample configuration.
func newBench(t testing.TB) *bench { return newBenchOf(t, "hv1.yaml") }

// newBenchOf makes one with another sample, with a fake kernel for each of its
// namespaces.
func newBenchOf(t testing.TB, sample string) *bench {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", sample))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(sample, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trace{}
	log := slog.New(slog.DiscardHandler)
	var places []*place
	for _, p := range c.Places() {
		k := fakeKernel{trace: tr}
		if p.NetNS != "" {
			k.at = " @" + string(p.NetNS)
		}
		places = append(places, newPlace(log, p.NetNS, k, &fakeWall{}))
	}
	r := newRouter(log, c, fakeEdge{tr}, places...)
	r.guard = newGuard(r.log, nil, nil, nil)
	for i, d := range c.Domains {
		r.addDomain(i, fakeBGP{tr, d.Name})
	}
	r.guests.Replace(guest.FromConfig, c.Guests)
	return &bench{r, tr, t}
}

func (b *bench) links(names ...string) {
	for i, name := range names {
		b.link(10+i, name)
	}
}

func (b *bench) link(index int, name string) {
	b.kernelSays(fib.Event{Kind: fib.EventLink, Link: fib.Link{Index: index, Name: name, AdminUp: true, Carrier: true}})
}

func (b *bench) kernelSays(events ...fib.Event) {
	b.router.take(b.places[0], events)
	if b.dirty {
		b.refresh()
	}
}

func (b *bench) address(index int, prefix string) {
	b.kernelSays(fib.Event{Kind: fib.EventAddress, Link: fib.Link{Index: index}, Addr: netip.MustParsePrefix(prefix)})
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
func set(prefix string, words ...string) pathSet {
	out := pathSet{Prefix: netip.MustParsePrefix(prefix)}
	for _, w := range words {
		hop, peer, _ := strings.Cut(w, "@")
		out.Paths = append(out.Paths, peering.Path{NextHop: netip.MustParseAddr(hop), Peer: netip.MustParseAddr(peer)})
	}
	return out
}

// play runs steps and compares the trace with a golden file.
func (b *bench) play(golden string, steps ...step) {
	b.t.Helper()
	var out bytes.Buffer
	for _, s := range steps {
		s.do()
		fmt.Fprintf(&out, "# %s\n", s.what)
		for _, line := range b.trace.take() {
			fmt.Fprintf(&out, "  %s\n", line)
		}
	}
	file := filepath.Join("testdata", golden)
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			b.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		b.t.Errorf("differs from %s (run with -update and read the diff):\n%s", file, out.Bytes())
	}
}

type step struct {
	what string
	do   func()
}

func TestGuestLife(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	b.trace.take()
	pref := uint32(200)
	b.play("guest.txt",
		step{"vm1's interface appears: kernel, then announcements, then the guest", func() { b.link(20, "vm1") }},
		step{"the same again: nothing", func() { b.link(20, "vm1") }},
		step{"its carrier goes and comes: the guest is told again", func() {
			for _, carrier := range []bool{false, true} {
				b.kernelSays(fib.Event{Kind: fib.EventLink, Link: fib.Link{Index: 20, Name: "vm1", AdminUp: true, Carrier: carrier}})
			}
		}},
		step{"it is deleted and made anew with another index, in one batch", func() {
			b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{Index: 20, Name: "vm1"}},
				fib.Event{Kind: fib.EventLink, Link: fib.Link{Index: 21, Name: "vm1", AdminUp: true}})
		}},
		step{"a guest comes over the API whose interface is there already", func() {
			b.link(22, "tap9")
			g, err := config.ParseGuests("test", []byte(`{name: vm9, interface: tap9, ipv4: [203.0.113.9]}`))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.put(g[0]); err != nil {
				t.Fatal(err)
			}
		}},
		step{"it is moved here: a greater local preference", func() {
			if err := b.move("vm9", moveTo(&pref, nil)); err != nil {
				t.Fatal(err)
			}
		}},
		step{"it is removed: withdrawn first", func() {
			if err := b.router.remove("vm9"); err != nil {
				t.Fatal(err)
			}
		}},
		step{"vm1 goes", func() {
			b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{Index: 21, Name: "vm1"}})
		}},
	)
}

func TestStart(t *testing.T) {
	b := newBench(t)
	public, private := b.domains["public"], b.domains["private"]
	b.play("start.txt",
		step{"no interface is there yet: rules and scaffold", b.refresh},
		step{"uplinks appear", b.uplinks},
		step{"public: BGP has told everything, and so has the kernel", func() {
			b.onPaths(public, []pathSet{set("203.0.113.3/32", "198.51.100.102@198.51.100.126", "198.51.100.202@198.51.100.226")}, true)
			b.onLearned(public, nil, true)
		}},
		step{"private, BGP first: the kernel's routes decide about the sweep", func() {
			b.onPaths(private, []pathSet{set("172.22.2.2/32", "172.22.15.102@172.22.15.126")}, true)
		}},
		step{"private: all there, so what is left over goes", func() { b.onLearned(private, nil, true) }},
		step{"fabric A's interface is made anew: its routes are set again", func() { b.link(40, "a.public") }},
	)
}

func TestPaths(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	b.trace.take()
	public := b.domains["public"]
	tell := func(sets ...pathSet) func() { return func() { b.onPaths(public, sets, false) } }
	b.play("paths.txt",
		step{"two fabrics", tell(set("203.0.113.3/32", "198.51.100.102@198.51.100.126", "198.51.100.202@198.51.100.226"))},
		step{"the same in another order: nothing", tell(set("203.0.113.3/32", "198.51.100.202@198.51.100.226", "198.51.100.102@198.51.100.126"))},
		step{"a next hop that is on no link is left out", tell(set("203.0.113.3/32", "192.0.2.1@198.51.100.126", "198.51.100.202@198.51.100.226"))},
		step{"nothing but such next hops: no route", tell(set("203.0.113.3/32", "192.0.2.1@198.51.100.126"))},
		step{"one reflector for both fabrics: each gateway on its own link", tell(set("203.0.113.4/32", "198.51.100.103@198.51.100.126", "198.51.100.203@198.51.100.126"))},
		step{"IPv6", tell(set("2001:db8:cb00:7102::/64", "2001:db8:c633:6400::2@2001:db8:c633:6400::26", "2001:db8:c633:6401::2@2001:db8:c633:6401::26"))},
		step{"gone", tell(set("203.0.113.4/32"), set("2001:db8:cb00:7102::/64"))},
		step{"a loopback of another hypervisor: a VTEP to flood to", func() {
			b.onPaths(b.domains["private"], []pathSet{set("172.22.2.2/32", "172.22.15.102@172.22.15.126")}, false)
		}},
		step{"and gone: the flood list follows", func() {
			b.onPaths(b.domains["private"], []pathSet{set("172.22.2.2/32")}, false)
		}},
	)
	if b.notOnLink != 2 {
		t.Errorf("%d next hops not on-link, want 2", b.notOnLink)
	}
}

// The responder is told of what is allocated: all of it when it is first needed,
// then each change. Default routes are no allocation.
func TestTargets(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	public := b.domains["public"]
	b.onPaths(public, []pathSet{set("0.0.0.0/0", "198.51.100.1@198.51.100.126"), set("203.0.113.3/32", "198.51.100.102@198.51.100.126")}, false)
	b.trace.take()
	b.play("targets.txt",
		step{"the responder is switched on", func() {
			c := *b.cfg
			c.Edge.ARP = "responder"
			b.router.adopt(&c)
			b.refresh()
		}},
		step{"a guest here", func() { b.link(20, "vm1") }},
		step{"one more elsewhere", func() { b.onPaths(public, []pathSet{set("203.0.113.4/32", "198.51.100.103@198.51.100.126")}, false) }},
		step{"the anycast copy elsewhere changes nothing", func() { b.onPaths(public, []pathSet{set("203.0.113.10/32", "198.51.100.103@198.51.100.126")}, false) }},
		step{"our guest goes, the copy stays", func() {
			b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{Index: 20, Name: "vm1"}})
		}},
		step{"one elsewhere goes", func() { b.onPaths(public, []pathSet{set("203.0.113.4/32")}, false) }},
	)
}

// What the kernel still routes for an earlier run is answered for, until everything is
// known again: then what did not come back is not.
func TestTargetsOverRestart(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	c := *b.cfg
	c.Edge.ARP = "responder"
	b.router.adopt(&c)
	public := b.domains["public"]
	b.leftover = func(yield func(fib.RouteStatus) bool) {
		for prefix, table := range map[string]uint32{"0.0.0.0/0": 90, "203.0.113.3/32": 90, "203.0.113.4/32": 90, "172.22.2.3/32": 20, "2001:db8:cb00:7102::/64": 90} {
			route := fib.Route{RouteKey: fib.RouteKey{Table: table, Prefix: netip.MustParsePrefix(prefix)}, NextHops: []fib.NextHop{{Link: 10}}}
			if !yield(fib.RouteStatus{Route: route, State: fib.RouteStale}) {
				return
			}
		}
	}
	b.trace.take()
	b.play("restart.txt",
		step{"the first turn", b.refresh},
		step{"a path comes back, with another one", func() {
			b.onPaths(public, []pathSet{set("203.0.113.3/32", "198.51.100.102@198.51.100.126"), set("203.0.113.5/32", "198.51.100.102@198.51.100.126")}, false)
		}},
		step{"public has converged", func() { b.onPaths(public, nil, true); b.onLearned(public, nil, true) }},
		step{"so has private", func() { b.onPaths(b.domains["private"], nil, true); b.onLearned(b.domains["private"], nil, true) }},
	)
}

func TestLearned(t *testing.T) {
	b := newBench(t)
	b.uplinks()
	b.link(20, "vm1")
	b.trace.take()
	public := b.domains["public"]
	route := func(prefix string, gone bool) fib.LearnChange {
		c := fib.LearnChange{Gone: gone}
		c.RouteKey = fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix(prefix), Metric: 5}
		c.NextHops = []fib.NextHop{{Link: 20}}
		return c
	}
	b.play("learned.txt",
		step{"a foreign route is announced at once, with no wait for its copy", func() {
			b.onLearned(public, []fib.LearnChange{route("203.0.113.99/32", false)}, false)
		}},
		step{"it goes", func() { b.onLearned(public, []fib.LearnChange{route("203.0.113.99/32", true)}, false) }},
		step{"the first reading is complete", func() { b.onLearned(public, nil, true) }},
		step{"said once", func() { b.onLearned(public, nil, true) }},
	)
}
