package bfd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// wire is two or more driven servers on one goroutine, and the packets between them.
type wire struct {
	now     time.Duration
	wall    time.Time // at 0
	rnd     *rand.Rand
	nodes   []*wireNode
	lost    float64
	dup     float64
	delay   time.Duration // the most
	swap    bool          // packets overtake each other
	order   int
	queue   []wirePacket
	trace   strings.Builder
	quiet   bool // no packets are in the trace
	untimed bool // no times are in the trace
}

type wirePacket struct {
	to    *wireNode
	order int
	d     Datagram
}

// driven is what a wireNode runs: a DrivenServer, or a DrivenProcess.
type driven interface {
	Receive(*Datagram) bool
	Advance(time.Duration)
	Deadline() time.Duration
	Watch() *Watcher
	Sessions() ([]Status, error)
}

type wireNode struct {
	*wire
	name     string
	addr     netip.Addr
	far      *wireNode
	links    map[string]int
	d        driven
	netns    int  // that other paths lead to; 0: none
	stopped  bool // SIGSTOP
	watcher  *Watcher
	hops     mapHops
	cut      bool
	last     time.Duration // when its last packet arrives
	refuse   error
	failover time.Duration
}

func newWire(seed uint64) *wire {
	return &wire{rnd: rand.New(rand.NewPCG(seed, 3)), wall: time.Unix(1e9, 0), now: time.Hour}
}

func (w *wire) node(name, addr string) *wireNode {
	n := &wireNode{wire: w, name: name, addr: netip.MustParseAddr(addr), links: map[string]int{"e0": 7}}
	w.nodes = append(w.nodes, n)
	return n
}

func (n *wireNode) NetNS(path string) (int, error) {
	switch {
	case path == "":
		return 0, nil
	case n.netns == 0:
		return 0, errors.New("no such namespace")
	}
	return n.netns, nil
}

func (n *wireNode) Interface(_ int, name string) (int, error) {
	if n.links[name] == 0 {
		return 0, fmt.Errorf("interface %s: no such device", name)
	}
	return n.links[name], nil
}

func (n *wireNode) Source(int, Key) (netip.Addr, error) { return n.addr, nil }

// config is the configuration of a server of the node.
func (n *wireNode) config() DrivenConfig {
	return DrivenConfig{
		Now:           func() (time.Duration, time.Time) { return n.now, n.wall.Add(n.now) },
		Seed:          n.rnd.Uint32(),
		Host:          n,
		Send:          n.send,
		NextHops:      func(int) bfdcore.Kernel { return n.hops },
		FailoverDelay: func() time.Duration { return n.failover },
		Notice:        func(err error) { n.say("%s notices: %v", n.name, err) },
	}
}

func (w *wire) say(format string, args ...any) {
	if !w.untimed {
		fmt.Fprintf(&w.trace, "%v ", w.now)
	}
	fmt.Fprintf(&w.trace, format+"\n", args...)
}

func (n *wireNode) send(at time.Duration, k Key, local netip.Addr, payload []byte) error {
	if n.refuse != nil {
		return n.refuse
	}
	if at != n.now || local != n.addr || k.Peer != n.far.addr {
		return fmt.Errorf("sent at %v from %v to %v", at, local, k.Peer)
	}
	if !n.quiet {
		n.say("%s sends %x", n.name, payload)
	}
	for range 1 + btoi(n.rnd.Float64() < n.dup) {
		if n.rnd.Float64() < n.lost || n.cut {
			continue
		}
		d := n.delay/2 + time.Duration(n.rnd.Int64N(int64(n.delay/2+1)))
		n.order++
		at := n.now + d
		if !n.swap {
			at = max(at, n.last)
			n.last = at
		}
		n.queue = append(n.queue, wirePacket{n.far, n.order, Datagram{At: at, IfIndex: 7, Local: k.Peer, Peer: local, TTL: 255, Multihop: k.Multihop, Payload: slices.Clone(payload)}})
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// run plays until a time.
func (w *wire) run(d time.Duration) {
	until := w.now + d
	for {
		next := until
		for _, p := range w.queue {
			if !p.to.stopped && p.d.At > w.now { // else it waits for a successor
				next = min(next, p.d.At)
			}
		}
		for _, n := range w.nodes {
			if !n.stopped && n.d != nil {
				next = min(next, n.d.Deadline())
			}
		}
		w.now = max(w.now, next)
		for _, n := range w.nodes {
			n.turn()
		}
		if w.now >= until {
			return
		}
	}
}

// turn delivers what has arrived and lets time pass.
func (n *wireNode) turn() {
	if n.stopped || n.d == nil {
		return
	}
	var mine, rest []wirePacket
	for _, p := range n.queue {
		if p.to == n && p.d.At <= n.now {
			mine = append(mine, p)
		} else {
			rest = append(rest, p)
		}
	}
	n.queue = rest
	slices.SortFunc(mine, func(a, b wirePacket) int {
		if a.d.At != b.d.At {
			return int(a.d.At - b.d.At)
		}
		return a.order - b.order
	})
	for _, p := range mine {
		if !n.d.Receive(&p.d) {
			n.queue = append(n.queue, p)
		}
	}
	n.d.Advance(n.now)
	for n.watcher != nil {
		buf := make([]Event, 3)
		k, err := n.watcher.Next(done, buf)
		if err != nil {
			break
		}
		for _, e := range buf[:k] {
			if n.untimed {
				n.say("%s: %s", n.name, brief(e))
			} else {
				n.say("%s: %s at %v", n.name, brief(e), e.Time.Sub(n.wall))
			}
		}
	}
}

// done is a context that has ended.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// pair is two nodes with a DrivenServer and a session each.
func (w *wire) pair(t testing.TB, c func() SessionConfig) (a, b *wireNode) {
	a, b = w.node("a", "192.0.2.1"), w.node("b", "192.0.2.2")
	a.far, b.far = b, a
	for _, n := range w.nodes {
		s, err := NewDrivenServer(n.config())
		if err != nil {
			t.Fatal(err)
		}
		n.d, n.watcher = s, s.Watch()
		cfg := c()
		cfg.Key = Key{Peer: n.far.addr, Local: n.addr, Interface: "e0"}
		if err := s.Add(cfg); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func hundred() SessionConfig {
	return SessionConfig{DesiredMinTx: ms(100), RequiredMinRx: ms(100), Multiplier: 3}
}

func (n *wireNode) session(t testing.TB) Status {
	list, err := n.d.Sessions()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0]
}

// TestDrivenPair: two servers come up, one is stopped for too long, and comes back.
func TestDrivenPair(t *testing.T) {
	w := newWire(1)
	w.quiet, w.delay = true, ms(2)
	a, b := w.pair(t, hundred)
	w.run(5 * time.Second)
	if s := a.session(t); s.State != StateUp || s.RemoteC {
		t.Fatal(s, w.trace.String())
	}
	a.stopped = true
	w.run(10 * time.Second)
	if s := b.session(t); s.State != StateDown || s.Reason != ReasonExpired {
		t.Fatal(s, w.trace.String())
	}
	a.stopped = false
	w.run(5 * time.Second)
	if s := b.session(t); s.State != StateUp || s.Downs != 1 {
		t.Fatal(s, w.trace.String())
	}
	// One that was stopped for longer than its detection time, while the other one went on
	// sending, counts what waits.
	patient := hundred()
	patient.Key, patient.Multiplier = Key{Peer: b.addr, Local: a.addr, Interface: "e0"}, 10
	if err := a.d.(*DrivenServer).Add(patient); err != nil {
		t.Fatal(err)
	}
	w.run(time.Second)
	a.stopped = true
	w.run(ms(700))
	a.stopped = false
	w.run(ms(1))
	if s := a.session(t); s.State != StateUp || s.Downs != 1 {
		t.Fatal(s, w.trace.String())
	}
}

// TestDrivenSeeds: the same seed makes the same trace, octet for octet.
func TestDrivenSeeds(t *testing.T) {
	play := func(seed uint64) string {
		w := newWire(seed)
		w.delay, w.lost, w.dup, w.swap = ms(30), 0.3, 0.1, true
		a, b := w.pair(t, hundred)
		w.run(20 * time.Second)
		a.links = nil
		w.run(2 * time.Second)
		b.refuse = errors.New("no such device")
		w.run(2 * time.Second)
		return w.trace.String()
	}
	if a, b := play(1), play(1); a != b || len(a) < 1000 {
		t.Errorf("%s\nand then\n%s", a, b)
	} else if a == play(2) {
		t.Error("two seeds, one trace")
	}
}

// TestDrivenTime: time never goes back inside a session, whatever order the caller's times have.
func TestDrivenTime(t *testing.T) {
	w, s, d := quietPair(t)
	status := func() Status {
		list, err := s.Sessions()
		if err != nil {
			t.Fatal(err)
		}
		return list[0]
	}
	begin := w.now
	for _, at := range []time.Duration{begin, begin - ms(100), begin + ms(50), begin - time.Hour} {
		d.At = at
		if !s.Receive(&d) {
			t.Fatal("not taken")
		}
	}
	s.Advance(begin - time.Hour) // counts as the present
	if at := s.Deadline(); at < begin {
		t.Errorf("the next deadline is %v ago", begin-at)
	}
	limit := begin + ms(50) + status().DetectTime
	s.Advance(limit - 1)
	if got := status(); got.State != StateUp {
		t.Error(got)
	}
	s.Advance(limit)
	if got := status(); got.State != StateDown || got.Since != w.wall.Add(limit) {
		t.Error(got)
	}
	s.Advance(limit - ms(10))
	d.At = limit - ms(10) // it waits, and comes too late
	s.Receive(&d)
	if got := status(); got.State != StateDown && got.State != StateInit || got.Downs != 1 {
		t.Error(got)
	}
}

// TestDrivenMany: more sessions than a server has room for at first, all of which come up, are
// told of, and end.
func TestDrivenMany(t *testing.T) {
	const many = 300
	w := newWire(1)
	w.quiet, w.delay = true, ms(1)
	a, b := w.node("a", "192.0.2.1"), w.node("b", "192.0.2.2")
	a.far, b.far = b, a
	for _, n := range w.nodes {
		cfg := n.config()
		cfg.Send = func(at time.Duration, k Key, local netip.Addr, payload []byte) error {
			n.order++
			n.queue = append(n.queue, wirePacket{n.far, n.order, Datagram{At: at + ms(1), IfIndex: 7, Local: k.Peer, Peer: local, TTL: 255, Payload: slices.Clone(payload)}})
			return nil
		}
		s, err := NewDrivenServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.d = s
		addr := func(n *wireNode, i int) netip.Addr {
			return netip.AddrFrom4([4]byte{10, n.addr.As4()[3], byte(i >> 8), byte(i)})
		}
		for i := range many {
			c := hundred()
			c.Key = Key{Peer: addr(n.far, i), Local: addr(n, i)}
			if err := s.Add(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	watcher := a.d.Watch()
	w.run(3 * time.Second)
	up := map[Key]bool{}
	buf := make([]Event, 7)
	for n, err := watcher.Next(done, buf); err == nil; n, err = watcher.Next(done, buf) {
		for _, e := range buf[:n] {
			up[e.Key] = e.State == StateUp
		}
	}
	if len(up) != many || slices.Contains(slices.Collect(maps.Values(up)), false) {
		t.Errorf("%d of %d are up", len(up), many)
	}
	for k := range up {
		if err := a.d.(*DrivenServer).Remove(k); err != nil {
			t.Fatal(err)
		}
	}
	w.run(3 * time.Second)
	if s := a.d.(*DrivenServer).server; len(s.entries) != 0 || len(s.core.timers) != 0 || len(s.attacher.spaces) != 0 {
		t.Errorf("%d sessions, %d timers and %d namespaces are left", len(s.entries), len(s.core.timers), len(s.attacher.spaces))
	}
}

// TestDrivenNamespace: a session whose path leads to another namespace moves there when it is
// down, under another discriminator.
func TestDrivenNamespace(t *testing.T) {
	w := newWire(1)
	w.quiet, w.delay = true, ms(1)
	a, b := w.pair(t, hundred)
	s := a.d.(*DrivenServer)
	c := hundred()
	c.Key = Key{Peer: b.addr, Interface: "e0", NetNS: "/red"}
	if err := s.Add(c); err != nil {
		t.Fatal(err)
	}
	status := func() Status {
		list, err := s.Sessions()
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		return list[1]
	}
	if got := status(); got.Err != "no such namespace" || got.Reason != ReasonUnavailable {
		t.Error(got)
	}
	a.netns = 3
	w.run(3 * time.Second)
	before := status()
	if before.Err != "" {
		t.Error(before)
	}
	p := Packet{State: StateDown, Multiplier: 3, MyDiscr: 99, DesiredMinTx: time.Second, RequiredMinRx: time.Second}
	d := Datagram{At: w.now, NetNS: 5, IfIndex: 7, Local: a.addr, Peer: b.addr, TTL: 255, Payload: p.append(nil)}
	if s.Receive(&d); status().State != StateDown {
		t.Error("it takes packets of another namespace")
	}
	d.NetNS = 3
	if s.Receive(&d); status().State != StateInit {
		t.Error("it does not take packets of its namespace")
	}
	a.netns = 4
	w.run(5 * time.Second)
	if after := status(); after.Discr == before.Discr || after.Err != "" {
		t.Error(before, after)
	}
}
