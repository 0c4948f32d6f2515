package fib

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
}

func playOnKernel(t *testing.T, inputs []string) (err error) {
	p := &kernelPlayer{player: newPlayer(t), k: newReal(t)}
	p.quiet, p.config.Tables, p.config.NetNS = true, []uint32{90}, p.k.ns.Path
	p.picture()
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
		p.k.by(&words{list: w.list})
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
// another program has made under it since the last step, between the FIB's last look and its
// request, goes in the place of ours, and nothing can prevent that.
func (p *kernelPlayer) watch() {
	if p.f == nil {
		return
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	fresh := map[uint32]bool{} // objects that another program has made
	for {
		n, err := p.k.monitor.Receive(p.k.buf)
		if err != nil {
			return // empty
		}
		for msg := range rtnl.Messages(p.k.buf[:n]) {
			var h wire.NextHopMessage
			if msg.Type == rtnl.RTM_NEWNEXTHOP && h.Parse(msg.Body) == nil {
				fresh[h.ID] = msg.Port != p.commands().Port()
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
			case rtnl.RTM_DELNEXTHOP:
				if h.Parse(msg.Body) == nil && h.Protocol != DefaultProtocol && !fresh[h.ID] {
					p.foreign = append(p.foreign, p.m.NextHopText(&h))
				}
			}
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
