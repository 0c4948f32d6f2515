package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The inputs of testdata/core/*.txt, each followed by what a Core does until it has nothing to do.
// NS is "" or @NAME of a network namespace; EDIT is OLD=>NEW in the file's text, with _ for a space
// and \n for a new line. The outputs stand in the order in which they came: nothing is sorted.
//
//	config FILE [EDIT ...]             a Core begins with a sample, on kernels that know nothing
//	restart                            it ends as by a signal, and another begins on its kernels
//	read [NS]                          a kernel says that that was all, to begin with
//	link INDEX NAME [dark] [NS], unlink INDEX NAME [NS]
//	address INDEX PREFIX [NS]
//	learn PREFIX TABLE METRIC LINK [NS], unlearn ...   a foreign route
//	synced TABLE [NS]                  those were all, to begin with
//	seen LINK ADDRESS MAC              a guest sends from an address
//	put YAML, del NAME, move NAME [pref N] [down|up]
//	reload [force] FILE [EDIT ...]
//	bfd up|down LOCAL PEER INTERFACE   what BFD says
//	reflector ADDRESS [PREFIX ...]     a route reflector begins, which announces prefixes
//	crash ADDRESS                      it ends without a word
//	drain [all], undrain
//	state                              what the Core knows
type coreMachine struct {
	*trace
	now     time.Time
	core    *Core
	cfg     *config.Config
	kernels map[config.NetNS]*polledKernel
	stored  []config.Entry
	drain   DrainState
	wires   *wires
	clock   *jumpingClock // what the Core has in place of now; nil: now
}

func TestCoreScenarios(t *testing.T) {
	scenario.Files(t, "testdata/core/*.txt", func(_ *testing.T, text string) (string, error) {
		first, err := scenario.Play(text, &coreMachine{})
		for range 4 { // octet for octet the same, however often
			if again, _ := scenario.Play(text, &coreMachine{}); again != first {
				return "", fmt.Errorf("not the same the second time:\n%s\n--- first:\n%s", again, first)
			}
		}
		return first, err
	})
}

// time is the clock of the Core.
func (m *coreMachine) time() time.Time { return m.clock.at(m.now) }

func (m *coreMachine) Deadline() time.Time {
	if m.core == nil {
		return time.Time{}
	}
	at := m.clock.back(m.core.Deadline())
	if next := m.clock.back(m.wires.deadline()); at.IsZero() || !next.IsZero() && next.Before(at) {
		return next
	}
	return at
}

func (m *coreMachine) Advance(now time.Time) []string {
	m.now = now
	return m.outputs()
}

// outputs steps the Core until it has nothing to do.
func (m *coreMachine) outputs() []string {
	for n := 0; m.core.Step() || m.wires.run(); n++ {
		if n == 1000 {
			m.add("it goes on and on")
			break
		}
	}
	m.lines = append(m.lines, m.wires.news(m.core.done)...)
	lines := m.lines
	m.lines = nil
	for _, n := range slices.Sorted(maps.Keys(m.kernels)) {
		k := m.kernels[n]
		if len(k.sysctls) > 0 {
			sum := sha256.Sum256(fmt.Append(nil, k.sysctls))
			lines = append(lines, fmt.Sprintf("%d sysctls %x %s", len(k.sysctls), sum[:4], n))
		}
		k.sysctls = nil
	}
	return lines
}

func (m *coreMachine) Do(now time.Time, words []string) ([]string, error) {
	m.now = now
	if len(words) == 0 {
		return nil, nil
	}
	if m.core == nil && words[0] != "config" {
		return nil, errors.New("want config first")
	}
	if err := m.do(words); err != nil {
		return nil, err
	}
	return m.outputs(), nil
}

func (m *coreMachine) do(words []string) (err error) {
	switch words[0] {
	case "config":
		m.trace, m.kernels = newTrace(), map[config.NetNS]*polledKernel{}
		m.wires = &wires{now: m.time}
		if m.cfg, err = configtest.Sample(words[1], words[2:]...); err != nil {
			return err
		}
		for _, p := range m.cfg.Namespaces() {
			m.kernels[p.NetNS] = &polledKernel{fakeKernel: fakeKernel{trace: m.trace, netns: string(p.NetNS)}, links: map[int]fib.Link{}}
		}
		return m.start()
	case "restart":
		m.drain = m.core.DrainState()
		m.drain.Since = m.drain.Since.Round(0) // a file has no monotonic clock
		m.core.Shutdown()
		return m.start()
	case "put":
		guests, err := config.ParseGuests("request", []byte(strings.Join(words[1:], " ")))
		if err != nil {
			return err
		}
		m.says(m.core.Put(guests))
	case "del":
		m.says(m.core.Remove(words[1]))
	case "move":
		m.says(m.core.Move(words[1], moveOf(words)))
	case "reload":
		force := words[1] == "force"
		if force {
			words = words[1:]
		}
		c, err := configtest.Sample(words[1], words[2:]...)
		if err != nil {
			return err
		}
		changes, err := m.core.Reload(c, force)
		for _, c := range changes {
			m.add("change %v", c)
		}
		if m.says(err); err == nil {
			m.cfg = c
		}
	case "reflector":
		return m.wires.reflect(m.cfg, netip.MustParseAddr(words[1]), words[2:]...)
	case "crash":
		m.wires.crash(netip.MustParseAddr(words[1]))
	case "drain":
		m.says(m.core.Drain(len(words) > 1))
	case "undrain":
		m.says(m.core.Undrain())
	case "bfd":
		e := bfd.Event{Key: bfd.Key{Local: netip.MustParseAddr(words[2]), Peer: netip.MustParseAddr(words[3]), Interface: words[4]}, State: bfd.StateUp}
		if words[1] == "down" {
			e.State, e.Reason = bfd.StateDown, bfd.ReasonExpired
		}
		m.core.BFD(e)
	case "seen":
		m.core.config.Edge.(*eg.Answers).See(eg.Sighting{IfIndex: number(words[1]), IP: netip.MustParseAddr(words[2]), MAC: [6]byte{2, 0, 0, 0, 0, byte(number(words[3]))}})
	case "state":
		m.state()
	default:
		return m.kernelSays(words)
	}
	return nil
}

// start begins a Core on the kernels that there are.
func (m *coreMachine) start() error {
	c := CoreConfig{Log: slog.New(infos{events{m.trace}}), Now: m.time, Config: m.cfg, BFD: tracedBFD{trace: m.trace}, Edge: &eg.Answers{}, Drain: m.drain,
		Stored: m.stored, Store: func(list []config.Guest) error {
			m.stored = nil
			for _, g := range list {
				m.stored = append(m.stored, config.Entry{Guest: g})
			}
			return nil
		}}
	for _, p := range m.cfg.Namespaces() {
		k := m.kernels[p.NetNS]
		k.begin()
		c.Kernels = append(c.Kernels, k)
		c.Firewalls = append(c.Firewalls, &fakeFirewall{})
	}
	var core *Core // set before the first Step, which makes the speakers
	c.BGP = func(b *bgp.Config) {
		no := len(core.Speakers())
		b.Random = func() float64 { return 0.5 }
		b.Transport = &port{w: m.wires, given: map[*bgp.Attempt]bool{}, s: func() *bgp.Speaker {
			if ended, _ := core.Ended(); ended || no >= len(core.Speakers()) { // or its domain is gone
				return nil
			}
			return core.Speakers()[no]
		}}
	}
	var err error
	core, err = NewCore(c)
	m.core = core
	return err
}

func (m *coreMachine) says(err error) {
	if err != nil {
		m.add("error: %s", strings.ReplaceAll(err.Error(), "\n", ";"))
	}
}

func (m *coreMachine) state() {
	ready, why := m.core.Ready()
	ended, err := m.core.Ended()
	m.add("running %v, ready %v (%s), converged %v, ended %v (%v)", m.core.Running(), ready, why, m.core.Converged(), ended, err)
	for _, d := range m.cfg.Domains {
		for _, r := range m.core.Routes(d.Name) {
			m.add("%s %v local %v learned %d bgp %d announced %v%s", d.Name, r.Prefix, r.Local != nil, len(r.Learned), len(r.BGP), r.Announced, map[bool]string{true: ", graceful shutdown"}[r.GracefulShutdown])
		}
	}
	answers := m.core.config.Edge.(*eg.Answers)
	for _, p := range answers.Ports() {
		m.add("guest %s on %d", p.Name, p.Link.IfIndex)
	}
	for _, p := range slices.SortedFunc(maps.Keys(answers.Targets()), netip.Prefix.Compare) {
		m.add("answered for %v, behind %d", p, answers.Targets()[p])
	}
}

func (m *coreMachine) kernelSays(words []string) error {
	k := m.kernels[""]
	if n, ok := strings.CutPrefix(words[len(words)-1], "@"); ok {
		k, words = m.kernels[config.NetNS(n)], words[:len(words)-1]
	}
	switch words[0] {
	case "read":
		k.events = append(k.events, fib.Event{Kind: fib.EventSynced})
	case "link", "unlink":
		l := fib.Link{IfIndex: number(words[1]), Interface: words[2], AdminUp: true, Carrier: words[len(words)-1] != "dark"}
		e := fib.Event{Kind: fib.EventLink, Link: l}
		if k.links[l.IfIndex] = l; words[0] == "unlink" {
			e.Kind = fib.EventLinkGone
			delete(k.links, l.IfIndex)
			for _, c := range slices.Clone(k.foreign) { // they go with it
				if c.NextHops[0].IfIndex == l.IfIndex {
					c.Gone = true
					k.learn(c)
				}
			}
		}
		k.events = append(k.events, e)
	case "address":
		k.address(number(words[1]), netip.MustParsePrefix(words[2]))
	case "learn", "unlearn":
		c := fib.LearnChange{Gone: words[0] == "unlearn"}
		c.RouteKey = fib.RouteKey{Prefix: netip.MustParsePrefix(words[1]), Table: uint32(number(words[2])), Metric: uint32(number(words[3]))}
		c.NextHops = []fib.NextHop{{IfIndex: number(words[4])}}
		k.learn(c)
	case "synced":
		c := fib.LearnChange{Synced: true}
		c.Table = uint32(number(words[1]))
		k.learn(c)
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
	return nil
}

// polledKernel is a kernel in memory that does what it is asked at once, and is read by a Core.
type polledKernel struct {
	fakeKernel
	links     map[int]fib.Link
	routes    map[fib.RouteKey]fib.RouteStatus
	events    []fib.Event
	changes   []fib.RouteChange
	learned   map[uint32]*[]fib.LearnChange // by table
	addresses []host.Address
	foreign   []fib.LearnChange // routes that others have
	sysctls   []fib.Sysctl      // as they were asked for: too many to be read
}

// learn has a foreign route be learned by whoever reads its table.
func (k *polledKernel) learn(c fib.LearnChange) {
	k.foreign = slices.DeleteFunc(k.foreign, func(f fib.LearnChange) bool { return f.RouteKey == c.RouteKey })
	if !c.Gone && !c.Synced {
		k.foreign = append(k.foreign, c)
	}
	if list := k.learned[c.Table]; list != nil {
		*list = append(*list, c)
	}
}

func (k *polledKernel) SetAddress(a fib.Address) error {
	_ = k.fakeKernel.SetAddress(a)
	k.address(a.IfIndex, a.Prefix)
	return nil
}

func (k *polledKernel) address(ifindex int, p netip.Prefix) {
	if a := (host.Address{Link: ifindex, Prefix: p, Global: true, Permanent: true}); !slices.Contains(k.addresses, a) {
		k.addresses = append(k.addresses, a)
	}
	k.events = append(k.events, fib.Event{Kind: fib.EventAddress, Link: k.links[ifindex], Addr: p, Permanent: true})
}

// begin makes everything that is there an earlier run's.
func (k *polledKernel) begin() {
	old := k.routes
	k.routes, k.events, k.changes, k.learned = map[fib.RouteKey]fib.RouteStatus{}, nil, nil, map[uint32]*[]fib.LearnChange{}
	for key, s := range old {
		s.State = fib.StateStale
		k.routes[key] = s
	}
	for _, i := range slices.Sorted(maps.Keys(k.links)) {
		k.events = append(k.events, fib.Event{Kind: fib.EventLink, Link: k.links[i]})
	}
	if old != nil {
		k.events = append(k.events, fib.Event{Kind: fib.EventSynced})
	}
}

func (k *polledKernel) SetRoute(r fib.Route) error {
	_ = k.fakeKernel.SetRoute(r)
	k.routes[r.RouteKey] = fib.RouteStatus{Route: r, State: fib.StateInstalled, Present: true}
	k.changes = append(k.changes, fib.RouteChange{RouteStatus: k.routes[r.RouteKey]})
	return nil
}

func (k *polledKernel) DeleteRoute(key fib.RouteKey) error {
	_ = k.fakeKernel.DeleteRoute(key)
	if _, ok := k.routes[key]; ok {
		delete(k.routes, key)
		c := fib.RouteChange{Gone: true}
		c.RouteKey = key
		k.changes = append(k.changes, c)
	}
	return nil
}

func (k *polledKernel) Sweep() {
	k.fakeKernel.Sweep()
	maps.DeleteFunc(k.routes, func(_ fib.RouteKey, s fib.RouteStatus) bool { return s.State == fib.StateStale })
}

func (k *polledKernel) Routes() iter.Seq[fib.RouteStatus]   { return maps.Values(k.routes) }
func (k *polledKernel) NextHops() []fib.NextHopObject       { return nil }
func (k *polledKernel) Gateways() []fib.Gateway             { return nil }
func (k *polledKernel) Stats() fib.Stats                    { return fib.Stats{} }
func (k *polledKernel) Addresses() ([]host.Address, error)  { return k.addresses, nil }
func (k *polledKernel) Watch(fib.WatchOptions) netns.Events { return polled[fib.Event]{&k.events} }
func (k *polledKernel) WatchRoutes(fib.RouteFilter) netns.RouteChanges {
	return polled[fib.RouteChange]{&k.changes}
}
func (k *polledKernel) Learn(f fib.Filter) netns.LearnChanges {
	list := &[]fib.LearnChange{}
	for _, c := range k.foreign {
		if c.Table == f.Tables[0] {
			*list = append(*list, c)
		}
	}
	k.learned[f.Tables[0]] = list
	return polled[fib.LearnChange]{list}
}
func (k *polledKernel) SetSysctl(s fib.Sysctl) error {
	k.sysctls = append(k.sysctls, s)
	return nil
}
func (k *polledKernel) DeleteSysctl(path string) error { return k.SetSysctl(fib.Sysctl{Path: path}) }

func (k *polledKernel) Links() (list []fib.Link) {
	for _, i := range slices.Sorted(maps.Keys(k.links)) {
		list = append(list, k.links[i])
	}
	return list
}

// polled reads a list.
type polled[T any] struct{ list *[]T }

func (p polled[T]) Close() {}

func (p polled[T]) Next(ctx context.Context, buf []T) (int, error) {
	n := copy(buf, *p.list)
	if *p.list = (*p.list)[n:]; n == 0 {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return n, nil
}

// infos leaves out what is of interest to a programmer only.
type infos struct{ events }

func (infos) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// tracedBFD notes which sessions are wanted.
type tracedBFD struct {
	bfd.Service // what is not used
	*trace
}

func (s tracedBFD) Add(c bfd.SessionConfig) error {
	s.add("bfd add %v every %v", c.Key, c.DesiredMinTx)
	return nil
}
func (s tracedBFD) Remove(k bfd.Key) error          { s.add("bfd remove %v", k); return nil }
func (s tracedBFD) Sessions() ([]bfd.Status, error) { return nil, nil }
func (s tracedBFD) Synced() error                   { s.add("bfd synced"); return nil }
