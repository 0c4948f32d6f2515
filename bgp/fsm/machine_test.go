package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// machineScenario plays scenarios for the FSM. The inputs are
//
//	config passive | id A.B.C.D | as N
//	start | stop [quiet] | autostop [HOLD]
//	acked N | confirmed | fails N | open N [hold=90] [id=A.B.C.D] [as=N] [gr]
//	keepalive N | update N | updateerr N | headererr N | openerr N | notif N CODE/SUB | sent N
//	hurry
//
// N is the number of the connection.
type machineScenario struct{ m *machine }

func newMachineScenario() *machineScenario {
	return &machineScenario{newMachine(machineConfig{
		localID: 0x0a000001, localAS: 65000,
		retryMin: 50 * time.Millisecond, retryMax: 5 * time.Second,
		errorMin: time.Second, errorMax: 60 * time.Second,
		dialMin: 10 * time.Second, dialTimeout: 10 * time.Second,
		random: func() float64 { return 0 },
	})}
}

func TestMachineScenarios(t *testing.T) {
	scenario.Files(t, "testdata/fsm/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, newMachineScenario())
	})
}

// Deadline implements scenario.Clock.
func (w *machineScenario) Deadline() time.Time { return w.m.deadline() }

// Advance implements scenario.Clock.
func (w *machineScenario) Advance(now time.Time) []string {
	before := w.m.state()
	w.m.advance(now)
	return w.result(before)
}

var scenarioEvents = map[string]eventKind{
	"acked": evConnAcked, "fails": evConnFails, "open": evOpen, "keepalive": evKeepalive,
	"update": evUpdate, "updateerr": evUpdateErr, "headererr": evHeaderErr, "openerr": evOpenErr, "notif": evNotif,
}

// Do implements scenario.Machine.
func (w *machineScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	before := w.m.state()
	err := w.feed(now, words)
	return w.result(before), err
}

// feed steps the machine.
func (w *machineScenario) feed(now time.Time, words []string) error {
	switch words[0] {
	case "config":
		return w.config(words[1:])
	case "hurry":
		w.m.hurry(now)
		w.m.advance(now)
	case "start":
		w.m.step(now, event{kind: evManualStart})
	case "stop":
		w.m.step(now, event{kind: evManualStop, quiet: len(words) > 1})
	case "autostop":
		ev := event{kind: evAutomaticStop, notif: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubMaxPrefixes}}
		if len(words) > 1 {
			ev.hold, _ = time.ParseDuration(words[1])
		}
		w.m.step(now, ev)
	case "confirmed":
		w.m.step(now, event{kind: evConnConfirmed, conn: w.m.nextConn()})
	case "sent":
		if l := w.m.find(number(words[1])); l != nil {
			l.sent(now)
		}
	default:
		ev, err := parseEvent(words)
		if err != nil {
			return err
		}
		w.m.step(now, ev)
	}
	return nil
}

func number(s string) connID {
	n, _ := strconv.Atoi(s)
	return connID(n)
}

func parseEvent(words []string) (event, error) {
	kind, ok := scenarioEvents[words[0]]
	if !ok || len(words) < 2 {
		return event{}, fmt.Errorf("unknown %q", words)
	}
	ev := event{kind: kind, conn: number(words[1]), open: openFacts{hold: 90 * time.Second, id: 0x0a000002, as: 65000}}
	switch kind {
	case evUpdateErr:
		ev.notif = wire.Notification{Code: wire.CodeUpdate, Subcode: wire.SubMalformedAttributes}
	case evHeaderErr:
		ev.notif = wire.Notification{Code: wire.CodeHeader, Subcode: wire.SubBadLength}
	case evOpenErr:
		ev.notif = wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubBadPeerAS}
	}
	for _, o := range words[2:] {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "hold":
			n, _ := strconv.Atoi(value)
			ev.open.hold = time.Duration(n) * time.Second
		case "id":
			ev.open.id = idNumber(netip.MustParseAddr(value))
		case "as":
			n, _ := strconv.Atoi(value)
			ev.open.as = uint32(n)
		case "gr":
			ev.open.restart = true
		default:
			var c, s int
			if _, err := fmt.Sscanf(o, "%d/%d", &c, &s); err != nil {
				return ev, err
			}
			ev.notif = wire.Notification{Code: wire.ErrorCode(c), Subcode: uint8(s)}
		}
	}
	return ev, nil
}

func (w *machineScenario) config(words []string) error {
	for len(words) > 0 {
		switch words[0] {
		case "passive":
			w.m.cfg.passive = true
			words = words[1:]
		case "id":
			w.m.cfg.localID = idNumber(netip.MustParseAddr(words[1]))
			words = words[2:]
		case "as":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			w.m.cfg.localAS = uint32(n)
			words = words[2:]
		default:
			return fmt.Errorf("unknown setting %q", words[0])
		}
	}
	return nil
}

// result prints what came out and the state if it changed.
func (w *machineScenario) result(before State) []string {
	var parts []string
	for _, e := range w.m.effects() {
		parts = append(parts, e.String())
	}
	if s := w.m.state(); s != before {
		parts = append(parts, s.String())
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"-> " + strings.Join(parts, ", ")}
}

func (e effect) String() string {
	s := fmt.Sprintf("%v %d", e.kind, e.conn)
	if e.plain {
		s = fmt.Sprintf("plain OPEN %d", e.conn)
	}
	if e.kind == effDown {
		s += " by " + e.cause.String()
	}
	if e.notif.Code != 0 {
		s += fmt.Sprintf(" %d/%d", e.notif.Code, e.notif.Subcode)
	}
	return s
}

// TestMachineCells feeds every event to a link in every state and writes down the
// whole table of RFC 4271, Section 8.2.2.
func TestMachineCells(t *testing.T) {
	var out strings.Builder
	for s := Idle; s <= Established; s++ {
		fmt.Fprintf(&out, "%v\n", s)
		for k := range eventKinds {
			fmt.Fprintf(&out, "\t%-26v %s\n", k, cell(s, k, false))
		}
	}
	fmt.Fprintf(&out, "%v, stopped\n", Idle)
	for _, k := range []eventKind{evManualStart, evIdleHoldExpires, evConnConfirmed} {
		fmt.Fprintf(&out, "\t%-26v %s\n", k, cell(Idle, k, true))
	}
	scenario.Golden(t, "testdata/cells.txt", out.String())
}

// cell brings a machine into state s, feeds one event and describes the outcome
// with the timers that run afterwards.
func cell(s State, k eventKind, stopped bool) string {
	w := newMachineScenario()
	m := w.m
	conn := bring(m, s)
	m.primary.stopped = stopped
	m.effects()
	ev := event{kind: k, conn: conn, open: openFacts{hold: 90 * time.Second, id: 0x0a000002, as: 65000}}
	switch k {
	case evConnConfirmed:
		ev.conn = m.nextConn()
	case evHeaderErr:
		ev.notif = wire.Notification{Code: wire.CodeHeader, Subcode: wire.SubBadType}
	case evOpenErr:
		ev.notif = wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubBadID}
	case evUpdateErr:
		ev.notif = wire.Notification{Code: wire.CodeUpdate, Subcode: wire.SubNextHop}
	case evNotif:
		ev.notif = wire.Notification{Code: wire.CodeCease, Subcode: wire.SubReset}
	case evNotifVersion:
		ev.notif = wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubVersion}
	}
	if timer := m.primary.timer(k); timer != nil {
		*timer = scenario.Epoch
		m.advance(scenario.Epoch)
	} else if k == evCollisionDump {
		m.primary.step(scenario.Epoch, ev)
		m.settle()
	} else {
		m.step(scenario.Epoch, ev)
	}
	res := cmp.Or(strings.Join(w.result(s), ""), "-")
	if timers := m.primary.timers(); timers != "" {
		res += " | " + timers
	}
	return res
}

// bring steps a machine into a state on the ordinary way.
func bring(m *machine, s State) connID {
	if s == Idle {
		m.primary.stopped = false
		m.primary.rest(scenario.Epoch, time.Minute)
		return 0
	}
	m.cfg.passive = s == Active
	m.step(scenario.Epoch, event{kind: evManualStart})
	m.cfg.passive = false
	conn := m.primary.conn
	for _, k := range []eventKind{evConnAcked, evOpen, evKeepalive} {
		if m.state() < s && s > Active {
			m.step(scenario.Epoch, event{kind: k, conn: conn, open: openFacts{hold: 90 * time.Second, id: 0x0a000002, as: 65000}})
		}
	}
	return conn
}

func (l *link) timer(k eventKind) *time.Time {
	switch k {
	case evConnectRetryExpires:
		return &l.retryAt
	case evHoldExpires:
		return &l.holdAt
	case evKeepaliveExpires:
		return &l.keepaliveAt
	case evIdleHoldExpires:
		return &l.idleAt
	case evSendHoldExpires:
		return &l.sendHoldAt
	}
	return nil
}

func (l *link) timers() string {
	var out []string
	for _, k := range []eventKind{evConnectRetryExpires, evHoldExpires, evKeepaliveExpires, evIdleHoldExpires, evSendHoldExpires} {
		if at := *l.timer(k); !at.IsZero() {
			name, _, _ := strings.Cut(k.String(), "Timer")
			out = append(out, fmt.Sprintf("%s %v", name, at.Sub(scenario.Epoch)))
		}
	}
	return strings.Join(out, ", ")
}

func TestPostponeHold(t *testing.T) {
	m := newMachineScenario().m
	bring(m, Established)
	m.effects()
	due := scenario.Epoch.Add(90 * time.Second)
	if m.holdDue(due.Add(-1)) || !m.holdDue(due) {
		t.Fatal("hold timer")
	}
	m.postponeHold(due.Add(time.Second))
	if m.holdDue(due) || !m.holdDue(due.Add(time.Second)) {
		t.Error("not postponed")
	}
	c := machineConfig{sendHoldTime: time.Minute}
	if c.sendHold(time.Hour) != time.Minute {
		t.Error("send hold time")
	}
	c.sendHoldTime = 0
	if c.sendHold(time.Hour) != 2*time.Hour || c.sendHold(time.Second) != 8*time.Minute {
		t.Error("default send hold time")
	}
}

// With GTSM our kernel drops the RST of a peer that does not listen yet: the first
// attempts are given up soon.
func TestHangingAttempts(t *testing.T) {
	m := newMachineScenario().m
	m.cfg.dialMin, m.cfg.dialTimeout = 250*time.Millisecond, time.Second
	now := scenario.Epoch
	m.step(now, event{kind: evManualStart})
	for _, want := range []time.Duration{250, 500, 1000, 1000} {
		at := m.deadline()
		if got := at.Sub(now); got != want*time.Millisecond {
			t.Fatalf("an attempt may take %v, want %v ms", got, want)
		}
		m.advance(at)
		if m.primary.state != Active {
			t.Fatalf("%v instead of a wait", m.primary.state)
		}
		now = m.deadline()
		m.advance(now)
		if m.primary.state != Connect {
			t.Fatalf("%v instead of a new attempt", m.primary.state)
		}
	}
}
