package fsm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestMachineSearch feeds the FSM random events, of connections that are there, that are gone
// and that never were, in the grammar of testdata/machine. Whatever happens:
//
//   - an effect is about a connection that it can be about, and each is closed once;
//   - there is one session at most, and the state says so;
//   - connections of a peer that is not stopped are accepted or refused, and if it may dial it
//     has a timer that makes it do so;
//   - once the peer cooperates there is a session, within the longest waits.
func TestMachineSearch(t *testing.T) {
	scenario.Search{Seeds: 300, Inputs: machineInputs, Play: func(_ *testing.T, inputs []string) error {
		w := &checkedMachine{machineScenario: newMachineScenario(), conns: map[ConnID]connState{}}
		if _, err := scenario.Play(strings.Join(inputs, "\n")+"\n", w); err != nil {
			return err
		}
		return w.cooperate()
	}}.Run(t)
}

func machineInputs(r *rand.Rand) (inputs []string) {
	if r.IntN(3) == 0 {
		inputs = append(inputs, "config passive")
	}
	if r.IntN(2) == 0 {
		inputs = append(inputs, "config id 10.0.0.3")
	}
	if r.IntN(3) == 0 {
		inputs = append(inputs, []string{"config strict", "config required", "config strict holddown 2s", "config strict bfdhold 5s"}[r.IntN(4)])
	}
	inputs = append(inputs, "start")
	now, conns := time.Duration(0), 3
	for range 5 + r.IntN(80) {
		now += time.Duration(r.IntN(1<<r.IntN(18))) * time.Millisecond
		n := max(1, conns-r.IntN(4))
		words := []string{"confirmed", "open", "open", "keepalive", "keepalive", "acked", "acked", "fails", "fails", "update", "notif", "retry",
			"updateerr", "openerr", "headererr", "autostop", "autostop 60s", "stop", "stop quiet", "sent", "bfd up", "bfd down", "bfd admindown"}
		word := words[r.IntN(len(words))]
		switch word {
		case "confirmed":
			conns++
		case "retry", "autostop", "autostop 60s", "bfd up", "bfd down", "bfd admindown":
		case "stop", "stop quiet":
			inputs = append(inputs, fmt.Sprintf("+%v %s", now, word))
			word = "start"
			now += time.Duration(r.IntN(5000)) * time.Millisecond
		case "acked", "fails":
			word = fmt.Sprint(word, " ", n)
			conns += r.IntN(2)
		case "notif":
			word = fmt.Sprintf("notif %d %d/%d", n, 1+r.IntN(6), 1+r.IntN(10))
		case "open":
			word = fmt.Sprintf("open %d hold=%d", n, []int{0, 3, 90}[r.IntN(3)])
			if r.IntN(2) == 0 {
				word += " gr"
			}
			if r.IntN(2) == 0 {
				word += " strict"
			}
		default:
			word = fmt.Sprint(word, " ", n)
		}
		inputs = append(inputs, fmt.Sprintf("+%v %s", now, word))
	}
	return inputs
}

// connState is what has become of a connection.
type connState uint8

const (
	connDialing connState = iota + 1
	connOpen
	connOpenSent // our OPEN is out
	connUp
	connEnding // a NOTIFICATION is out, or the session is down
	connClosed
)

// checkedMachine is a machineScenario that looks at every effect.
type checkedMachine struct {
	*machineScenario
	conns map[ConnID]connState
	now   time.Time
	last  ConnID // that the peer has opened
	err   error
}

// Advance implements scenario.Clock.
func (w *checkedMachine) Advance(now time.Time) []string {
	w.now = now
	w.m.Advance(now)
	w.check()
	return nil
}

// Do implements scenario.Machine.
func (w *checkedMachine) Do(now time.Time, words []string) ([]string, error) {
	w.now = now
	if w.err != nil || len(words) == 0 {
		return nil, w.err
	}
	if len(words) > 1 && words[0] != "config" && words[0] != "stop" && words[0] != "autostop" && words[0] != "bfd" {
		// Nothing is reported of a connection that is not there, except a late answer to an
		// attempt.
		switch state := w.conns[number(words[1])]; {
		case words[0] == "acked" && state == connDialing:
			w.conns[number(words[1])] = connOpen
		case words[0] == "acked" && state == connClosed, words[0] == "fails" && state != 0:
		case state < connOpen || state == connClosed || words[0] == "acked":
			return nil, nil
		}
	}
	late := words[0] == "acked" && w.conns[number(words[1])] == connClosed
	if words[0] == "confirmed" {
		w.last = w.m.last + 1
		w.conns[w.last] = connOpen
	}
	refuses := w.m.first.stopped || now.Before(w.m.refuseUntil)
	err := w.feed(now, words)
	if late { // it is closed again
		w.m.out = nil
	}
	w.check()
	if words[0] == "confirmed" && w.err == nil {
		if closed := w.conns[w.last] == connClosed; closed != refuses {
			w.err = fmt.Errorf("connection %d of the peer: closed %v, refusing %v", w.last, closed, refuses)
		}
	}
	return nil, errors.Join(err, w.err)
}

func (w *checkedMachine) check() {
	for _, e := range w.m.Effects() {
		if err := w.effect(e); err != nil && w.err == nil {
			w.err = fmt.Errorf("%v: %w", e, err)
		}
	}
	if w.err == nil {
		w.err = w.invariants()
	}
}

func (w *checkedMachine) effect(e Effect) error {
	state := w.conns[e.Conn]
	may := map[EffectKind][]connState{
		EffectDial: {0}, EffectNoAnswer: {connDialing}, EffectSendOpen: {connOpen}, EffectSendKeepalive: {connOpenSent, connUp}, EffectUp: {connOpenSent},
		EffectSendNotification: {connOpen, connOpenSent, connUp}, EffectDown: {connUp, connEnding}, EffectClose: {connDialing, connOpen, connOpenSent, connEnding},
	}
	ok := false
	for _, s := range may[e.Kind] {
		ok = ok || s == state
	}
	if !ok {
		return fmt.Errorf("connection in state %d", state)
	}
	switch e.Kind {
	case EffectDial:
		w.conns[e.Conn] = connDialing
	case EffectSendOpen:
		w.conns[e.Conn] = connOpenSent
	case EffectUp:
		w.conns[e.Conn] = connUp
	case EffectSendNotification, EffectDown:
		w.conns[e.Conn] = connEnding
	case EffectClose:
		w.conns[e.Conn] = connClosed
	}
	return nil
}

func (w *checkedMachine) invariants() error {
	var dialing, open, up int
	for id, state := range w.conns {
		switch state {
		case connDialing:
			dialing++
		case connUp:
			up++
			open++
		case connOpen, connOpenSent:
			open++
		case connEnding:
			return fmt.Errorf("connection %d has had a NOTIFICATION, and is not closed", id)
		}
	}
	m := w.m
	for _, c := range []*connection{&m.first, &m.second} {
		if c.bfd.on && (c.state != OpenSent || c.deadline().IsZero() && m.gate.opensAt.IsZero()) {
			return fmt.Errorf("connection %d in %v waits for BFD for ever", c.id, c.state)
		}
	}
	switch {
	case up > 1 || dialing > 1 || dialing+open > 2:
		return fmt.Errorf("%d sessions, %d attempts, %d open connections", up, dialing, open)
	case (m.State() == Established) != (up == 1):
		return fmt.Errorf("%v with %d sessions", m.State(), up)
	case dialing+open == 0 && !m.first.stopped && !m.cfg.Passive && m.Deadline().IsZero():
		return fmt.Errorf("%v without a timer", m.State())
	case dialing+open == 0 && m.State() > Active || dialing == 0 && m.first.state == Connect:
		return fmt.Errorf("%v without a connection", m.State())
	case m.first.stopped && (dialing+open > 0 || !m.Deadline().IsZero()):
		return fmt.Errorf("stopped with %d connections, deadline %v", dialing+open, m.Deadline())
	}
	return nil
}

// cooperate plays a peer that answers from now on, and calls if we do not.
func (w *checkedMachine) cooperate() error {
	start := w.now
	for w.now.Sub(start) < 3*time.Minute && w.err == nil {
		if w.m.State() == Established {
			return nil
		}
		w.Do(w.now, []string{"bfd", "up"})
		for id, state := range w.conns {
			c := w.m.find(id)
			switch {
			case state == connDialing:
				w.Do(w.now, []string{"acked", fmt.Sprint(id)})
			case c == nil:
			case c.bfd.on: // for BFD to have been Up for long enough
			case c.state == OpenSent:
				w.Do(w.now, []string{"open", fmt.Sprint(id)})
			case c.state == OpenConfirm:
				w.Do(w.now, []string{"keepalive", fmt.Sprint(id)})
			}
		}
		if w.m.first.stopped {
			w.Do(w.now, []string{"start"})
		}
		if w.m.cfg.Passive && w.m.first.id == 0 {
			w.Do(w.now, []string{"confirmed"})
		}
		w.now = w.now.Add(time.Second)
		for d := w.m.Deadline(); !d.IsZero() && !d.After(w.now) && w.err == nil; d = w.m.Deadline() {
			w.Advance(w.now)
		}
	}
	if w.err == nil && w.m.State() != Established {
		return fmt.Errorf("three minutes later the peer is %v", w.m.State())
	}
	return w.err
}
