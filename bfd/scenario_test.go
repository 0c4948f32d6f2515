package bfd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestScenarios plays every testdata/session/*.txt against a Session.
func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/session/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, &stage{})
	})
}

// stage is a Session and the peer that a scenario plays.
type stage struct {
	s    *Session
	cfg  SessionConfig
	now  time.Duration // since the start
	peer authState     // signs what the scenario sends
	out  []string
}

// grain is how exact the session's timers are: enough for a test, and readable.
const grain = 100 * time.Microsecond

// Deadline implements [scenario.Clock].
func (g *stage) Deadline() time.Time {
	if g.s == nil {
		return time.Time{}
	}
	at := g.s.Next() + g.s.Slack()
	if at == never {
		return time.Time{}
	}
	return scenario.Epoch.Add((at + grain - 1).Truncate(grain))
}

// Advance implements [scenario.Clock].
func (g *stage) Advance(now time.Time) []string {
	g.begin(now)
	g.effects(g.s.Advance(g.now))
	return g.out
}

func (g *stage) begin(now time.Time) { g.now, g.out = now.Sub(scenario.Epoch), nil }

// Do implements [scenario.Machine].
func (g *stage) Do(now time.Time, words []string) ([]string, error) {
	g.begin(now)
	if len(words) == 0 {
		return nil, nil
	}
	if words[0] != "new" && g.s == nil {
		return nil, errors.New("no session yet")
	}
	e, err := g.do(words[0], words[1:])
	if err != nil {
		return nil, err
	}
	g.effects(e)
	return g.out, nil
}

func (g *stage) do(verb string, args []string) (e Effects, err error) {
	switch verb {
	case "new":
		g.cfg = SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3}
		if err = g.configure(args); err == nil {
			g.s, err = NewSession(g.cfg, 1, 1, g.now)
		}
		return 0, err
	case "set":
		if err = g.configure(args); err == nil {
			e, err = g.s.Configure(g.now, g.cfg)
		}
		return e, err
	case "rx":
		return g.receive(args)
	case "echo": // a packet of ours comes back
		p := Packet{State: states[args[0]], Multiplier: 3, MyDiscr: 1, YourDiscr: 1}
		return g.s.receiveEcho(g.now, &p), nil
	case "c-bit":
		g.s.SetControlIndependent(args[0] == "on")
		return 0, nil
	}
	return 0, fmt.Errorf("unknown word %q", verb)
}

func (g *stage) configure(args []string) error {
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		d, _ := time.ParseDuration(value)
		n, _ := strconv.Atoi(value)
		switch name {
		case "tx":
			g.cfg.DesiredMinTx = d
		case "rx":
			g.cfg.RequiredMinRx = d
		case "mult":
			g.cfg.Multiplier = uint8(n)
		case "passive":
			g.cfg.Passive = true
		case "echo":
			g.cfg.Echo = true
		case "admin-down":
			g.cfg.AdminDown = value != "off"
		case "auth":
			g.cfg.Auth = Auth{Type: AuthType(n), Keys: []AuthKey{{ID: 7, Secret: "old"}, {ID: 8, Secret: "new"}}}
			g.peer = authState{Auth: Auth{Type: AuthType(n), Keys: []AuthKey{{ID: 7, Secret: "old"}}}, txSeq: 1000}
		default:
			return fmt.Errorf("unknown setting %q", a)
		}
	}
	return nil
}

var states = map[string]State{"AdminDown": StateAdminDown, "Down": StateDown, "Init": StateInit, "Up": StateUp}

// receive builds a packet as a peer would and parses it. Defaults: a peer with
// discriminator 9 that knows ours, 50 ms, multiplier 3.
func (g *stage) receive(args []string) (Effects, error) {
	p := Packet{Multiplier: 3, MyDiscr: 9, YourDiscr: 1, DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond}
	peer, break_ := g.peer, -1
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		d, _ := time.ParseDuration(value)
		n, _ := strconv.Atoi(value)
		switch name {
		case "AdminDown", "Down", "Init", "Up":
			p.State = states[name]
		case "P":
			p.Poll = true
		case "F":
			p.Final = true
		case "C":
			p.ControlIndependent = true
		case "D":
			p.Demand = true
		case "my":
			p.MyDiscr = uint32(n)
		case "your":
			p.YourDiscr = uint32(n)
		case "tx":
			p.DesiredMinTx = d
		case "rx":
			p.RequiredMinRx = d
		case "mult":
			p.Multiplier = uint8(n)
		case "diag":
			p.Diag = Diag(n)
		case "seq": // the sequence number this packet shall carry
			peer.txSeq = uint32(n) - 1
		case "key":
			peer.Keys = []AuthKey{{ID: uint8(n), Secret: map[int]string{7: "old", 8: "new"}[n]}}
		case "plain":
			peer.Type = AuthNone
		case "flip": // damage this octet
			break_ = n
		default:
			return 0, fmt.Errorf("unknown field %q", a)
		}
	}
	b := p.append(nil)
	if peer.Type != AuthNone {
		peer.last = [headerLen]byte{} // counts up whatever the type
		b = peer.sign(b, 0)
	}
	if break_ >= 0 {
		b[min(break_, len(b)-1)] ^= 1
	}
	q, err := ParsePacket(b)
	if err != nil {
		g.say("error: %v", err)
		return 0, nil
	}
	return g.s.Receive(g.now, &q), nil
}

// effects carries out and notes what the session asks for.
func (g *stage) effects(e Effects) {
	if e&EffectRefused != 0 {
		g.say("refused")
	}
	if e&EffectState != 0 {
		state, reason, diag := g.s.State()
		if reason == ReasonNone {
			g.say("%v", state)
		} else {
			g.say("%v (%v, diag %d)", state, reason, diag)
		}
	}
	if e&EffectSend != 0 {
		g.sent(g.s.AppendPacket(nil, g.now))
	}
}

func (g *stage) say(format string, args ...any) { g.out = append(g.out, fmt.Sprintf(format, args...)) }

func (g *stage) sent(b []byte) {
	p, err := ParsePacket(b)
	if err != nil {
		g.say("sent what it would not accept: %v", err)
		return
	}
	line := fmt.Sprintf("-> %v%s%s%s your=%d diag=%d tx=%v rx=%v mult=%d", p.State,
		word(p.Poll, " P"), word(p.Final, " F"), word(p.ControlIndependent, " C"), p.YourDiscr, p.Diag, p.DesiredMinTx, p.RequiredMinRx, p.Multiplier)
	if p.auth != nil {
		line += fmt.Sprintf(" auth=%d key=%d len=%d", p.auth[0], p.auth[2], len(p.auth))
	}
	g.say("%s", line)
}

func word(set bool, w string) string {
	if set {
		return w
	}
	return ""
}
