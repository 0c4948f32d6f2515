package fib

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
	"golang.org/x/sys/unix"
)

// TestSearchKernel is TestSearch with the kernel itself: a user changes what is desired,
// others change the kernel, interfaces go and come back. When all is quiet the kernel is
// as desired, nothing is written any more, and nothing of others was deleted.
func TestSearchKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	scenario.Search{Seeds: 10, Inputs: func(r *rand.Rand) []string {
		g := &gen{Rand: r}
		g.say("config %s", pick(g, "wait", "wait", "refuse", "take"))
		for range g.IntN(6) {
			g.say("foreign %s", g.foreign())
		}
		for range 10 + g.IntN(60) {
			g.kernelInput()
		}
		return g.lines
	}, Play: playOnKernel}.Run(t)
}

// kernelInput is one of those that need no fake kernel.
func (g *gen) kernelInput() {
	if g.IntN(20) == 0 {
		g.say("%s", pick(g, fmt.Sprintf("pause %d", g.IntN(40)), "lossy", "lossless"))
		return
	}
	for before := len(g.lines); ; g.lines = g.lines[:before] {
		g.input()
		switch verb, _, _ := strings.Cut(g.lines[before], " "); verb {
		case "during", "notifications", "lose-replies", "interrupt", "errno", "dump-error", "refuse", "accept":
		default:
			return
		}
	}
}

// kernelPlayer is a player whose FIB works on a namespace. The fake kernel is only a
// picture of what the kernel has, made to be checked.
type kernelPlayer struct {
	commands func() *rtnl.Socket // of the FIB
	*player
	k       *real
	foreign []string    // deletions of what is another program's, by the FIB
	losing  atomic.Bool // its sockets lose every third datagram

	looks   looks
	deed    uint64 // looks.begun when the last deed of another program was done
	holders map[uint32]holder
	// sending, if it is not nil, is called with what the FIB is about to write.
	sending func(b []byte)
}

// looks count the looks of a FIB for notifications.
type looks struct {
	sync.Mutex
	begun, ended uint64            // the last one that has begun, and that found no more
	deletes      map[uint32]uint64 // of next-hop objects, by id: ended when the last one was sent
}

// holder is whose a next-hop object is.
type holder struct {
	proto  uint8
	hop    NextHop
	stolen bool   // in the place of ours, with the same next hop: it dies with its gateway
	made   uint64 // by another program: the FIB knows of it after a look that begins later
}

// lookingSocket counts the looks at a FIB's monitor, and notes the deletions that it sends.
type lookingSocket struct {
	kernel.Socket
	p       *kernelPlayer
	monitor bool
}

func (s *lookingSocket) Receive(b []byte) (int, error) {
	l := &s.p.looks
	if !s.monitor {
		return s.Socket.Receive(b)
	}
	l.Lock()
	l.begun++
	begun := l.begun
	l.Unlock()
	n, err := s.Socket.Receive(b)
	if errors.Is(err, unix.EAGAIN) {
		l.Lock()
		l.ended = begun
		l.Unlock()
	}
	return n, err
}

func (s *lookingSocket) Send(b []byte) error {
	if s.p.sending != nil {
		s.p.sending(b)
	}
	s.p.looks.Lock()
	for msg := range rtnl.Messages(b) {
		var h wire.NextHopMessage
		if msg.Type == rtnl.RTM_DELNEXTHOP && h.Parse(msg.Body) == nil {
			s.p.looks.deletes[h.ID] = s.p.looks.ended
		}
	}
	s.p.looks.Unlock()
	return s.Socket.Send(b)
}

func newKernelPlayer(t *testing.T) *kernelPlayer {
	p := &kernelPlayer{player: newPlayer(t), k: newReal(t), looks: looks{deletes: map[uint32]uint64{}}, holders: map[uint32]holder{}}
	p.quiet, p.config.Tables, p.config.NetNS = true, []uint32{90}, p.k.ns.Path
	p.picture()
	return p
}

func playOnKernel(t *testing.T, inputs []string) (err error) {
	p := newKernelPlayer(t)
	defer p.stop()
	for _, line := range inputs {
		if err := p.step(&words{list: strings.Fields(line)}); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	p.losing.Store(false)
	if p.f == nil {
		p.begin()
	}
	p.f.Sweep()
	var before int
	if !nstest.Promptly(5*time.Second, func() bool {
		p.picture()
		err = p.check()
		return err == nil
	}) {
		return fmt.Errorf("%w\nkernel:\n  %s\nnext hops:\n  %s\ndiff: %v", err, strings.Join(p.m.state(), "\n  "), strings.Join(p.m.hopList(), "\n  "), p.f.Diff())
	}
	if !nstest.Promptly(5*time.Second, func() bool { // duplicates of rules and objects that nobody needs go after a time
		n := p.writes()
		calm := n == before && len(p.f.core.Failing(1)) == 0
		before = n
		if !calm {
			time.Sleep(300 * time.Millisecond)
		}
		return calm
	}) && len(p.f.core.Failing(1)) == 0 {
		return fmt.Errorf("still writes: %+v", p.f.Stats())
	}
	p.picture()
	p.watch()
	if len(p.foreign) > 0 {
		return fmt.Errorf("deleted what is not ours: %q", p.foreign)
	}
	nstest.Promptly(5*time.Second, func() bool { // an object that has just become needless goes a little later
		p.picture()
		err = p.check()
		return err == nil
	})
	return err
}

func (p *kernelPlayer) writes() int {
	s := p.f.Stats()
	return int(s.Adds + s.Replaces + s.Deletes + s.ObjectWrites + s.RuleWrites + s.OtherWrites)
}

func (p *kernelPlayer) step(w *words) error {
	switch verb := w.word(); verb {
	case "config":
		p.configure(w)
	case "pause":
		time.Sleep(time.Duration(w.number()) * time.Millisecond)
	case "lossy", "lossless":
		p.losing.Store(verb == "lossy")
	case "foreign":
		p.picture() // for the ids of objects
		p.by(w.list)
	case "link":
		p.link(w.word(), w.word())
	case "sweep", "restore":
		if verb == "restore" {
			p.stop()
		}
		if p.f == nil {
			p.begin()
		}
		if verb == "restore" {
			p.forget()
			p.again()
		}
		p.f.Sweep()
	default:
		if p.f == nil {
			p.begin()
		}
		p.desire(verb, w)
	}
	p.watch()
	return w.err
}

// by does one deed of another program.
func (p *kernelPlayer) by(list []string) {
	p.k.by(&words{list: list})
	p.looks.Lock()
	p.deed = p.looks.begun
	p.looks.Unlock()
}

// link changes an interface, or makes or deletes it.
func (p *kernelPlayer) link(name, verb string) {
	switch there := p.k.links[name] != 0; {
	case there == (verb == "create"):
	case there:
		p.k.link(name, verb)
	default:
		p.next++
		p.k.create(int(p.next), name)
		p.last[name] = int(p.next)
		for _, a := range uplinkAddresses(name) {
			p.k.by(&words{list: []string{"address", "add", a.String(), "dev", name}})
		}
	}
}

// begin lets a FIB run.
func (p *kernelPlayer) begin() {
	f, err := New(p.config)
	if err != nil {
		p.Fatal(err)
	}
	p.f = f
	ctx, commands := lossy(context.Background(), p.config.NetNS, func() error {
		if p.losing.Load() && rand.IntN(3) == 0 {
			return unix.ENOBUFS
		}
		return nil
	}, func(h *kernel.Handles) {
		h.Commands, h.Monitor = &lookingSocket{h.Commands, p, false}, &lookingSocket{h.Monitor, p, true}
	})
	p.commands, p.w = commands, f.Watch(WatchOptions{})
	ctx, cancel := context.WithCancel(ctx)
	p.cancel, p.done = cancel, make(chan error, 1)
	go func(done chan error) { done <- f.Run(ctx) }(p.done)
	for e, err := range p.w.All(ctx) {
		if err != nil {
			p.Fatal(err)
		}
		if e.Kind == EventSynced {
			break
		}
	}
}

// watch reads the notifications of what the FIB did: what it deletes is its own, is under a
// desired key, or is a banned rule. A next-hop object is deleted by its id alone: one that
// another program has put under it after the FIB's last look and before its request goes in
// the place of ours, and nothing can prevent that.
func (p *kernelPlayer) watch() {
	if p.f == nil {
		return
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for {
		n, err := p.k.monitor.Receive(p.k.buf)
		if err != nil {
			return // empty
		}
		for msg := range rtnl.Messages(p.k.buf[:n]) {
			var h wire.NextHopMessage
			if isHop := msg.Type == rtnl.RTM_NEWNEXTHOP || msg.Type == rtnl.RTM_DELNEXTHOP; isHop && h.Parse(msg.Body) == nil {
				p.hop(msg, &h)
			}
			if msg.Port != p.commands().Port() {
				continue
			}
			switch msg.Type {
			case rtnl.RTM_DELROUTE:
				var r wire.RouteMessage
				if r.Parse(msg.Body) == nil && r.Protocol == 4 {
					if _, ok := p.desired.routes[RouteKey(r.RouteKey())]; !ok {
						p.foreign = append(p.foreign, p.m.RouteText(&r))
					}
				}
			case rtnl.RTM_DELRULE:
				var k wire.KernelRule
				if k.Parse(msg.Body) == nil && k.Protocol != DefaultProtocol {
					if _, ok := p.desired.rules[ruleOf(k.Rule)]; !ok {
						p.foreign = append(p.foreign, k.Rule.String())
					}
				}
			}
		}
	}
}

// hop follows whose next-hop objects are.
func (p *kernelPlayer) hop(msg rtnl.Message, h *wire.NextHopMessage) {
	own, was := msg.Port == p.commands().Port(), p.holders[h.ID]
	hop := NextHop{Gateway: h.Gateway, IfIndex: int(h.IfIndex)}
	switch {
	case msg.Type == rtnl.RTM_NEWNEXTHOP && own:
		p.holders[h.ID] = holder{proto: h.Protocol, hop: hop}
	case msg.Type == rtnl.RTM_NEWNEXTHOP:
		p.holders[h.ID] = holder{h.Protocol, hop, hop == was.hop && (was.stolen || was.proto == DefaultProtocol), p.deed}
	default:
		delete(p.holders, h.ID)
		p.looks.Lock()
		defer p.looks.Unlock()
		known, ok := p.looks.deletes[h.ID]
		if !ok { // it went with another
			known = p.looks.ended
		}
		if own && h.Protocol != DefaultProtocol && !was.stolen && known > was.made {
			p.foreign = append(p.foreign, p.m.NextHopText(h))
		}
	}
}

// picture makes the fake kernel one of the kernel.
func (p *kernelPlayer) picture() {
	m := p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Reset()
	p.k.each(func(msg rtnl.Message) {
		var r wire.RouteMessage
		if msg.Type != rtnl.RTM_NEWROUTE || r.Parse(msg.Body) == nil && r.Table == 90 {
			_ = m.Load(msg)
		}
	})
	p.k.ids = m.objects()
}

// TestDeletedUnknown has another program replace a next-hop object in the moment between the
// FIB's last look and its request to delete it, which names an id and nothing else: the kernel
// deletes what is there, and TestSearchKernel does not count it. What the FIB could know it does.
func TestDeletedUnknown(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	for _, known := range []bool{false, true} {
		p := newKernelPlayer(t)
		defer p.stop()
		replace := strings.Fields("nexthop replace 2 fdb via 10.0.0.2")
		p.by(strings.Fields("nexthop add 2 via 10.0.1.3 dev v1 proto 201"))
		deleted := make(chan bool, 1)
		p.sending = func(b []byte) {
			for msg := range rtnl.Messages(b) {
				if msg.Type != rtnl.RTM_DELNEXTHOP {
					continue
				}
				p.by(replace)
				p.watch()  // on its own, before the deletion
				if known { // as if the FIB had looked
					p.looks.ended = p.deed + 1
				}
				deleted <- true
			}
		}
		p.begin()
		p.f.Sweep()
		<-deleted
		nstest.Wait(t, 5*time.Second, "the deletion", func() bool {
			p.watch()
			_, there := p.holders[DefaultNextHopBase+2]
			return !there
		})
		if (len(p.foreign) > 0) != known {
			t.Errorf("known %v: deleted what is not ours: %q", known, p.foreign)
		}
	}
}
