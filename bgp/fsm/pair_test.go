package fsm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// pairScenario plays scenarios for two machines, a and b, that talk to each other over a network
// that takes a millisecond. The inputs are those of machineScenario after the name of a machine,
// and
//
//	a|b restart      it is as new, and its connections are reset
//	a|b gr           its OPEN has graceful restart
//	bfd up | down    of both
//
// BFD is not played: the scenario says what each side's BFD reports. A side that restarts has heard
// nothing of it. What is printed are states and NOTIFICATIONs; a state on the way that lasts for
// no time is not.
type pairScenario struct {
	sides [2]*pairSide
	queue []delivery // in the order of their times
	now   time.Time
}

type pairSide struct {
	*machineScenario
	name  string
	gr    bool
	links map[ConnID]link // of each connection: its other end
	shown string
}

type link struct {
	id ConnID // of the other side; 0: it has not heard of the connection
}

type delivery struct {
	at time.Time
	f  func()
}

func newPairScenario() *pairScenario {
	w := &pairScenario{now: scenario.Epoch}
	for i, name := range []string{"a", "b"} {
		w.sides[i] = &pairSide{name: name}
		w.renew(i)
	}
	return w
}

// renew makes a side as it is after a restart, with the same configuration.
func (w *pairScenario) renew(i int) {
	s, m := w.sides[i], newMachineScenario()
	if s.machineScenario != nil {
		m.m.cfg = s.m.cfg
	}
	m.m.cfg.RouterID = netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
	s.machineScenario, s.links = m, map[ConnID]link{}
	s.m.Step(w.now, Event{Kind: EventManualStart})
}

func TestPairScenarios(t *testing.T) {
	scenario.Files(t, "testdata/pair/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, newPairScenario())
	})
}

// Deadline implements scenario.Clock.
func (w *pairScenario) Deadline() time.Time {
	at := earliest(w.sides[0].m.Deadline(), w.sides[1].m.Deadline())
	if len(w.queue) > 0 {
		at = earliest(at, w.queue[0].at)
	}
	return at
}

// Advance implements scenario.Clock.
func (w *pairScenario) Advance(now time.Time) (out []string) {
	w.now = now
	for len(w.queue) > 0 && due(now, w.queue[0].at) {
		f := w.queue[0].f
		w.queue = w.queue[1:]
		f()
		out = append(out, w.carryOut()...)
	}
	for _, s := range w.sides {
		s.m.Advance(now)
		out = append(out, w.carryOut()...)
	}
	return append(out, w.states()...)
}

// Do implements scenario.Machine.
func (w *pairScenario) Do(now time.Time, words []string) (out []string, err error) {
	w.now = now
	if len(words) < 2 {
		return nil, nil
	}
	for i, s := range w.sides {
		switch {
		case words[0] == "bfd":
			err = s.feed(now, words)
		case words[0] != s.name:
			continue
		case words[1] == "restart":
			old := s.links
			w.renew(i)
			for _, l := range old {
				w.send(1-i, l.id, Event{Kind: EventConnFails})
			}
		case words[1] == "gr":
			s.gr = true
		default:
			err = s.feed(now, words[1:])
		}
		out = append(out, w.carryOut()...)
	}
	return append(out, w.states()...), err
}

// send lets an event happen to a connection of a side in a millisecond, if that is as it is now.
func (w *pairScenario) send(i int, id ConnID, ev Event) {
	s, m := w.sides[i], w.sides[i].m
	ev.Conn = id
	w.queue = append(w.queue, delivery{w.now.Add(time.Millisecond), func() {
		if s.m == m {
			if ev.Kind == EventConnFails {
				delete(s.links, id)
			}
			m.Step(w.now, ev)
		}
	}})
}

// carryOut carries out what both want done, and prints it.
func (w *pairScenario) carryOut() (out []string) {
	for i, s := range w.sides {
		peer := w.sides[1-i]
		for _, e := range s.m.Effects() {
			to := s.links[e.Conn].id
			switch e.Kind {
			case EffectDial:
				m := s.m
				w.queue = append(w.queue, delivery{w.now.Add(time.Millisecond), func() {
					if s.m != m || m.find(e.Conn) == nil {
						return
					}
					id := peer.m.NextConn()
					s.links[e.Conn], peer.links[id] = link{id}, link{e.Conn}
					peer.m.Step(w.now, Event{Kind: EventConnConfirmed, Conn: id})
					m.Step(w.now, Event{Kind: EventConnAcked, Conn: e.Conn})
				}})
			case EffectSendOpen:
				n := remoteOpen()
				n.RemoteID, n.BFDStrict = s.m.cfg.RouterID, s.m.cfg.Strict.Enabled && peer.m.cfg.Strict.Enabled
				if s.gr {
					n.Remote.GracefulRestart = &wire.GracefulRestart{}
				}
				w.send(1-i, to, Event{Kind: EventOpen, Negotiated: n})
			case EffectSendKeepalive:
				w.send(1-i, to, Event{Kind: EventKeepalive})
				s.m.Sent(w.now, e.Conn)
			case EffectSendNotification:
				w.send(1-i, to, Event{Kind: EventNotification, Notification: e.Notification})
				out = append(out, fmt.Sprintf("-> %s: NOTIFICATION %d/%d", s.name, e.Notification.Code, e.Notification.Subcode))
			case EffectClose:
				if to != 0 {
					w.send(1-i, to, Event{Kind: EventConnFails})
				}
				delete(s.links, e.Conn)
			}
		}
	}
	return out
}

// states prints the states that have changed.
func (w *pairScenario) states() (out []string) {
	for _, s := range w.sides {
		if state := s.state(); state != s.shown {
			s.shown = state
			out = append(out, fmt.Sprintf("-> %s: %s", s.name, state))
		}
	}
	return out
}

// TestStrictSearch: whatever BFD says and whoever restarts, a session in strict mode is not up
// while a side has heard that BFD is Down, and both are up again once BFD is Up and all is quiet.
func TestStrictSearch(t *testing.T) {
	scenario.Search{Seeds: 300, Inputs: strictInputs, Play: func(_ *testing.T, inputs []string) error {
		w := newPairScenario()
		if _, err := scenario.Play(strings.Join(inputs, "\n")+"\n", &checkedPair{w}); err != nil {
			return err
		}
		return w.quiet()
	}}.Run(t)
}

func strictInputs(r *rand.Rand) (inputs []string) {
	for _, name := range []string{"a", "b"} {
		switch r.IntN(4) {
		case 0:
			inputs = append(inputs, name+" config required")
		case 1:
			inputs = append(inputs, name+" config strict holddown 2s")
		default:
			inputs = append(inputs, name+" config strict")
		}
		if r.IntN(2) == 0 {
			inputs = append(inputs, name+" gr")
		}
	}
	if r.IntN(3) == 0 {
		inputs = append(inputs, "a config passive")
	}
	now := time.Duration(0)
	for range 3 + r.IntN(40) {
		now += time.Duration(r.IntN(1<<r.IntN(18))) * time.Millisecond
		words := []string{"a bfd up", "b bfd up", "a bfd down", "b bfd down", "bfd up", "bfd down", "a bfd admindown", "a restart", "b restart", "bfd up", "bfd up"}
		inputs = append(inputs, fmt.Sprintf("+%v %s", now, words[r.IntN(len(words))]))
	}
	return inputs
}

// checkedPair is a pairScenario that looks at every state.
type checkedPair struct{ *pairScenario }

// Do implements scenario.Machine.
func (w *checkedPair) Do(now time.Time, words []string) ([]string, error) {
	out, err := w.pairScenario.Do(now, words)
	for _, s := range w.sides {
		if s.m.State() == Established && s.m.gate.state == EventBFDDown {
			return out, fmt.Errorf("%s is Established although its BFD is Down", s.name)
		}
	}
	return out, err
}

// quiet lets BFD be Up and time pass.
func (w *pairScenario) quiet() error {
	start := w.now
	for _, s := range w.sides {
		if err := s.feed(start, []string{"bfd", "up"}); err != nil {
			return err
		}
	}
	w.carryOut()
	// The longest hold-down, and a refusal that it was in the way of.
	end := start.Add(HoldDownMax + 2*defaultIdleHoldMax)
	for at := w.Deadline(); !at.IsZero() && at.Before(end); at = w.Deadline() {
		if at.Before(w.now) {
			at = w.now
		}
		w.Advance(at)
	}
	if a, b := w.sides[0], w.sides[1]; a.m.State() != Established || b.m.State() != Established {
		return fmt.Errorf("%v later a is %s and b is %s", w.now.Sub(start), a.state(), b.state())
	}
	return nil
}
