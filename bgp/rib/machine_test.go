package rib

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestScenarios plays testdata/*.txt. The table knows no clock, so neither do the scenarios: "mary
// stale" is the moment when mary's session ends. In the end the model beside it agrees, and
// nothing is left over when everybody has gone.
func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		m := newMachine(t)
		out, err := scenario.Play(text, m)
		if err == nil {
			err = m.finish()
		}
		return out, err
	})
}

// machine is a table with everybody who writes and reads it, and the model beside it.
type machine struct {
	*model
	tb    testing.TB
	t     *Table
	peers map[string]*modelPeer
	watch *Watcher
	all   bool // the watcher sees all paths
	seen  map[netip.Prefix][]Path
	rules map[string]*rule      // by their words
	used  map[netip.Prefix]bool // prefixes that were ever announced

	sawConverged bool // in the last read of the watcher

	woken   []string
	out     []string
	lenient bool // inputs that make no sense are ignored, as those that are left when others were
}

func newMachine(tb testing.TB) *machine { return &machine{tb: tb} }

// errIgnored is what an input does that makes no sense.
var errIgnored = errors.New("makes no sense here")

// Do implements scenario.Machine.
func (m *machine) Do(_ time.Time, list []string) ([]string, error) {
	m.out, m.woken = m.out[:0], m.woken[:0]
	w := &words{list: list}
	err := m.do(w)
	switch {
	case err != nil:
	case w.err != nil:
		err = w.err
	case len(w.list) > 0:
		err = fmt.Errorf("what is %q?", w.list)
	}
	if m.lenient && errors.Is(err, errIgnored) {
		err = nil
	}
	for _, name := range m.woken {
		m.say("(%s is notified)", name)
	}
	return m.out, err
}

func (m *machine) say(format string, args ...any) {
	m.out = append(m.out, fmt.Sprintf(format, args...))
}

// wake is a Notify.
func (m *machine) wake(name string) func() { return func() { m.woken = append(m.woken, name) } }

func (m *machine) do(w *words) error {
	cmd := w.next()
	if m.t == nil && cmd != "table" {
		return fmt.Errorf("no table: %w", errIgnored)
	}
	switch cmd {
	case "table":
		return m.table(w)
	case "limits":
		m.limits(w)
	case "peer":
		return m.peer(w)
	case "out":
		return m.session(w)
	case "originate":
		return m.originate(w)
	case "unoriginate":
		for _, n := range w.prefixes() {
			_, there := m.paths[modelKey{m.local, n.Prefix, n.PathID}]
			m.model.withdraw(m.local, n)
			if m.t.Withdraw(n.Prefix, n.PathID) != there {
				return fmt.Errorf("local path %v was there: %v", n, !there)
			}
			if !there {
				m.say("not there")
			}
		}
	case "converge":
		m.t.Converge()
		m.deferred = false
	case "inventory":
		m.t.InventoryComplete()
		m.held = false
	case "watch":
		m.watchAll(w)
	case "next":
		return m.next(w)
	case "show", "match", "stats":
		m.show(cmd, w)
	case "fill", "read":
		return m.fill(cmd, w)
	case "check":
		return m.check()
	default:
		p := m.peers[cmd]
		if p == nil {
			return fmt.Errorf("no peer %q: %w", cmd, errIgnored)
		}
		return m.act(p, w)
	}
	return nil
}

func (m *machine) table(w *words) (err error) {
	if m.t != nil {
		if err := m.finish(); err != nil {
			return err
		}
	}
	c := Config{AS: 65000, RouterID: ip("10.0.0.1")}
	w.each(func(x string) {
		switch x {
		case "cluster":
			c.ClusterID = w.addr()
		case "multipath":
			c.Multipath = w.number()
		case "deferred":
			c.Deferred = true
		case "always-compare-med":
			c.AlwaysCompareMED = true
		case "held":
			c.HoldEndOfRIB = true
		default:
			w.fail("what is %q?", x)
		}
	})
	if m.t, err = New(c); err != nil {
		return err
	}
	m.model = &model{as: c.AS, routerID: id32(c.RouterID), clusterID: m.t.clusterID, deferred: c.Deferred, held: c.HoldEndOfRIB,
		multipath: m.t.multipath, allMED: c.AlwaysCompareMED, paths: map[modelKey]*modelPath{}, local: &modelPeer{name: "local", cfg: PeerConfig{RouterID: c.RouterID}}}
	m.peers, m.seen, m.used, m.watch = map[string]*modelPeer{}, map[netip.Prefix][]Path{}, map[netip.Prefix]bool{}, nil
	return nil
}

// limits makes constants of the table smaller, so that few routes reach them.
func (m *machine) limits(w *words) {
	w.each(func(x string) {
		switch n := w.number(); x {
		case "batch": // octets of a chunk
			m.t.limits.batch = n
		case "backlog": // octets of chunks that wait
			m.t.limits.backlog = n
		case "list": // paths of a prefix without an index
			m.t.limits.list = n
		default:
			w.fail("what is %q?", x)
		}
	})
}

// peer adds a peer, or configures one that is there.
func (m *machine) peer(w *words) error {
	name := w.next()
	c := PeerConfig{AS: 65000, Addr: w.addr()}
	c.RouterID = c.Addr
	var imports *rule
	var limit PrefixLimit
	w.each(func(x string) {
		switch x {
		case "as":
			c.AS = uint32(w.number())
		case "id":
			c.RouterID = w.addr()
		case "client":
			c.Client = true
		case "local-as":
			c.EBGP.LocalAS = uint32(w.number())
		case "no-prepend":
			c.EBGP.LocalASNoPrepend = true
		case "replace-as":
			c.EBGP.LocalASReplaceAS = true
		case "remove-private":
			c.EBGP.RemovePrivateAS = PrivateASRemove
		case "remove-private-all":
			c.EBGP.RemovePrivateAS = PrivateASRemoveAll
		case "replace-private":
			c.EBGP.RemovePrivateAS = PrivateASReplaceAll
		case "unchanged":
			c.EBGP.NextHopUnchanged = true
		case "third-party":
			c.EBGP.ThirdParty = w.prefixesOnly()
		case "any-first-as":
			c.EBGP.AnyFirstAS = true
		case "role":
			c.EBGP.Role = map[string]wire.Role{"provider": wire.RoleProvider, "rs": wire.RoleRS, "rs-client": wire.RoleRSClient,
				"customer": wire.RoleCustomer, "peer": wire.RolePeer}[w.next()]
		case "allow-own-as":
			c.AllowOwnAS = w.number()
		case "maximum":
			limit.Maximum = w.number()
		case "paths-per-prefix":
			limit.PathsPerPrefix = w.number()
		case "threshold":
			limit.Threshold = w.number()
		case "action":
			limit.Action = map[string]LimitAction{"restart": LimitRestart, "block": LimitBlock, "warn": LimitWarn}[w.next()]
		case "import":
			imports = m.policy(w)
		default:
			w.fail("what is %q?", x)
		}
	})
	if w.err != nil {
		return w.err
	}
	c.Limits = map[wire.Family]PrefixLimit{}
	for _, fam := range families {
		c.Limits[fam] = limit
	}
	if imports != nil {
		c.Import = imports.real
	}
	return m.configure(name, c, imports)
}

func (m *machine) configure(name string, c PeerConfig, imports *rule) (err error) {
	c.KeepRefused = 1 << 20
	p := m.peers[name]
	if p == nil {
		p = &modelPeer{name: name, refused: map[modelKey]bool{}, kept: map[modelKey]bool{}}
		if p.in, err = m.t.NewIn(c); err != nil {
			return err
		}
		m.peers[name] = p
	} else {
		if p.sink != nil && (c.AS != p.cfg.AS || c.Client != p.cfg.Client) {
			return fmt.Errorf("another kind of peer within a session: %w", errIgnored)
		}
		if err := p.in.Configure(c); err != nil {
			return err
		}
		if l := c.Limits[wire.IPv4Unicast]; !l.active() {
			clear(p.refused)
		}
		if err := p.in.CheckLimits(); err != nil {
			m.say("%v", err)
		}
	}
	p.cfg, p.imports, p.external = c, imports, c.AS != m.as
	return nil
}

// session opens a session, or reconfigures the one that is open.
func (m *machine) session(w *words) error {
	p := m.peers[w.next()]
	if p == nil {
		return fmt.Errorf("no such peer: %w", errIgnored)
	}
	c := OutConfig{AS4: true, Families: wire.Families(wire.IPv4Unicast), Notify: m.wake(p.name),
		NextHop4: wire.NextHop{Addr: ip("10.0.0.1")}, NextHop6: wire.NextHop{Addr: ip("2001:db8:1::1")}}
	var exports, when, shape *rule
	room := 65536
	w.each(func(x string) {
		switch x {
		case "ipv6":
			c.Families = c.Families.With(wire.IPv6Unicast)
		case "add-path":
			c.AddPath = wire.Families(families[:]...)
		case "add-path4":
			c.AddPath = wire.Families(wire.IPv4Unicast)
		case "limit":
			c.AddPathLimit = w.number()
		case "long-lived":
			c.LongLived = true
		case "link-local":
			c.NextHop6.LinkLocal = ip("fe80::1")
		case "two-octet":
			c.AS4 = false
		case "extended-messages":
			c.ExtendedMessages = true
		case "self":
			c.NextHopSelf = true
		case "extended-next-hop":
			c.ExtendedNextHop = true
		case "export":
			exports = m.policy(w)
		case "default":
			f := w.family()
			c.Default.Families = c.Default.Families.With(f)
			m.used[defaultPrefix(familyIndex(f))] = true
		case "when":
			when = m.policy(w)
		case "shape":
			shape = m.policy(w)
		case "room":
			room = w.number()
		default:
			w.fail("what is %q?", x)
		}
	})
	if w.err != nil {
		return w.err
	}
	if exports != nil {
		c.Export = exports.real
	}
	if when != nil {
		c.Default.When = when.real
	}
	if shape != nil {
		c.Default.Policy = shape.real
	}
	if p.sink != nil {
		if err := p.sink.out.Reconfigure(c); err != nil {
			return fmt.Errorf("%v: %w", err, errIgnored)
		}
	} else {
		out, err := p.in.NewOut(c)
		if err != nil {
			return err
		}
		p.sink = newSink(m.tb, out, c.AddPath, room)
		p.sink.two = !c.AS4
		// One that falls behind may be told of the end of a route whose beginning it missed.
		p.sink.strict = m.t.limits.backlog == maxBacklog
		clear(p.refused)
		clear(p.kept)
		if err := p.in.CheckLimits(); err != nil { // of paths of a session that did not end
			m.say("%v", err)
		}
	}
	p.outCfg, p.exports, p.when, p.shape, p.border = c, exports, when, shape, p.cfg.EBGP
	p.own = [2]netip.Addr{c.NextHop4.Addr, c.NextHop6.Addr}
	return nil
}

func (m *machine) originate(w *words) error {
	list := w.prefixes()
	a, nh := w.attrs()
	if w.err != nil {
		return w.err
	}
	for _, n := range list {
		k := modelKey{m.local, n.Prefix, n.PathID}
		x := &modelPath{modelKey: k, attrs: a, nh: nh}
		if old := m.paths[k]; old != nil {
			x.out = old.out
		}
		m.enter(x, false)
		m.used[n.Prefix] = true
		if err := m.t.Originate(LocalPath{Prefix: n.Prefix, PathID: n.PathID, NextHop: nh, Attrs: a}); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) watchAll(w *words) {
	if m.watch != nil {
		m.watch.Close()
	}
	clear(m.seen)
	m.all = w.is("all")
	m.watch = m.t.Watch(WatchConfig{AllPaths: m.all, Notify: m.wake("watcher")})
}

// next prints what the watcher sees; "next one" reads once, and prints nothing.
func (m *machine) next(w *words) error {
	if m.watch == nil {
		return fmt.Errorf("no watcher: %w", errIgnored)
	}
	if w.is("one") {
		_, err := m.see(make([]Change, 3))
		return err
	}
	changes := make([]Change, 8)
	for {
		n, err := m.see(changes)
		if err != nil {
			return err
		}
		sort.Slice(changes[:n], func(i, j int) bool { return changes[i].Prefix.Compare(changes[j].Prefix) < 0 })
		for _, c := range changes[:n] {
			if len(c.Paths) == 0 {
				m.say("%v: gone", c.Prefix)
			}
			for _, p := range c.Paths {
				m.say("%v: %s", c.Prefix, pathWords(p))
			}
		}
		if m.sawConverged {
			m.say("converged")
		}
		if n == 0 {
			return nil
		}
	}
}
