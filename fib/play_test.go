package fib

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
	"golang.org/x/sys/unix"
)

// TestScenarios plays testdata/*.txt: a FIB as it runs, its owner and all, over a fake
// kernel under virtual time. Outputs are what it writes (->), what it reports (!!), and
// with `watch` the status of routes (==).
func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (out string, err error) {
		synctest.Test(t, func(t *testing.T) {
			p := newPlayer(t)
			out, err = scenario.Play(text, p)
			p.stop()
		})
		return out, err
	})
}

// player plays a scenario. It is a [scenario.Clock] within a bubble.
type player struct {
	*testing.T
	m       *fake
	config  Config
	f       *FIB // nil: not running
	o       *owner
	moment  sync.Mutex // an input is one moment: the owner takes no turn within it
	cancel  context.CancelFunc
	done    chan error
	w       *Watcher
	follow  *follower      // nil: the status of routes is not of interest
	desired desires        // what was asked for, again after a restart
	next    int32          // index of the next interface
	faulty  bool           // something has gone wrong beside what others do
	last    map[string]int // index that an interface has, or had last
	quiet   bool           // nobody reads the outputs
	said    []string
}

// desires are what the user of a FIB has asked for.
type desires struct {
	routes    map[RouteKey]Route
	rules     map[Rule]bool // false: banned
	addresses map[wire.AddressKey]Address
	neighbors map[wire.NeighborKey]Neighbor
	down      map[gatewayKey]bool
}

func newPlayer(t *testing.T) *player {
	return &player{T: t, m: newFake(), next: 100, last: map[string]int{"v0": 2, "v1": 3, "v2": 4}, desired: desires{map[RouteKey]Route{}, map[Rule]bool{}, map[wire.AddressKey]Address{}, map[wire.NeighborKey]Neighbor{}, map[gatewayKey]bool{}}}
}

// Do implements scenario.Machine.
func (p *player) Do(now time.Time, line []string) ([]string, error) {
	time.Sleep(time.Until(now))
	synctest.Wait()
	w := &words{list: line}
	if len(line) > 0 {
		p.input(w)
	}
	synctest.Wait()
	return p.outputs(), w.err
}

// Deadline implements scenario.Clock.
func (p *player) Deadline() time.Time {
	if p.f == nil {
		return time.Time{}
	}
	now := time.Now()
	return now.Add(p.o.delay(now))
}

// Advance implements scenario.Clock.
func (p *player) Advance(now time.Time) []string {
	time.Sleep(time.Until(now))
	synctest.Wait()
	return p.outputs()
}

// outputs are what the FIB has done since the last time.
func (p *player) outputs() (out []string) {
	out, p.said = p.said, nil
	p.m.mu.Lock()
	writes := p.m.writes
	p.m.writes = nil
	p.m.mu.Unlock()
	if p.quiet {
		return nil
	}
	for _, l := range writes {
		out = append(out, "-> "+l)
	}
	if p.w != nil {
		events := make([]Event, 10000)
		n, _ := p.w.take(events)
		for _, e := range events[:n] {
			if s := describe(e); s != "" {
				out = append(out, "!! "+s)
			}
		}
	}
	if p.follow != nil && p.follow.RouteWatcher != nil {
		for _, l := range p.follow.read(100) {
			out = append(out, "== "+l)
		}
	}
	return out
}

func describe(e Event) string {
	by := ""
	if e.Port != 0 || e.Protocol != 0 {
		by = fmt.Sprintf(" (protocol %d, port %d)", e.Protocol, e.Port)
	}
	switch e.Kind {
	case EventLink, EventNextHops, EventSynced, EventAddress:
		return ""
	case EventError:
		return e.Err.Error()
	case EventGatewayDown:
		return fmt.Sprintf("gateway-down %v dev %s (%s)%s", e.Gateway, e.Link.Interface, e.Reason, by)
	case EventLinkGone:
		return "link-gone " + e.Link.Interface
	}
	s := fmt.Sprintf("%v %s", e.Kind, e.Op)
	if e.Kind == EventDifference && e.Key == nil {
		s += " interface " + e.Link.Interface
	}
	switch k := e.Key.(type) {
	case nil:
	case Address:
		s += fmt.Sprintf(" %v", k.Prefix)
	case Neighbor:
		s += fmt.Sprintf(" %v", k.Addr)
	default:
		s += fmt.Sprintf(" %v", k)
	}
	return strings.TrimSpace(s + by)
}

// start lets a FIB run.
func (p *player) start() {
	p.m.mu.Lock()
	p.m.running = true
	if p.m.guard != nil {
		p.m.guard.stolen = nil // from one that knows nothing of it
	}
	p.m.mu.Unlock()
	p.f = newFakeFIB(p.config, p.m)
	p.w = p.f.Watch(WatchOptions{})
	if p.follow != nil {
		p.follow = follow(p.f, RouteFilter{})
	}
	p.o = newOwner(p.f, p.m.handles())
	p.o.steps = slices.Insert(p.o.steps, 0, func() error {
		p.moment.Lock()
		defer p.moment.Unlock()
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan error, 1)
	o, done := p.o, p.done
	f := p.f
	go func() {
		err := o.live(ctx)
		f.end()
		done <- err
	}()
}

// stop ends it, as the end of its process does.
func (p *player) stop() {
	if p.f == nil {
		return
	}
	p.m.running = false
	p.cancel()
	if err := <-p.done; err != nil && (p.m.guard == nil || p.m.guard.err == nil) {
		p.Errorf("Run: %v", err)
	}
	p.f, p.w = nil, nil
}

// again desires everything once more.
func (p *player) again() {
	d := &p.desired
	for _, k := range slices.SortedFunc(maps.Keys(d.routes), func(a, b RouteKey) int { return strings.Compare(a.String(), b.String()) }) {
		_ = p.f.SetRoute(p.now(d.routes[k], p.known))
	}
	for r, wanted := range d.rules {
		if wanted {
			_ = p.f.SetRule(r)
		} else {
			_ = p.f.SetRuleAbsent(r)
		}
	}
	for _, a := range d.addresses {
		a.IfIndex = p.known(a.IfIndex)
		_ = p.f.SetAddress(a)
	}
	for _, n := range d.neighbors {
		n.IfIndex = p.known(n.IfIndex)
		_ = p.f.SetNeighbor(n)
	}
	for k := range d.down {
		p.f.GatewayDown(p.known(int(k.IfIndex)), k.Gateway)
	}
}

func (p *player) input(w *words) {
	verb := w.word()
	if f := p.before(verb); f != nil {
		p.moment.Lock()
		defer p.moment.Unlock()
		f(w)
		return
	}
	if p.f == nil {
		p.start()
		synctest.Wait()
	}
	switch verb {
	case "start":
	case "restart":
		p.stop()
		p.start()
	case "restore": // as a daemon that knows everything at once
		p.stop()
		p.start()
		synctest.Wait()
		p.moment.Lock()
		defer p.moment.Unlock()
		p.forget()
		p.again()
	case "sweep":
		p.f.Sweep()
	case "watch":
		p.follow = follow(p.f, RouteFilter{})
	case "diff":
		for _, d := range p.f.Diff() {
			p.said = append(p.said, "~~ "+d.String())
		}
	default:
		p.desire(verb, w)
	}
}

// before are the inputs that need no FIB that runs.
func (p *player) before(verb string) func(*words) {
	return map[string]func(*words){
		"config": p.configure, "foreign": p.foreign, "silent": p.silent, "link": p.link, "during": p.during,
		"refuse":    func(w *words) { p.m.Refuse[w.addr()] = true },
		"accept":    func(w *words) { delete(p.m.Refuse, w.addr()) },
		"errno":     p.errno,
		"interrupt": func(w *words) { p.m.faults.Interrupted[dumpType(w)] = int(w.number()) },
		"dump-error": func(w *words) {
			p.faulty = true
			p.m.faults.DumpErrno, p.m.faults.DumpErrors = errnoOf(w), int(w.number())
		},
		"notifications": p.notifications,
		"lose-replies":  func(w *words) { p.m.faults.LoseReply = int(w.number()) },
		"state": func(*words) {
			for _, l := range p.m.state() {
				p.said = append(p.said, "-> "+l)
			}
		},
		"default-rules": func(*words) {
			p.m.AddDefaultRules(wire.FamilyIPv4)
		},
	}[verb]
}

func (p *player) configure(w *words) {
	for w.more() {
		switch s := w.word(); s {
		case "refuse", "wait", "take":
			p.config.OnForeign = ForeignPolicy(slices.Index([]string{"refuse", "wait", "take"}, s))
		case "classic":
			p.config.RTAMultipath = true
		case "table":
			p.config.Tables = append(p.config.Tables, w.number())
		case "round":
			d, err := time.ParseDuration(w.word())
			if p.config.AuditRound = d; err != nil {
				w.fail("config: %v", err)
			}
		case "batch":
			p.config.BatchMessages = int(w.number())
		default:
			w.fail("config: %q", s)
		}
	}
}

// foreign is what another program does: see grammar_test.go.
func (p *player) foreign(w *words) {
	p.m.mu.Lock()
	b, err := somebody(w.list, p.m)
	p.m.mu.Unlock()
	if err != nil {
		w.fail("%v", err)
		return
	}
	if err := p.m.by(otherPort, b); err != 0 {
		p.said = append(p.said, "foreign: "+err.Error())
	}
}

// silent INPUT is done and not notified.
func (p *player) silent(w *words) {
	p.m.mu.Lock()
	p.m.faults.Mute, p.m.silent = true, true
	p.m.mu.Unlock()
	one := &words{list: w.list}
	switch verb := one.word(); verb {
	case "foreign":
		p.foreign(one)
	case "link":
		p.link(one)
	default:
		w.fail("silent: %q", verb)
	}
	w.err = cmp.Or(w.err, one.err)
	p.m.mu.Lock()
	p.m.faults.Mute = false
	p.m.mu.Unlock()
}

// during CALLS INPUT is done before one of the next calls of the FIB's sockets.
func (p *player) during(w *words) {
	p.faulty = true
	at, list := int(w.number()), slices.Clone(w.list)
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.due = append(p.m.due, deed{p.m.calls + at, func() {
		one := &words{list: list}
		switch verb := one.word(); verb {
		case "foreign":
			p.foreign(one)
		case "silent":
			p.silent(one)
		case "link":
			p.link(one)
		default:
			p.Errorf("during: %q", verb)
		}
	}})
}

func (p *player) link(w *words) {
	name := w.word()
	switch s := w.word(); s {
	case "up":
		p.m.setLink(name, true, true)
	case "down":
		p.m.setLink(name, false, false)
	case "nocarrier":
		p.m.setLink(name, true, false)
	case "delete":
		p.m.deleteLink(name)
	case "create":
		p.next++
		if p.m.createLink(p.next, name) {
			p.last[name] = int(p.next)
		}
		for _, a := range uplinkAddresses(name) {
			p.foreign(&words{list: []string{"address", "add", a.String(), "dev", name}})
		}
	default:
		w.fail("link: %q", s)
	}
}

// forget drops what is desired on interfaces that the FIB has never heard of.
func (p *player) forget() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	there := func(link int) bool { return !p.strange(link) }
	d := &p.desired
	maps.DeleteFunc(d.routes, func(_ RouteKey, r Route) bool {
		return slices.ContainsFunc(r.NextHops, func(h NextHop) bool { return !there(h.IfIndex) })
	})
	maps.DeleteFunc(d.addresses, func(k wire.AddressKey, _ Address) bool { return !there(k.IfIndex) })
	maps.DeleteFunc(d.neighbors, func(k wire.NeighborKey, _ Neighbor) bool { return !there(k.IfIndex) })
	maps.DeleteFunc(d.down, func(k gatewayKey, _ bool) bool { return !there(int(k.IfIndex)) })
}

// Interfaces have the index under which they were first in what is desired, whatever they
// have in the kernel now and by whatever the FIB knows them.

// canon is the index in what is desired.
type canon struct{ *fake }

func (canon) index(name string) int { return map[string]int{"v0": 2, "v1": 3, "v2": 4}[name] }

func canonName(link int) string {
	if link < 2 || link > 4 {
		return "?"
	}
	return []string{"v0", "v1", "v2"}[link-2]
}

// current is the index that the kernel has for it, or had last.
func (p *player) current(link int) int {
	if i := p.m.Index(canonName(link)); i != 0 || link == 0 {
		return i
	}
	return cmp.Or(p.last[canonName(link)], link)
}

// known is the index by which the FIB knows it, 0 if it has never heard of it.
func (p *player) known(link int) int {
	if link == 0 {
		return 0
	}
	p.f.lock()
	defer p.f.unlock()
	return p.f.core.LinkNamed(canonName(link))
}

// strange reports whether the FIB has never heard of one of the interfaces: nobody who
// asks the FIB which there are would name it.
func (p *player) strange(links ...int) bool {
	return slices.ContainsFunc(links, func(l int) bool { return p.known(l) == 0 })
}

// now is a desired route with the kernel's indexes.
func (p *player) now(r Route, index func(int) int) Route {
	r.NextHops = slices.Clone(r.NextHops)
	for i := range r.NextHops {
		r.NextHops[i].IfIndex = index(r.NextHops[i].IfIndex)
	}
	return r
}

func (p *player) errno(w *words) {
	p.faulty = true
	e := errnoOf(w)
	typ := map[string]uint16{"route": rtnl.RTM_NEWROUTE, "nexthop": rtnl.RTM_NEWNEXTHOP, "rule": rtnl.RTM_NEWRULE, "address": rtnl.RTM_NEWADDR, "neighbour": rtnl.RTM_NEWNEIGH,
		"delete-route": rtnl.RTM_DELROUTE, "delete-nexthop": rtnl.RTM_DELNEXTHOP, "delete-rule": rtnl.RTM_DELRULE}[w.word()]
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.faults.Errno, p.m.faults.ErrnoLeft = map[uint16]unix.Errno{typ: e}, int(w.number())
}

func errnoOf(w *words) unix.Errno {
	s := w.word()
	e, ok := map[string]unix.Errno{"ENOBUFS": unix.ENOBUFS, "ENOMEM": unix.ENOMEM, "EPERM": unix.EPERM, "ENETDOWN": unix.ENETDOWN, "EMFILE": unix.EMFILE, "EINVAL": unix.EINVAL, "EBUSY": unix.EBUSY}[s]
	if !ok {
		w.fail("errno %q", s)
	}
	return e
}

func dumpType(w *words) uint16 {
	return map[string]uint16{"link": rtnl.RTM_GETLINK, "address": rtnl.RTM_GETADDR, "neighbour": rtnl.RTM_GETNEIGH, "nexthop": rtnl.RTM_GETNEXTHOP, "rule": rtnl.RTM_GETRULE, "route": rtnl.RTM_GETROUTE}[w.word()]
}

// notifications arrive|late|twice|lose N|overflow.
func (p *player) notifications(w *words) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	f := &p.m.faults
	switch s := w.word(); s {
	case "arrive":
		f.Late, f.Twice, f.LoseNotification = false, false, 0
	case "late":
		f.Late, p.m.everLost = true, true
	case "twice":
		f.Twice = true
	case "lose":
		f.LoseNotification = int(w.number())
	case "overflow":
		p.m.everLost = true
		p.m.monitor.Overflow()
	default:
		w.fail("notifications: %q", s)
	}
	p.m.Wake()
}

// desire is what the user of the FIB asks for. What is desired changes before the FIB
// hears of it: who watches the FIB knows it by then.
func (p *player) desire(verb string, w *words) {
	p.m.mu.Lock()
	ask := p.wish(verb, w)
	p.m.mu.Unlock()
	if ask == nil || w.err != nil {
		return
	}
	p.moment.Lock()
	defer p.moment.Unlock()
	if err := ask(p.f); err != nil {
		p.said = append(p.said, "!! "+err.Error())
	}
}

// wish notes what is desired, and returns how to ask for it.
func (p *player) wish(verb string, w *words) func(*FIB) error {
	d := &p.desired
	switch verb {
	case "set", "delete":
		r, _, _ := w.route(canon{p.m})
		for _, h := range r.NextHops {
			if h.IfIndex != 0 && p.strange(h.IfIndex) {
				return nil
			}
		}
		if verb == "set" {
			d.routes[p.key(r.RouteKey)] = r
			return func(f *FIB) error { return f.SetRoute(p.now(r, p.known)) }
		}
		delete(d.routes, p.key(r.RouteKey))
		return func(f *FIB) error { f.DeleteRoute(r.RouteKey); return nil }
	case "rule", "ban", "unrule":
		r, _ := w.rule()
		switch verb {
		case "rule":
			d.rules[r] = true
			return func(f *FIB) error { return f.SetRule(r) }
		case "ban":
			d.rules[r] = false
			return func(f *FIB) error { return f.SetRuleAbsent(r) }
		}
		delete(d.rules, r)
		return func(f *FIB) error { f.DeleteRule(r); return nil }
	case "address", "unaddress":
		a := Address{Prefix: w.prefix()}
		if dev := w.word(); dev != "dev" {
			w.fail("address: %q", dev)
		}
		if a.IfIndex = (canon{}).index(w.word()); p.strange(a.IfIndex) {
			return nil
		}
		key := wire.AddressKey{IfIndex: a.IfIndex, Prefix: a.Prefix}
		if verb == "address" {
			d.addresses[key] = a
			return func(f *FIB) error { a.IfIndex = p.known(a.IfIndex); return f.SetAddress(a) }
		}
		delete(d.addresses, key)
		return func(f *FIB) error { a.IfIndex = p.known(a.IfIndex); f.DeleteAddress(a); return nil }
	case "neighbour", "unneighbour":
		n := w.neighbor(canon{p.m})
		if p.strange(n.IfIndex) {
			return nil
		}
		key := wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr, Proxy: n.Proxy}
		if verb == "neighbour" {
			d.neighbors[key] = n
			return func(f *FIB) error { n.IfIndex = p.known(n.IfIndex); return f.SetNeighbor(n) }
		}
		delete(d.neighbors, key)
		return func(f *FIB) error { n.IfIndex = p.known(n.IfIndex); f.DeleteNeighbor(n); return nil }
	case "gateway-down", "gateway-up":
		return p.gateways(verb == "gateway-down", w)
	}
	w.fail("unknown input %q", verb)
	return nil
}

// gateways die or come back, several at once: before the owner runs.
func (p *player) gateways(down bool, w *words) func(*FIB) error {
	var keys []gatewayKey
	for w.more() {
		k := gatewayKey{int32(canon{}.index(w.word())), w.addr()}
		if p.strange(int(k.IfIndex)) {
			continue
		}
		if keys = append(keys, k); down {
			p.desired.down[k] = true
		} else {
			delete(p.desired.down, k)
		}
	}
	return func(f *FIB) error {
		for _, k := range keys {
			if link := p.known(int(k.IfIndex)); down {
				f.GatewayDown(link, k.Gateway)
			} else {
				f.GatewayUp(link, k.Gateway)
			}
		}
		return nil
	}
}

// key is the route's key as the kernel has it.
func (p *player) key(k RouteKey) RouteKey {
	if k.Prefix.Addr().Is6() {
		k.Metric = cmp.Or(k.Metric, metricIPv6)
	}
	return k
}
