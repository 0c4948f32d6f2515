package rib

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// check has everybody read all there is, and compares what they have then with the model.
func (m *machine) check() error {
	prefixes := slices.SortedFunc(maps.Keys(m.used), netip.Prefix.Compare)
	for _, prefix := range prefixes {
		if err := m.checkOrder(prefix); err != nil {
			return err
		}
	}
	if err := m.checkWatcher(prefixes); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m.peers)) {
		if err := m.checkPeer(m.peers[name], prefixes); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
	}
	return m.t.audit()
}

func (m *machine) checkOrder(prefix netip.Prefix) error {
	want := m.order(prefix)
	got := m.t.Lookup(prefix)
	same := slices.EqualFunc(got, want, func(g Path, w *modelPath) bool {
		return g.Peer == w.peer.cfg.Addr && g.PathID == w.id && g.Local == (w.peer.in == nil) && g.Stale == w.stale &&
			g.NextHop == w.nh && string(g.Attrs.Attrs) == string(w.attrs.Append(nil))
	})
	if !same {
		return fmt.Errorf("%v: order is\n  %v, not\n  %v", prefix, pathText(got), want)
	}
	outs := map[uint16]bool{}
	for _, w := range want {
		if err := m.checkID(w); err != nil {
			return err
		}
		if outs[w.out] || w.out == 0 {
			return fmt.Errorf("%v: path identifier %d twice", w, w.out)
		}
		outs[w.out] = true
	}
	return nil
}

// checkID checks that the path identifier for sending has not changed since the path came.
func (m *machine) checkID(w *modelPath) error {
	no := uint16(localPeer)
	if w.peer.in != nil {
		no = w.peer.in.no
	}
	out := m.t.paths.at(m.t.search(m.t.at(m.t.find(w.prefix)), no, w.id)).out
	if w.out != 0 && w.out != out {
		return fmt.Errorf("%v: path identifier changed from %d to %d", w, w.out, out)
	}
	w.out = out
	return nil
}

func (m *machine) checkWatcher(prefixes []netip.Prefix) error {
	if m.watch == nil {
		return nil
	}
	for changes := make([]Change, 3); ; {
		if n, err := m.see(changes); err != nil {
			return err
		} else if n == 0 {
			break
		}
	}
	for _, prefix := range prefixes {
		if m.all {
			if want := m.watchable(prefix); !slices.Equal(pathText(m.seen[prefix]), pathText(want)) {
				return fmt.Errorf("%v: the watcher of all paths saw\n  %v, not\n  %v", prefix, pathText(m.seen[prefix]), pathText(want))
			}
			continue
		}
		want := m.multipathSet(prefix)
		same := slices.EqualFunc(m.seen[prefix], want, func(g Path, w *modelPath) bool {
			return g.Peer == w.peer.cfg.Addr && g.PathID == w.id && g.NextHop == w.nh && g.Stale == w.stale
		})
		if !same {
			return fmt.Errorf("%v: the watcher saw\n  %v, not\n  %v", prefix, pathText(m.seen[prefix]), want)
		}
	}
	return nil
}

// watchable returns what a watcher of all paths is to have seen of a prefix.
func (m *machine) watchable(prefix netip.Prefix) []Path {
	m.t.mu.Lock()
	defer m.t.mu.Unlock()
	d := m.t.find(prefix)
	if d == 0 || !m.t.visible(m.t.at(d)) {
		return nil
	}
	return m.t.appendPaths(nil, m.t.at(d), true)
}

// checkPeer compares what a peer is counted for, and what its session has.
func (m *machine) checkPeer(p *modelPeer, prefixes []netip.Prefix) error {
	blocked := 0
	for _, fam := range families[:2] { // the model knows prefixes; TestEVPNAsUnicast has the others
		c := p.in.Counters(fam)
		all, _ := m.counted(p, netip.PrefixFrom(map[wire.Family]netip.Addr{wire.IPv4Unicast: ip("0.0.0.0"), wire.IPv6Unicast: ip("::")}[fam], 0))
		if l := p.cfg.Limits[fam]; !l.active() {
			all = len(m.of(p, fam)) - c.Stale
		}
		if c.Counted != all || c.Paths != len(m.of(p, fam)) {
			return fmt.Errorf("has %d paths in %v, %d count; not %d and %d", c.Paths, fam, c.Counted, len(m.of(p, fam)), all)
		}
		blocked += int(c.Refused[ReasonOverLimit])
		if err := p.checkRefused(fam); err != nil {
			return err
		}
	}
	if blocked != p.blocked {
		return fmt.Errorf("was refused %d for the limit, not %d", blocked, p.blocked)
	}
	if p.sink == nil {
		return nil
	}
	return m.checkSession(p, prefixes)
}

// checkRefused compares what a peer announces and is refused.
func (p *modelPeer) checkRefused(fam wire.Family) error {
	want := map[modelKey]bool{}
	for k := range p.kept {
		if familyNo(k.prefix) == fam {
			want[k] = true
		}
	}
	list, more := p.in.Refused(fam)
	for _, r := range list {
		k := modelKey{p, r.Prefix, r.PathID}
		if !want[k] || r.Reason == 0 || (r.Reason != ReasonMalformed) != r.Attrs.NextHop().Addr.IsValid() {
			return fmt.Errorf("%v is refused: %+v", k, r)
		}
		delete(want, k)
	}
	if more > 0 || len(want) > 0 {
		return fmt.Errorf("%v are not refused, %d more are", want, more)
	}
	return nil
}

func (m *machine) checkSession(p *modelPeer, prefixes []netip.Prefix) error {
	k := p.sink
	for k.fill() {
	}
	if k.err != nil {
		return k.err
	}
	got := map[netip.Prefix][]string{}
	for n, text := range k.routes {
		got[n.Prefix] = append(got[n.Prefix], sent(n.PathID, text))
	}
	for _, prefix := range prefixes {
		slices.Sort(got[prefix])
		if want := m.adjOut(prefix, p); !slices.Equal(got[prefix], want) {
			return fmt.Errorf("has for %v\n  %q, not\n  %q", prefix, got[prefix], want)
		}
	}
	have := map[wire.NLRI]string{}
	for _, fam := range families {
		for a := range k.out.All(fam) {
			have[wire.NLRI{Prefix: a.Prefix, PathID: a.PathID}] = describe(a.Attrs.Attrs, a.Attrs.NextHop())
		}
	}
	if !maps.Equal(have, k.routes) {
		return fmt.Errorf("has an Adj-RIB-Out of\n  %v, was sent\n  %v", have, k.routes)
	}
	for _, fam := range p.outCfg.Families.Slice() {
		if due := !m.deferred && !m.held; k.eor[fam] > 1 || (k.eor[fam] == 1) != due {
			return fmt.Errorf("was sent %d End-of-RIB of %v, due: %v", k.eor[fam], fam, due)
		}
	}
	return nil
}

// finish checks once more, takes everything away in two steps, and looks for what is left over.
func (m *machine) finish() error {
	if m.t == nil {
		return nil
	}
	if err := m.check(); err != nil {
		return err
	}
	m.t.Converge()
	m.t.InventoryComplete()
	m.deferred, m.held = false, false
	for k := range m.paths {
		if k.peer == m.local {
			m.t.Withdraw(k.prefix, k.id)
		} else {
			k.peer.in.TreatAsWithdraw(reachOf(m.tb, true, wire.PathAttrs{}, viaOf(k.prefix), wire.NLRI{Prefix: k.prefix, PathID: k.id}))
		}
	}
	clear(m.paths)
	for _, p := range m.peers {
		if p.sink != nil && p.outCfg.Default.Families != 0 { // it needs no route
			p.outCfg.Default = DefaultRoute{}
			p.sink.strict = false // path identifiers of the table are withdrawn that it was not sent
			if err := p.sink.out.Reconfigure(p.outCfg); err != nil {
				return err
			}
		}
		clear(p.refused)
		clear(p.kept)
		for _, fam := range families {
			m.dropAll(p, fam)
			p.in.Drop(fam)
		}
	}
	if err := m.check(); err != nil {
		return err
	}
	if s := m.t.Stats(); s.Prefixes != [4]int{} || s.Paths != 0 || s.Attrs != 0 {
		return fmt.Errorf("left over without routes: %+v", s)
	}
	for _, p := range m.peers {
		m.end(p)
		p.in.Close()
	}
	if m.watch != nil {
		m.watch.Close()
	}
	if s := m.t.Stats(); s != (Stats{}) {
		return fmt.Errorf("left over: %+v", s)
	}
	return m.t.audit()
}

func viaOf(p netip.Prefix) wire.NextHop {
	if p.Addr().Is4() {
		return via("192.0.2.1")
	}
	return via("2001:db8::1")
}

func pathText(list []Path) (text []string) {
	for _, p := range list {
		text = append(text, fmt.Sprintf("[%v #%d stale=%v moved=%v rank=%d %s]", p.Peer, p.PathID, p.Stale, p.Moved, p.Rank, describe(p.Attrs.Attrs, p.NextHop)))
	}
	return text
}
