package bfd

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// drivenMachine is two nodes of a wire, as scenarios speak of them: "b" runs a server, "a" a
// separate process. Time is that of the scenario.
type drivenMachine struct {
	*wire
	a, b    *wireNode
	process *DrivenProcess
	clients map[string]*DrivenConn
}

func newDrivenMachine(t testing.TB) *drivenMachine {
	w := newWire(1)
	w.quiet, w.delay, w.untimed = true, ms(2), true
	w.now, w.wall = 0, scenario.Epoch
	m := &drivenMachine{wire: w, clients: map[string]*DrivenConn{}}
	m.a, m.b = w.pair(t, hundred)
	m.a.d, m.a.watcher = nil, nil
	m.a.hops = mapHops{
		1: {ID: 1, Link: 7, Gateway: m.b.addr}, 2: {ID: 2, Link: 8, Gateway: m.b.addr},
		9: {ID: 9, Group: []bfdcore.Member{{ID: 1}, {ID: 2}}},
	}
	return m
}

// Do implements [scenario.Machine].
func (m *drivenMachine) Do(now time.Time, words []string) (out []string, err error) {
	m.run(now.Sub(scenario.Epoch) - m.now)
	if len(words) > 0 {
		err = m.do(words[0], append(words[1:], "", ""))
		m.run(0)
	}
	for line := range strings.Lines(m.trace.String()) {
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	m.trace.Reset()
	return out, err
}

func (m *drivenMachine) do(verb string, args []string) (err error) {
	node := map[string]*wireNode{"a": m.a, "b": m.b}[args[0]]
	switch verb {
	case "process":
		m.process, err = NewDrivenProcess(m.a.config(), time.Minute)
		m.serves(m.process)
	case "client":
		if m.clients[args[0]], err = m.process.Connect(args[0]); err == nil {
			c := hundred()
			c.Key = Key{Peer: m.b.addr, Local: m.a.addr, Interface: "e0"}
			c.Failover = []NextHop{{ID: 1, IfIndex: 7, Gateway: m.b.addr}}
			err = errors.Join(m.clients[args[0]].Add(c), m.clients[args[0]].Synced())
		}
	case "die": // the process, or a client
		if args[0] == "process" {
			m.serves(nil)
		} else {
			m.clients[args[0]].Close()
		}
	case "stop", "continue":
		node.stopped = verb == "stop"
	case "unlink":
		node.links = nil
	case "link":
		node.links = map[string]int{"e0": 7}
	case "cut", "heal": // what the node sends
		node.cut = verb == "cut"
	case "slow":
		m.a.failover, err = time.ParseDuration(args[0])
	case "objects":
		m.say("%v", m.a.hops)
	case "status":
		for _, n := range m.nodes {
			if n.d == nil {
				continue
			}
			list, err := n.d.Sessions()
			if err != nil {
				m.say("%s: %v", n.name, err)
			}
			for _, s := range list {
				m.say("%s has %v, C bit of the other side %v, %d downs", n.name, s.State, s.RemoteC, s.Downs)
			}
		}
	case "takeover":
		return m.takeOver(args[0])
	default:
		return fmt.Errorf("unknown word %q", verb)
	}
	return err
}

// serves has another process serve node a; nil: none.
func (m *drivenMachine) serves(p *DrivenProcess) {
	m.a.d, m.a.watcher = nil, nil
	if p != nil {
		m.process, m.a.d, m.a.watcher = p, p, p.Watch()
	}
}

// takeOver has a successor take the sessions of the process. What the two say is there at once,
// but for what "dies" leaves out: the octets after which the successor is dead.
func (m *drivenMachine) takeOver(how string) error {
	left := 1 << 30
	if octets, ok := strings.CutPrefix(how, "dies="); ok {
		if _, err := fmt.Sscan(octets, &left); err != nil {
			return err
		}
	}
	out := [2]*pipe{{w: m.wire, left: 1 << 30}, {w: m.wire, left: left}}
	dead := false
	out[1].died = func() { dead, out[0].dead = true, true; _ = out[1].Close() }
	old := m.process
	next, taking, err := NewDrivenSuccessor(m.a.config(), time.Minute, 0, out[1])
	if err != nil {
		return err
	}
	out[0].to, out[1].to = taking, old.Give(out[0])
	for range 400 {
		m.run(ms(1))
		if out[1].deliver(); !dead {
			out[0].deliver()
		}
		if !dead && !next.Paused() && !next.Ended() && m.process != next {
			m.say("the successor has the sessions")
			m.serves(next)
		}
	}
	if m.process == old {
		m.say("the predecessor goes on")
	}
	return nil
}

// TestDrivenScenarios plays every testdata/driven/*.txt.
func TestDrivenScenarios(t *testing.T) {
	scenario.Files(t, "testdata/driven/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, newDrivenMachine(t))
	})
}
