package bfd

import (
	"context"
	"encoding/binary"
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
	if path != "" {
		return 0, errors.New("no such namespace")
	}
	return 0, nil
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

// mapHops are next-hop objects in memory.
type mapHops map[uint32]bfdcore.NextHop

func (h mapHops) NextHop(id uint32) (bfdcore.NextHop, error) {
	if n, ok := h[id]; ok {
		return n, nil
	}
	return bfdcore.NextHop{}, bfdcore.ErrNoNextHop
}

func (h mapHops) Groups() (list []bfdcore.NextHop, err error) {
	for _, id := range slices.Sorted(maps.Keys(h)) {
		if h[id].Group != nil {
			list = append(list, h[id])
		}
	}
	return list, nil
}

func (h mapHops) Delete(id uint32) error {
	delete(h, id)
	for k, g := range h {
		g.Group = slices.DeleteFunc(slices.Clone(g.Group), func(m bfdcore.Member) bool { return m.ID == id })
		h[k] = g
	}
	return nil
}

func (h mapHops) Replace(g bfdcore.NextHop) error { h[g.ID] = g; return nil }

// process makes the node a separate process, with a client that has one session.
func (n *wireNode) process(t testing.TB, client string, c SessionConfig) (*DrivenProcess, *DrivenConn) {
	p, err := NewDrivenProcess(n.config(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	n.d, n.watcher = p, p.Watch()
	return p, n.client(t, p, client, c)
}

func (n *wireNode) client(t testing.TB, p *DrivenProcess, name string, c SessionConfig) *DrivenConn {
	conn, err := p.Connect(name)
	if err != nil {
		t.Fatal(err)
	}
	c.Key = Key{Peer: n.far.addr, Local: n.addr, Interface: "e0"}
	if err := conn.Add(c); err != nil {
		t.Fatal(err)
	}
	if err := conn.Synced(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestDrivenProcess: the sessions of a process outlive its client and its process, next hops go
// when a session dies and nobody else is there, and what nobody comes back for ends.
func TestDrivenProcess(t *testing.T) {
	w := newWire(1)
	w.quiet, w.delay = true, ms(2)
	a, b := w.pair(t, hundred)
	c := hundred()
	a.hops = mapHops{
		1: {ID: 1, Link: 7, Gateway: b.addr}, 2: {ID: 2, Link: 8, Gateway: b.addr},
		9: {ID: 9, Group: []bfdcore.Member{{ID: 1}, {ID: 2}}},
	}
	c.Failover = []NextHop{{ID: 1, IfIndex: 7, Gateway: b.addr}}
	p, conn := a.process(t, "router", c)
	w.run(5 * time.Second)
	if s := b.session(t); s.State != StateUp || !s.RemoteC {
		t.Fatal(s, w.trace.String())
	}
	if _, err := p.Connect("router"); err == nil {
		t.Error("two clients of one name")
	}
	conn.Close()
	if err := conn.Synced(); err != ErrClosed {
		t.Error(err)
	}
	w.run(30 * time.Second)
	conn = a.client(t, p, "router", c)

	// A successor that dies, and one that does not.
	if _, err := p.Export(); err != nil {
		t.Fatal(err)
	}
	w.run(ms(100))
	p.Resume()
	w.run(time.Second)
	state, err := p.Export()
	if err != nil {
		t.Fatal(err)
	}
	next, err := ImportDrivenProcess(a.config(), time.Minute, state)
	if err != nil {
		t.Fatal(err)
	}
	w.run(ms(100))
	p.Leave()
	if _, err := conn.Sessions(); err != ErrClosed {
		t.Error(err)
	}
	next.Resume()
	a.d, a.watcher = next, next.Watch()
	w.run(time.Second)
	for _, n := range w.nodes {
		if s := n.session(t); s.State != StateUp || s.Downs != 0 && n == b {
			t.Fatal(s, w.trace.String())
		}
	}

	b.cut = true
	w.run(ms(310))
	if _, there := a.hops[1]; there || len(a.hops[9].Group) != 1 {
		t.Fatal(a.hops, w.trace.String())
	}
	w.run(2 * time.Minute)
	if !next.Ended() {
		t.Error("goes on without clients")
	}
	if s := b.session(t); s.State != StateDown || s.Reason != ReasonRemoteAdminDown {
		t.Error(s, w.trace.String())
	}
}

// quietPair is a pair that is Up, whose packets go nowhere any more.
func quietPair(b testing.TB) (w *wire, s *DrivenServer, d Datagram) {
	w = newWire(1)
	w.quiet, w.delay = true, ms(1)
	n, _ := w.pair(b, hundred)
	w.run(5 * time.Second)
	s = n.d.(*DrivenServer)
	for len(w.queue) == 0 || w.queue[len(w.queue)-1].to != n {
		w.run(ms(10))
	}
	w.run(ms(50))
	d = Datagram{IfIndex: 7, Local: n.addr, Peer: n.far.addr, TTL: 255}
	status := n.session(b)
	p := Packet{State: StateUp, Multiplier: 3, MyDiscr: status.RemoteDiscr, YourDiscr: status.Discr, DesiredMinTx: ms(100), RequiredMinRx: ms(100)}
	d.Payload = p.append(nil)
	s.cfg.Send = func(time.Duration, Key, netip.Addr, []byte) error { return nil }
	return w, s, d
}

func BenchmarkDrivenReceive(b *testing.B) {
	w, s, d := quietPair(b)
	b.ReportAllocs()
	for b.Loop() {
		w.now++
		d.At = w.now
		s.Receive(&d)
	}
}

// BenchmarkDrivenSend is what a periodic packet costs: Deadline, Advance and the packet.
func BenchmarkDrivenSend(b *testing.B) {
	w, s, d := quietPair(b)
	b.ReportAllocs()
	sent := 0
	s.cfg.Send = func(time.Duration, Key, netip.Addr, []byte) error { sent++; return nil }
	e := s.core.demux.ByDiscr(binary.BigEndian.Uint32(d.Payload[8:]))
	n := 0
	for b.Loop() {
		w.now = s.Deadline()
		e.lastRx = w.now // the remote system is there
		s.Advance(w.now)
		n++
	}
	b.ReportMetric(float64(sent)/float64(n), "sends/op")
}

func BenchmarkDrivenServer(b *testing.B) {
	w := newWire(1)
	n := w.node("a", "192.0.2.1")
	n.far = n
	b.ReportAllocs()
	for b.Loop() {
		s, err := NewDrivenServer(n.config())
		if err != nil {
			b.Fatal(err)
		}
		for i := range 4 {
			if err := s.Add(SessionConfig{Key: Key{Peer: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), Local: n.addr, Interface: "e0"}}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestDrivenAllocations: a quiet session allocates nothing.
func TestDrivenAllocations(t *testing.T) {
	w, s, d := quietPair(t)
	next := s.Deadline()
	if n := testing.AllocsPerRun(1000, func() {
		w.now = next
		d.At = w.now
		s.Receive(&d)
		s.Advance(w.now)
		next = s.Deadline()
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if list, _ := s.Sessions(); list[0].State != StateUp || list[0].Sent < 1000 {
		t.Error(list)
	}
}
