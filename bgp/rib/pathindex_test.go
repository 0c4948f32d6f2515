package rib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestPathIndex has peers announce thousands of paths of one prefix, change and withdraw them,
// and restart, and compares the order with that of the model.
func TestPathIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for _, size := range []int{60, 300, 2000} {
		u := newIndexed(t, r)
		u.change(size, 3)
		u.compare()
		for range 4 {
			u.change(size/2, 2)
			p := u.peers[r.IntN(len(u.peers))]
			u.setStale(p)
			u.change(size/4, 1)
			u.compare()
			u.setRouterID(p, netip.AddrFrom4([4]byte{9, 9, 9, byte(r.IntN(9))}))
			u.compare()
		}
		u.change(3*size, 0)
		u.compare()
		for _, p := range u.peers {
			p.in.Close()
		}
		if s := u.t.Stats(); s != (Stats{}) || len(u.t.indexes) != 2 || u.t.indexes[1] != nil {
			t.Errorf("left over: %+v, %v", s, u.t.indexes)
		}
	}
}

// TestPathIndexLastPaths has the way to a peer fail while all paths of others are stale: its paths
// stay until another peer announces one, but for those that it has announced again itself.
func TestPathIndexLastPaths(t *testing.T) {
	u := newIndexed(t, rand.New(rand.NewPCG(7, 2)))
	fam := wire.IPv4Unicast
	announce := func(p *modelPeer, from, to int) {
		for id := from; id < to; id++ {
			x := &modelPath{modelKey: modelKey{p, manyPrefix, uint32(id)}, nh: via("192.0.2.1")}
			if old := u.paths[x.modelKey]; old != nil {
				x.out = old.out
			}
			u.enter(x, u.paths[x.modelKey] == nil)
			if err := p.in.Update(reachOf(t, true, x.attrs, x.nh, wire.NLRI{Prefix: manyPrefix, PathID: uint32(id)})); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(paths, failed int) {
		t.Helper()
		u.compare()
		if err := u.t.audit(); err != nil {
			t.Fatal(err)
		}
		if len(u.paths) != paths || u.t.failed != failed {
			t.Fatalf("%d paths, %d of which are kept although the way has failed; want %d, %d", len(u.paths), u.t.failed, paths, failed)
		}
	}
	p, q := u.peers[0], u.peers[1]
	announce(p, 0, 100)
	announce(q, 0, 100)
	u.setStale(q)
	p.in.DropRedundant(fam)
	u.fails(p, fam, false, nil)
	u.setStale(p)
	expect(200, 100)
	p.in.MarkLongLived(fam)
	u.markLongLived(p, fam)
	expect(200, 100)
	u.setRouterID(p, netip.AddrFrom4([4]byte{9, 9, 9, 9}))
	announce(p, 0, 10)
	expect(200, 90)
	announce(q, 50, 51)
	expect(110, 0)
}

// indexed is a table with one prefix of many paths, and the model beside it.
type indexed struct {
	*model
	tb    testing.TB
	r     *rand.Rand
	t     *Table
	peers []*modelPeer
}

func newIndexed(tb testing.TB, r *rand.Rand) *indexed {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1")})
	if err != nil {
		tb.Fatal(err)
	}
	u := &indexed{model: &model{as: 65000, multipath: 16, paths: map[modelKey]*modelPath{}}, tb: tb, r: r, t: tab}
	for i := range 4 {
		p := &modelPeer{name: fmt.Sprint("p", i), external: i == 3}
		p.cfg = PeerConfig{AS: 65000 + uint32(i/3), Addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), RouterID: netip.AddrFrom4([4]byte{9, 9, 9, byte(i)}),
			EBGP: EBGP{AnyFirstAS: true}}
		if p.in, err = tab.NewIn(p.cfg); err != nil {
			tb.Fatal(err)
		}
		u.peers = append(u.peers, p)
	}
	return u
}

// change makes n changes: of every four, some announce, the others withdraw.
func (u *indexed) change(n, announce int) {
	for range n {
		p := u.peers[u.r.IntN(len(u.peers))]
		k := modelKey{p, manyPrefix, uint32(u.r.IntN(1000))}
		if u.r.IntN(4) >= announce {
			delete(u.paths, k)
			if err := p.in.Update(unreachOf(u.tb, wire.NLRI{Prefix: k.prefix, PathID: k.id})); err != nil {
				u.tb.Fatal(err)
			}
			continue
		}
		a := randomAttrs(u.r, !p.external)
		if a.OriginatorID == ip("10.0.0.1") || slices.Contains(a.ASPath, 65000) {
			continue
		}
		if a.Communities = nil; u.r.IntN(3) == 0 {
			a.MED = ptr(uint32(u.r.IntN(300)))
		}
		x := &modelPath{modelKey: k, attrs: a, nh: via("192.0.2.1")}
		if old := u.paths[k]; old != nil {
			x.out = old.out
		}
		u.paths[k] = x
		if err := p.in.Update(reachOf(u.tb, !p.external, a, x.nh, wire.NLRI{Prefix: k.prefix, PathID: k.id})); err != nil {
			u.tb.Fatal(err)
		}
	}
}

func (u *indexed) setStale(p *modelPeer) {
	p.in.MarkStale(wire.IPv4Unicast)
	for k, x := range u.paths {
		if k.peer == p && x.stale {
			delete(u.paths, k)
		} else if k.peer == p {
			x.stale = true
		}
	}
}

func (u *indexed) setRouterID(p *modelPeer, id netip.Addr) {
	p.cfg.RouterID = id
	if err := p.in.Configure(p.cfg); err != nil {
		u.tb.Fatal(err)
	}
}

// compare compares the order, and looks at the index.
func (u *indexed) compare() {
	u.tb.Helper()
	want := u.order(manyPrefix)
	got := u.t.Lookup(manyPrefix)
	same := slices.EqualFunc(got, want, func(g Path, w *modelPath) bool {
		return g.Peer == w.peer.cfg.Addr && g.PathID == w.id && g.Stale == w.stale && string(g.Attrs.Attrs) == string(w.attrs.Append(nil))
	})
	if !same {
		for i := range min(len(got), len(want)) {
			if got[i].Peer != want[i].peer.cfg.Addr || got[i].PathID != want[i].id {
				u.tb.Fatalf("of %d paths, number %d is\n  %v, not\n  %v", len(want), i, pathText(got[i:i+1]), want[i])
			}
		}
		u.tb.Fatalf("%d paths, not %d", len(got), len(want))
	}
	if len(want) <= listMax {
		return
	}
	seen := map[uint16]bool{}
	x := u.t.indexes[u.t.at(u.t.find(manyPrefix)).first]
	for _, w := range want {
		id := x.byKey[pathKey{w.peer.in.no, w.id}]
		p := u.t.paths.at(id)
		if w.out != 0 && p.out != w.out || p.out == 0 || seen[p.out] || x.byOut[p.out] != id {
			u.tb.Fatalf("%v: path identifier %d, before %d", w, p.out, w.out)
		}
		seen[p.out], w.out = true, p.out
	}
	if x.n != len(want) || len(x.byKey) != len(want) {
		u.tb.Errorf("%d paths, %d keys", x.n, len(x.byKey))
	}
}

// TestPathsMax: a prefix has room for as many paths as there are path identifiers for sending.
func TestPathsMax(t *testing.T) {
	tab, ins := benchTable(t, 2)
	var u *wire.Update
	for from := 0; from < pathsMax+5; from += 5000 {
		var list []wire.NLRI
		for id := from; id < min(from+5000, pathsMax+5); id++ {
			list = append(list, wire.NLRI{Prefix: manyPrefix, PathID: uint32(id)})
		}
		u = reachOf(t, true, wire.PathAttrs{}, via("192.0.2.1"), list...)
		if err := ins[0].Update(u); err != nil {
			t.Fatal(err)
		}
	}
	c := ins[0].Counters(wire.IPv4Unicast)
	if c.Paths != pathsMax || c.Refused[ReasonTooManyPaths] != 5 {
		t.Errorf("%d paths, %d too many", c.Paths, c.Refused[ReasonTooManyPaths])
	}
	if err := tab.Originate(LocalPath{Prefix: manyPrefix}); err == nil {
		t.Error("originated one more")
	}
	ins[0].TreatAsWithdraw(reachOf(t, true, wire.PathAttrs{}, via("192.0.2.1"), wire.NLRI{Prefix: manyPrefix, PathID: 77}))
	if err := tab.Originate(LocalPath{Prefix: manyPrefix}); err != nil {
		t.Error(err)
	}
	if out := tab.paths.at(tab.best(tab.at(tab.find(manyPrefix)))).out; out != 78 {
		t.Errorf("it has path identifier %d", out)
	}
	ins[0].Drop(wire.IPv4Unicast)
	tab.Withdraw(manyPrefix, 0)
	if s := tab.Stats(); s.Prefixes[0] != 0 || s.Paths != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// TestSortedIDs compares a sortedIDs with a slice.
func TestSortedIDs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var s sortedIDs
	var want []uint32
	for round := range 6 {
		for range 3000 {
			id := uint32(1 + r.IntN(5000))
			at := s.search(func(x uint32) bool { return x < id })
			i, found := slices.BinarySearch(want, id)
			if (s.at(at) == id) != found {
				t.Fatalf("%d found: %v", id, !found)
			}
			switch {
			case !found && (round%2 == 0 || r.IntN(4) == 0):
				s.insert(at, id)
				want = slices.Insert(want, i, id)
			case found && round%2 == 1:
				s.remove(at)
				want = slices.Delete(want, i, i+1)
			}
		}
		var got []uint32
		before := uint32(0)
		for at := (place{}); s.at(at) != 0; at = s.next(at) {
			if b := s.before(at); b != before {
				t.Fatalf("%d before %d, not %d", b, s.at(at), before)
			}
			before = s.at(at)
			got = append(got, before)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %d ids, not %d, or in another order", round, len(got), len(want))
		}
		if n := len(s.blocks); n > 4+2*len(want)/(blockMax/4) {
			t.Errorf("%d blocks for %d ids", n, len(want))
		}
	}
}
