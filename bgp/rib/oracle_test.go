package rib

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// universe is a table and the model beside it, with everybody who can read.
type universe struct {
	*model
	tb    testing.TB
	r     *rand.Rand
	t     *Table
	local *modelPeer

	watch   *Watcher
	seen    map[netip.Prefix][]Path
	changes []Change
}

var testPrefixes = func() (list []netip.Prefix) {
	for i := range 16 {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16+i%3))
	}
	for i := range 6 {
		a := ip("2001:db8::").As16()
		a[5] = byte(i)
		list = append(list, netip.PrefixFrom(netip.AddrFrom16(a), 48+i%2))
	}
	return list
}()

func newUniverse(tb testing.TB, src rand.Source) *universe {
	r := rand.New(src)
	u := &universe{tb: tb, r: r, seen: map[netip.Prefix][]Path{}, changes: make([]Change, 3)}
	cfg := Config{AS: 65000, RouterID: ip("10.0.0.1"), ClusterID: ip("10.0.0.99"), Multipath: 1 + r.IntN(4), Deferred: r.IntN(3) == 0}
	var err error
	if u.t, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	u.t.limits = limits{batch: 100 + r.IntN(400), backlog: 200 + r.IntN(2000), list: 1 + r.IntN(listMax)>>r.IntN(7), depth: maxDepth}
	u.model = &model{as: 65000, routerID: id32(cfg.RouterID), clusterID: id32(cfg.ClusterID),
		deferred: cfg.Deferred, multipath: cfg.Multipath, paths: map[modelKey]*modelPath{}}
	u.local = &modelPeer{name: "local", cfg: PeerConfig{RouterID: cfg.RouterID}}
	for i, s := range []struct {
		as     uint32
		client bool
		out    OutConfig
	}{
		{65000, true, OutConfig{}},
		{65000, true, OutConfig{}},
		{65000, true, OutConfig{}},
		{65000, true, OutConfig{AddPath: wire.Families(families[:]...)}},
		{65000, true, OutConfig{AddPath: wire.Families(families[:]...)}},
		{65000, true, OutConfig{AddPath: wire.Families(wire.IPv4Unicast), AddPathLimit: 2, Export: exportPolicy}},
		{65000, false, OutConfig{LongLived: true, ExtendedNextHop: true}},
		{65001, false, OutConfig{}},
		{65000, false, OutConfig{NextHopSelf: true, Export: exportPolicy}},
	} {
		p := &modelPeer{name: fmt.Sprint("p", i), external: s.as != 65000, outCfg: s.out}
		p.cfg = PeerConfig{Addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), AS: s.as, Client: s.client,
			RouterID: netip.AddrFrom4([4]byte{9, 9, 9, byte(i)})}
		p.outCfg.AS4, p.outCfg.Families = true, wire.Families(families[:]...)
		p.outCfg.NextHop4.Addr, p.outCfg.NextHop6.Addr = ip("10.0.0.1"), ip("2001:db8:1::1")
		u.peers = append(u.peers, p)
		u.connect(p)
	}
	u.watch = u.t.Watch(WatchConfig{})
	return u
}

func (u *universe) connect(p *modelPeer) {
	in, err := u.t.NewIn(p.cfg)
	if err != nil {
		u.tb.Fatal(err)
	}
	p.in = in
	u.session(p)
}

func (u *universe) session(p *modelPeer) {
	if p.sink != nil {
		p.sink.out.Close()
		p.sink = nil
	}
	out, err := p.in.NewOut(p.outCfg)
	if err != nil {
		u.tb.Fatal(err)
	}
	p.sink = newSink(u.tb, out, p.outCfg.AddPath, 4096+u.r.IntN(4096))
}

func (u *universe) prefix() netip.Prefix { return testPrefixes[u.r.IntN(len(testPrefixes))] }

func (u *universe) peer() *modelPeer { return u.peers[u.r.IntN(len(u.peers))] }

// each calls f for the model's paths of a peer and family.
func (u *universe) each(p *modelPeer, fam wire.Family, f func(*modelPath)) {
	for k, path := range u.paths {
		if k.peer == p && familyNo(k.prefix) == fam {
			f(path)
		}
	}
}

func (u *universe) drop(p *modelPath) { delete(u.paths, p.modelKey) }

// step does something at random to both.
func (u *universe) step() {
	p, fam := u.peer(), families[u.r.IntN(2)]
	switch n := u.r.IntN(100); {
	case n < 45:
		u.announce(p)
	case n < 60:
		u.withdraw(p)
	case n < 66:
		u.originate()
	case n < 68:
		p.in.MarkStale(fam)
		u.each(p, fam, func(x *modelPath) {
			if x.stale {
				u.drop(x)
			}
			x.stale = true
		})
	case n < 70:
		p.in.MarkLongLived(fam)
		u.each(p, fam, func(x *modelPath) { u.longLived(x) })
	case n < 71:
		p.in.EndOfRIB(fam)
		u.each(p, fam, func(x *modelPath) {
			if x.stale {
				u.drop(x)
			}
		})
	case n < 72:
		p.in.BeginRefresh(fam)
		u.each(p, fam, func(x *modelPath) { x.unconfirmed = true })
	case n < 73:
		p.in.EndRefresh(fam)
		u.each(p, fam, func(x *modelPath) {
			if x.unconfirmed {
				u.drop(x)
			}
		})
	case n < 74:
		p.in.Drop(fam)
		u.each(p, fam, u.drop)
	case n < 75:
		u.session(p)
	case n < 76:
		u.restart(p)
	case n < 78:
		p.sink.out.Refresh(fam, u.r.IntN(2) == 0)
	case n < 79 && u.deferred && u.r.IntN(4) == 0:
		u.t.Converge()
		u.deferred = false
	case n < 80:
		u.reconfigure(p)
	case n < 81:
		u.reshape(p)
	case n < 90:
		p.sink.fill()
	default:
		u.see()
	}
}

func (u *universe) announce(p *modelPeer) {
	a := randomAttrs(u.r, !p.external)
	nh := netip.AddrFrom4([4]byte{192, 0, 2, byte(u.r.IntN(4))})
	var nlri []wire.NLRI
	first := u.prefix()
	if first.Addr().Is6() {
		nh = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(u.r.IntN(4))})
	} else if u.r.IntN(8) == 0 {
		nh = netip.AddrFrom16([16]byte{0x20, 2, 15: byte(u.r.IntN(4))})
	}
	for range 1 + u.r.IntN(4) {
		n := wire.NLRI{Prefix: u.prefix(), PathID: uint32(u.r.IntN(3))}
		if n.Prefix.Addr().Is4() != first.Addr().Is4() {
			continue
		}
		nlri = append(nlri, n)
		k := modelKey{p, n.Prefix, n.PathID}
		p := &modelPath{modelKey: k, attrs: a, nh: nh}
		if old := u.paths[k]; old != nil {
			p.out = old.out
		}
		u.paths[k] = p
	}
	if len(nlri) > 0 {
		if err := p.in.Update(reachOf(u.tb, !p.external, a, nh, nlri...)); err != nil {
			u.tb.Fatal(err)
		}
	}
}

func (u *universe) withdraw(p *modelPeer) {
	n := wire.NLRI{Prefix: u.prefix(), PathID: uint32(u.r.IntN(3))}
	delete(u.paths, modelKey{p, n.Prefix, n.PathID})
	if u.r.IntN(4) == 0 {
		p.in.TreatAsWithdraw(reachOf(u.tb, !p.external, wire.PathAttrs{ASPath: []uint32{1}}, ip("2001:db8::1"), n))
		return
	}
	if err := p.in.Update(unreachOf(u.tb, n)); err != nil {
		u.tb.Fatal(err)
	}
}

func (u *universe) originate() {
	k := modelKey{u.local, u.prefix(), uint32(u.r.IntN(2))}
	if u.r.IntN(2) == 0 {
		delete(u.paths, k)
		u.t.Withdraw(k.prefix, k.id)
		return
	}
	p := &modelPath{modelKey: k, attrs: wire.PathAttrs{MED: ptr(uint32(u.r.IntN(3)))}}
	if u.r.IntN(2) == 0 && k.prefix.Addr().Is4() {
		p.nh = ip("192.0.2.77")
	}
	u.paths[k] = p
	if err := u.t.Originate(LocalPath{k.prefix, k.id, wire.NextHop{Addr: p.nh}, p.attrs}); err != nil {
		u.tb.Fatal(err)
	}
}

func (u *universe) longLived(x *modelPath) {
	switch {
	case !x.stale:
	case x.has(wire.CommunityNoLLGR):
		u.drop(x)
	case !x.has(wire.CommunityLLGRStale):
		x.attrs.Communities = append(slices.Clone(x.attrs.Communities), wire.CommunityLLGRStale)
	}
}

// restart replaces a peer by one of the same name.
func (u *universe) restart(p *modelPeer) {
	p.sink.out.Close()
	p.in.Close()
	for _, fam := range families {
		u.each(p, fam, u.drop)
	}
	p.sink = nil
	u.connect(p)
}

// reconfigure gives a peer another identifier, or makes a client of it, or the reverse.
func (u *universe) reconfigure(p *modelPeer) {
	p.cfg.RouterID = netip.AddrFrom4([4]byte{9, 9, 9, byte(u.r.IntN(20))})
	if u.r.IntN(4) == 0 && !p.external {
		p.cfg.Client = !p.cfg.Client
		p.sink.out.Close()
		p.sink = nil
	}
	if err := p.in.Configure(p.cfg); err != nil {
		u.tb.Fatal(err)
	}
	if p.sink == nil {
		u.session(p)
	}
}

// reshape changes what a session is sent.
func (u *universe) reshape(p *modelPeer) {
	switch u.r.IntN(4) {
	case 0:
		p.outCfg.Export = nil
	case 1:
		p.outCfg.Export = exportPolicy
	case 2:
		p.outCfg.NextHopSelf = !p.outCfg.NextHopSelf
	case 3:
		p.outCfg.AddPathLimit = u.r.IntN(3)
	}
	if err := p.sink.out.Reconfigure(p.outCfg); err != nil {
		u.tb.Fatal(err)
	}
}

// see lets the watcher read once.
func (u *universe) see() bool {
	n, _ := u.watch.Next(u.changes)
	for _, c := range u.changes[:n] {
		if len(c.Paths) == 0 {
			if _, ok := u.seen[c.Prefix]; !ok {
				u.tb.Errorf("watcher: %v gone, but it never was there", c.Prefix)
			}
			delete(u.seen, c.Prefix)
			continue
		}
		u.seen[c.Prefix] = slices.Clone(c.Paths)
	}
	return n > 0
}

// check compares everything after everybody has read all there is.
func (u *universe) check() {
	u.tb.Helper()
	for _, prefix := range testPrefixes {
		u.checkOrder(prefix)
	}
	for u.see() {
	}
	for _, prefix := range testPrefixes {
		u.checkSeen(prefix)
	}
	for _, p := range u.peers {
		p.sink.drain()
		got := map[netip.Prefix][]string{}
		for n, text := range p.sink.routes {
			got[n.Prefix] = append(got[n.Prefix], sent(n.PathID, text))
		}
		for _, prefix := range testPrefixes {
			slices.Sort(got[prefix])
			if want := u.adjOut(prefix, p); !slices.Equal(got[prefix], want) {
				u.tb.Errorf("%s has for %v\n  %q, not\n  %q", p.name, prefix, got[prefix], want)
			}
		}
		have := map[wire.NLRI]string{}
		for _, fam := range families {
			for a := range p.sink.out.All(fam) {
				have[wire.NLRI{Prefix: a.Prefix, PathID: a.PathID}] = describe(a.Attrs.Attrs, a.Attrs.NextHop())
			}
		}
		if !maps.Equal(have, p.sink.routes) {
			u.tb.Errorf("%s: Adj-RIB-Out is\n  %v, sent was\n  %v", p.name, have, p.sink.routes)
		}
		if !u.deferred && (p.sink.eor[wire.IPv4Unicast] != 1 || p.sink.eor[wire.IPv6Unicast] != 1) {
			u.tb.Errorf("%s: End-of-RIB %v", p.name, p.sink.eor)
		}
		if u.deferred && len(p.sink.eor) != 0 {
			u.tb.Errorf("%s: End-of-RIB although selection is deferred", p.name)
		}
	}
}

func (u *universe) checkOrder(prefix netip.Prefix) {
	u.tb.Helper()
	want := u.order(prefix)
	got := u.t.Lookup(prefix)
	same := slices.EqualFunc(got, want, func(g Path, w *modelPath) bool {
		return g.Peer == w.peer.cfg.Addr && g.PathID == w.id && g.Local == (w.peer.in == nil) && g.Stale == w.stale &&
			g.NextHop.Addr == w.nh && string(g.Attrs.Attrs) == string(w.attrs.Append(nil))
	})
	for _, w := range want {
		u.checkID(w)
	}
	if !same {
		u.tb.Errorf("%v: order is\n  %v, not\n  %v", prefix, pathText(got), want)
	}
}

// checkID checks that the path identifier for sending has not changed since the path came.
func (u *universe) checkID(w *modelPath) {
	no := uint16(localPeer)
	if w.peer.in != nil {
		no = w.peer.in.no
	}
	id := u.t.search(u.t.at(u.t.find(w.prefix)), no, w.id)
	out := u.t.paths.at(id).out
	if w.out != 0 && w.out != out {
		u.tb.Errorf("%v: path identifier changed from %d to %d", w, w.out, out)
	}
	w.out = out
}

func (u *universe) checkSeen(prefix netip.Prefix) {
	u.tb.Helper()
	want := u.multipathSet(prefix)
	same := slices.EqualFunc(u.seen[prefix], want, func(g Path, w *modelPath) bool {
		return g.Peer == w.peer.cfg.Addr && g.PathID == w.id && g.NextHop.Addr == w.nh
	})
	if !same {
		u.tb.Errorf("%v: the watcher saw\n  %v, not\n  %v", prefix, pathText(u.seen[prefix]), want)
	}
}

var seeds = flag.Int("seeds", 8, "histories that TestAgainstModel makes up")

// TestAgainstModel does random things to a table and to the model, with readers of random
// speed, and compares what everybody ends up with.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(*seeds) {
		u := newUniverse(t, rand.NewPCG(seed, 1))
		for i := range 600 {
			u.step()
			if i%150 == 149 {
				u.check()
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, i)
			}
		}
		u.finish()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// finish takes everything away and looks for what is left over.
func (u *universe) finish() {
	u.t.Converge()
	u.watch.Close()
	for _, p := range u.peers {
		p.sink.out.Close()
		p.in.Close()
	}
	for k := range u.paths {
		if k.peer == u.local {
			u.t.Withdraw(k.prefix, k.id)
		}
	}
	if s := u.t.Stats(); s != (Stats{}) {
		u.tb.Errorf("left over: %+v", s)
	}
}

func pathText(list []Path) (text []string) {
	for _, p := range list {
		text = append(text, fmt.Sprintf("[%v #%d stale=%v rank=%d %s]", p.Peer, p.PathID, p.Stale, p.Rank, describe(p.Attrs.Attrs, p.NextHop)))
	}
	return text
}
