package rib

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// act is an input that begins with the name of a peer.
func (m *machine) act(p *modelPeer, w *words) error {
	switch verb := w.next(); verb {
	case "announce", "malformed":
		return m.announceAll(p, verb, w)
	case "withdraw":
		list := w.prefixes()
		for _, n := range list {
			m.model.withdraw(p, n)
		}
		return m.update(p, unreachOf(m.tb, list...), false)
	case "stale":
		fam := w.family()
		p.in.MarkStale(fam)
		m.markStale(p, fam)
	case "twice-stale":
		fam := w.family()
		p.in.MarkTwiceStale(fam)
		for _, x := range m.of(p, fam) {
			x.twice = x.twice || x.stale
		}
	case "sweep-twice-stale":
		fam := w.family()
		p.in.SweepTwiceStale(fam)
		for _, x := range m.of(p, fam) {
			if x.twice {
				m.drop(x)
			}
		}
	case "long-lived":
		fam := w.family()
		p.in.MarkLongLived(fam)
		m.markLongLived(p, fam)
	case "sweep", "end-of-rib":
		fam := w.family()
		if verb == "sweep" {
			p.in.Sweep(fam)
		} else {
			p.in.EndOfRIB(fam)
		}
		m.sweep(p, fam)
	case "drop":
		fam := w.family()
		p.in.Drop(fam)
		m.dropAll(p, fam)
	case "begin-refresh":
		fam := w.family()
		p.in.BeginRefresh(fam)
		m.beginRefresh(p, fam)
	case "end-refresh":
		fam := w.family()
		p.in.EndRefresh(fam)
		m.endRefresh(p, fam)
	case "fails", "fails-near": // what follows is reached by another way
		fam := w.family()
		except := w.prefixesOnly()
		if verb == "fails" {
			p.in.DropRedundant(fam, except...)
		} else {
			p.in.DropOnLink(fam, except...)
		}
		m.fails(p, fam, verb == "fails-near", except)
	case "leaves":
		m.end(p)
		p.in.Close()
		for _, fam := range families {
			m.dropAll(p, fam)
		}
		delete(m.peers, p.name)
	case "counters":
		m.counters(p.in.Counters(w.family()))
	default:
		return m.actOut(p, verb, w)
	}
	return nil
}

// announceAll announces prefixes of one family in one UPDATE.
func (m *machine) announceAll(p *modelPeer, verb string, w *words) error {
	list := w.prefixes()
	a, nh := w.attrs()
	if w.err != nil {
		return w.err
	}
	u := reachOf(m.tb, !p.external, a, nh, list...)
	if verb == "malformed" {
		for _, n := range list {
			m.model.withdraw(p, n)
			p.kept[modelKey{p, n.Prefix, n.PathID}] = false
		}
		p.in.TreatAsWithdraw(u)
		return nil
	}
	if p.external {
		a.LocalPref, a.OriginatorID, a.ClusterList = nil, netip.Addr{}, nil // RFC 7606, Section 7: discarded
	}
	ended := false
	for _, n := range list {
		m.used[n.Prefix] = true
		if ended = !m.announce(p, n, a, nh); ended {
			break
		}
	}
	return m.update(p, u, ended)
}

// update has the table take in an UPDATE, after which the session is to be ended or not.
func (m *machine) update(p *modelPeer, u *wire.Update, ended bool) error {
	err := p.in.Update(u)
	var limit *LimitError
	if err != nil {
		m.say("%v", err)
		if !errors.As(err, &limit) {
			return err
		}
	}
	if (limit != nil && limit.Ends()) != ended {
		return fmt.Errorf("the session is to be ended: %v; the table says: %v", ended, err)
	}
	return nil
}

// actOut is an input about the session of a peer.
func (m *machine) actOut(p *modelPeer, verb string, w *words) error {
	if p.sink == nil {
		return fmt.Errorf("%s: no session: %w", verb, errIgnored)
	}
	switch verb {
	case "asks-refresh":
		p.sink.out.Refresh(w.family(), w.is("enhanced"))
	case "ends":
		m.end(p)
	case "fills": // reads some, and prints nothing
		for range max(1, len(w.list)) {
			if w.next(); !p.sink.fill() {
				break
			}
		}
		return p.sink.err
	case "sent":
		c := p.sink.out.Counters()
		m.say("%d messages, %d announced, %d withdrawn, lagged %d", c.Updates, c.Announced, c.Withdrawn, c.Lagged)
	default:
		return fmt.Errorf("what is %q?", verb)
	}
	return nil
}

func (m *machine) end(p *modelPeer) {
	if p.sink != nil {
		p.sink.out.Close()
		p.sink = nil
	}
}

func (m *machine) counters(c Counters) {
	m.say("paths %d, stale %d, announced %d, withdrawn %d", c.Paths, c.Stale, c.Announced, c.Withdrawn)
	if c.Counted != c.Paths-c.Stale || c.Limit != LimitWithin {
		m.say("counted %d, limit %v", c.Counted, c.Limit)
	}
	for r := range reasons {
		if c.Refused[r] > 0 {
			m.say("refused for %v: %d", r, c.Refused[r])
		}
		if c.Dropped[r] > 0 {
			m.say("dropped for %v: %d", r, c.Dropped[r])
		}
	}
}

func (m *machine) show(cmd string, w *words) {
	switch cmd {
	case "show":
		for _, n := range w.prefixes() {
			for _, p := range m.t.Lookup(n.Prefix) {
				m.say("%s", pathWords(p))
			}
		}
	case "match":
		c, ok := m.t.Match(w.addr())
		if !ok {
			m.say("no route")
		}
		for _, p := range c.Paths {
			m.say("%v: %s", c.Prefix, pathWords(p))
		}
	case "stats":
		m.say("%+v", m.t.Stats())
	}
}

// fill prints what sessions are sent, "read" only what they know in the end.
func (m *machine) fill(cmd string, w *words) error {
	for len(w.list) > 0 {
		p := m.peers[w.next()]
		if p == nil || p.sink == nil {
			return fmt.Errorf("no session: %w", errIgnored)
		}
		k := p.sink
		k.drain()
		lines := k.trace
		if cmd == "read" {
			lines = nil
			for _, n := range sortedNLRI(k.routes) {
				lines = append(lines, n.String()+": "+k.routes[n])
			}
		}
		for _, line := range lines {
			m.say("%s: %s", p.name, line)
		}
		if len(lines) == 0 {
			m.say("%s: nothing", p.name)
		}
		k.trace = nil
		if k.err != nil {
			return k.err
		}
	}
	return nil
}

// see lets the watcher read once.
func (m *machine) see(changes []Change) (n int, err error) {
	n = m.watch.Next(changes)
	m.sawConverged = n > 0 && changes[n-1].Converged
	if m.sawConverged {
		n--
	}
	for _, c := range changes[:n] {
		if len(c.Paths) == 0 {
			if _, ok := m.seen[c.Prefix]; !ok {
				err = fmt.Errorf("the watcher: %v gone, but it never was there", c.Prefix)
			}
			delete(m.seen, c.Prefix)
			continue
		}
		m.seen[c.Prefix] = slices.Clone(c.Paths)
	}
	return n, err
}

func pathWords(p Path) string {
	from := "from " + p.Peer.String()
	if p.Local {
		from = "local"
	}
	if p.PathID != 0 {
		from += fmt.Sprintf(" #%d", p.PathID)
	}
	if p.Stale {
		from += ", stale"
	}
	if p.Moved {
		from += ", moved"
	}
	if p.Lost != 0 {
		from += fmt.Sprintf(" (lost by %v)", p.Lost)
	}
	return fmt.Sprintf("rank %d, %s, %s", p.Rank, from, describe(p.Attrs.Attrs, p.NextHop))
}
