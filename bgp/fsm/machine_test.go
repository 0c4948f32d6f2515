package fsm

import (
	"cmp"
	"encoding"
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
//	config passive | id A.B.C.D | as N | strict | required | bfdhold T | holddown T
//	start | stop [quiet] | autostop [HOLD]
//	acked N | confirmed | fails N | open N [hold=90] [id=A.B.C.D] [as=N] [gr] [strict]
//	keepalive N | update N | updateerr N | headererr N | openerr N | notif N CODE/SUB | sent N
//	retry | returned
//	bfd up | down | admindown
//
// N is the number of the connection.
type machineScenario struct{ m *Machine }

func newMachineScenario() *machineScenario {
	return &machineScenario{New(Config{
		RouterID: netip.AddrFrom4([4]byte{10, 0, 0, 1}), AS: 65000,
		DialMin: 10 * time.Second, DialMax: 10 * time.Second,
	})}
}

func TestMachineScenarios(t *testing.T) {
	scenario.Files(t, "testdata/machine/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, newMachineScenario())
	})
}

// Deadline implements scenario.Clock.
func (w *machineScenario) Deadline() time.Time { return w.m.Deadline() }

// Advance implements scenario.Clock.
func (w *machineScenario) Advance(now time.Time) []string {
	before := w.state()
	w.m.Advance(now)
	return w.result(before)
}

var scenarioEvents = map[string]EventKind{
	"acked": EventConnAcked, "fails": EventConnFails, "open": EventOpen, "keepalive": EventKeepalive,
	"update": EventUpdate, "updateerr": EventUpdateError, "headererr": EventHeaderError, "openerr": EventOpenError, "notif": EventNotification,
}

// Do implements scenario.Machine.
func (w *machineScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	before := w.state()
	err := w.feed(now, words)
	return w.result(before), err
}

// feed steps the machine.
func (w *machineScenario) feed(now time.Time, words []string) error {
	switch words[0] {
	case "config":
		return w.config(words[1:])
	case "retry":
		w.m.RetryNow(now)
		w.m.Advance(now)
	case "returned":
		w.m.Returned(now)
		w.m.Advance(now)
	case "start":
		w.m.Step(now, Event{Kind: EventManualStart})
	case "stop":
		w.m.Step(now, Event{Kind: EventManualStop, Silent: len(words) > 1})
	case "autostop":
		ev := Event{Kind: EventAutomaticStop, Notification: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubMaxPrefixes}}
		if len(words) > 1 {
			ev.IdleHold, _ = time.ParseDuration(words[1])
		}
		w.m.Step(now, ev)
	case "confirmed":
		w.m.Step(now, Event{Kind: EventConnConfirmed, Conn: w.m.NextConn()})
	case "bfd":
		w.m.Step(now, Event{Kind: map[string]EventKind{"up": EventBFDUp, "down": EventBFDDown, "admindown": EventBFDAdminDown}[words[1]]})
	case "sent":
		w.m.Sent(now, number(words[1]))
	default:
		ev, err := parseEvent(words)
		if err != nil {
			return err
		}
		w.m.Step(now, ev)
	}
	return nil
}

func number(s string) ConnID {
	n, _ := strconv.Atoi(s)
	return ConnID(n)
}

func parseEvent(words []string) (Event, error) {
	kind, ok := scenarioEvents[words[0]]
	if !ok || len(words) < 2 {
		return Event{}, fmt.Errorf("unknown %q", words)
	}
	ev := Event{Kind: kind, Conn: number(words[1]), Negotiated: remoteOpen()}
	switch kind {
	case EventUpdateError:
		ev.Notification = wire.Notification{Code: wire.CodeUpdate, Subcode: wire.SubMalformedAttributes}
	case EventHeaderError:
		ev.Notification = wire.Notification{Code: wire.CodeHeader, Subcode: wire.SubBadLength}
	case EventOpenError:
		ev.Notification = wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubBadPeerAS}
	}
	for _, o := range words[2:] {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "hold":
			n, _ := strconv.Atoi(value)
			ev.Negotiated.HoldTime = time.Duration(n) * time.Second
		case "id":
			ev.Negotiated.RemoteID = netip.MustParseAddr(value)
		case "as":
			n, _ := strconv.Atoi(value)
			ev.Negotiated.RemoteAS = uint32(n)
		case "strict":
			ev.Negotiated.BFDStrict = true
		case "gr":
			ev.Negotiated.Remote.GracefulRestart = &wire.GracefulRestart{}
		default:
			var c, s int
			if _, err := fmt.Sscanf(o, "%d/%d", &c, &s); err != nil {
				return ev, err
			}
			ev.Notification = wire.Notification{Code: wire.ErrorCode(c), Subcode: uint8(s)}
		}
	}
	return ev, nil
}

func (w *machineScenario) config(words []string) error {
	for len(words) > 0 {
		switch words[0] {
		case "passive":
			w.m.cfg.Passive = true
			words = words[1:]
		case "strict":
			w.m.cfg.Strict.Enabled = true
			words = words[1:]
		case "required":
			w.m.cfg.Strict.Enabled, w.m.cfg.Strict.Required = true, true
			words = words[1:]
		case "bfdhold", "holddown":
			d, err := time.ParseDuration(words[1])
			if err != nil {
				return err
			}
			if words[0] == "holddown" {
				w.m.cfg.Strict.HoldDown = d
			} else {
				w.m.cfg.Strict.HoldTime = d
			}
			words = words[2:]
		case "id":
			w.m.cfg.RouterID = netip.MustParseAddr(words[1])
			words = words[2:]
		case "as":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			w.m.cfg.AS = uint32(n)
			words = words[2:]
		default:
			return fmt.Errorf("unknown setting %q", words[0])
		}
	}
	return nil
}

// result prints what came out and the state if it changed.
func (w *machineScenario) result(before string) []string {
	var parts []string
	for _, e := range w.m.Effects() {
		parts = append(parts, e.String())
	}
	if s := w.state(); s != before {
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"-> " + strings.Join(parts, ", ")}
}

// state returns the state of the machine, and what it waits for there.
func (w *machineScenario) state() string {
	s := w.m.State().String()
	b, waits := w.m.WaitsForBFD()
	switch {
	case waits && b.Until.IsZero():
		s += " waits until BFD has been Up until " + b.HeldDown.Sub(scenario.Epoch).String()
	case waits:
		s += " waits for BFD until " + b.Until.Sub(scenario.Epoch).String()
	}
	if waits && (w.m.first.bfd.confirmed || w.m.second.bfd.confirmed) {
		s += ", confirmed"
	}
	return s
}

// remoteOpen is what the OPENs come to unless the scenario says otherwise.
func remoteOpen() *Negotiated {
	return &Negotiated{HoldTime: 90 * time.Second, RemoteID: netip.AddrFrom4([4]byte{10, 0, 0, 2}), RemoteAS: 65000}
}

// TestMachineCells feeds every event to a link in every state and writes down the
// whole table of RFC 4271, Section 8.2.2.
func TestMachineCells(t *testing.T) {
	var out strings.Builder
	for s := Idle; s <= Established; s++ {
		fmt.Fprintf(&out, "%v\n", s)
		for k := range eventKinds {
			fmt.Fprintf(&out, "\t%-26v %s\n", k, cell(s, k, cellOptions{}))
		}
	}
	for _, o := range []cellOptions{{waits: true}, {waits: true, confirmed: true}, {strict: true}} {
		fmt.Fprintln(&out, o)
		for k := range eventKinds {
			s := OpenSent
			if o.strict {
				s = OpenConfirm
			}
			fmt.Fprintf(&out, "\t%-26v %s\n", k, cell(s, k, o))
		}
	}
	fmt.Fprintf(&out, "%v, stopped\n", Idle)
	for _, k := range []EventKind{EventManualStart, EventIdleHoldExpires, EventConnConfirmed} {
		fmt.Fprintf(&out, "\t%-26v %s\n", k, cell(Idle, k, cellOptions{stopped: true}))
	}
	scenario.Golden(t, "testdata/cells.txt", out.String())
}

// cellOptions says in which part of a state a cell is.
type cellOptions struct{ stopped, waits, confirmed, strict bool }

func (o cellOptions) String() string {
	switch {
	case o.confirmed:
		return "OpenSent, OpenSentConfirmedBfdUpPending"
	case o.waits:
		return "OpenSent, OpenSentBfdUpPending"
	}
	return "OpenConfirm, strict mode"
}

// apply brings a connection in OpenSent there.
func (o cellOptions) apply(m *Machine, conn ConnID) {
	m.cfg.Strict.Enabled = true
	strict := remoteOpen()
	strict.BFDStrict = true
	if o.strict {
		m.Step(scenario.Epoch, Event{Kind: EventBFDUp})
		m.first.strict = true
	}
	if o.waits {
		m.Step(scenario.Epoch, Event{Kind: EventOpen, Conn: conn, Negotiated: strict})
	}
	if o.confirmed {
		m.Step(scenario.Epoch, Event{Kind: EventKeepalive, Conn: conn})
	}
	m.Effects()
}

// cell brings a machine into state s, feeds one event and describes the outcome
// with the timers that run afterwards.
func cell(s State, k EventKind, o cellOptions) string {
	w := newMachineScenario()
	m := w.m
	conn := bring(m, s)
	m.first.stopped = o.stopped
	o.apply(m, conn)
	before := w.state()
	ev := Event{Kind: k, Conn: conn, Negotiated: remoteOpen()}
	switch k {
	case EventConnConfirmed:
		ev.Conn = m.NextConn()
	case EventHeaderError:
		ev.Notification = wire.Notification{Code: wire.CodeHeader, Subcode: wire.SubBadType}
	case EventOpenError:
		ev.Notification = wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubBadID}
	case EventUpdateError:
		ev.Notification = wire.Notification{Code: wire.CodeUpdate, Subcode: wire.SubNextHop}
	case EventNotification:
		ev.Notification = wire.Notification{Code: wire.CodeCease, Subcode: wire.SubReset}
	case EventVersionError:
		ev.Notification = wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubVersion}
	}
	if timer := m.first.timer(k); timer != nil {
		*timer = scenario.Epoch
		m.Advance(scenario.Epoch)
	} else if k == EventCollisionDump {
		m.first.step(scenario.Epoch, ev)
		m.settle()
	} else {
		m.Step(scenario.Epoch, ev)
	}
	res := cmp.Or(strings.Join(w.result(before), ""), "-")
	if timers := m.first.timers(); timers != "" {
		res += " | " + timers
	}
	return res
}

// bring steps a machine into a state as a peer without failures does.
func bring(m *Machine, s State) ConnID {
	if s == Idle {
		m.first.stopped = false
		m.first.rest(scenario.Epoch, time.Minute)
		return 0
	}
	m.cfg.Passive = s == Active
	m.Step(scenario.Epoch, Event{Kind: EventManualStart})
	m.cfg.Passive = false
	conn := m.first.id
	for _, k := range []EventKind{EventConnAcked, EventOpen, EventKeepalive} {
		if m.State() < s && s > Active {
			m.Step(scenario.Epoch, Event{Kind: k, Conn: conn, Negotiated: remoteOpen()})
		}
	}
	return conn
}

func (c *connection) timer(k EventKind) *time.Time {
	switch k {
	case EventConnectRetryExpires:
		return &c.retryAt
	case EventHoldExpires:
		return &c.holdAt
	case EventKeepaliveExpires:
		return &c.keepaliveAt
	case EventIdleHoldExpires:
		return &c.idleAt
	case EventBFDHoldExpires:
		return &c.bfd.until
	case EventSendHoldExpires:
		return &c.sendHoldAt
	}
	return nil
}

func (c *connection) timers() string {
	var out []string
	for _, k := range []EventKind{EventConnectRetryExpires, EventHoldExpires, EventKeepaliveExpires, EventIdleHoldExpires, EventSendHoldExpires, EventBFDHoldExpires} {
		if at := *c.timer(k); !at.IsZero() {
			name, _, _ := strings.Cut(k.String(), "Timer")
			out = append(out, fmt.Sprintf("%s %v", name, at.Sub(scenario.Epoch)))
		}
	}
	return strings.Join(out, ", ")
}

func TestPostponeHold(t *testing.T) {
	m := newMachineScenario().m
	bring(m, Established)
	m.Effects()
	due := scenario.Epoch.Add(90 * time.Second)
	if m.HoldDue(due.Add(-1)) || !m.HoldDue(due) {
		t.Fatal("hold timer")
	}
	m.PostponeHold(due.Add(time.Second))
	if m.HoldDue(due) || !m.HoldDue(due.Add(time.Second)) {
		t.Error("not postponed")
	}
	c := Config{SendHold: time.Minute}
	if c.sendHold(time.Hour) != time.Minute {
		t.Error("send hold time")
	}
	c.SendHold = 0
	if c.sendHold(time.Hour) != 2*time.Hour || c.sendHold(time.Second) != 8*time.Minute {
		t.Error("default send hold time")
	}
}

// With GTSM our kernel drops the RST of a peer that does not listen yet: the first
// attempts are given up soon.
func TestHangingAttempts(t *testing.T) {
	m := newMachineScenario().m
	m.cfg.DialMin, m.cfg.DialMax = 250*time.Millisecond, time.Second
	now := scenario.Epoch
	m.Step(now, Event{Kind: EventManualStart})
	for _, want := range []time.Duration{250, 500, 1000, 1000} {
		at := m.Deadline()
		if got := at.Sub(now); got != want*time.Millisecond {
			t.Fatalf("an attempt may take %v, want %v ms", got, want)
		}
		m.Advance(at)
		if m.first.state != Active {
			t.Fatalf("%v instead of a wait", m.first.state)
		}
		now = m.Deadline()
		m.Advance(now)
		if m.first.state != Connect {
			t.Fatalf("%v instead of a new attempt", m.first.state)
		}
	}
}

// TestAccessors: what an owner asks a machine.
func TestAccessors(t *testing.T) {
	m := newMachineScenario().m
	now := scenario.Epoch
	if !m.Stopped() || m.Failures() != 0 || !m.RefusedUntil().IsZero() || !m.Deadline().IsZero() {
		t.Errorf("a new machine: %+v", m)
	}
	conn := bring(m, Established)
	if m.Stopped() {
		t.Error("stopped after a start")
	}
	m.Effects()
	m.Received(now.Add(30*time.Second), conn)
	m.Received(now.Add(60*time.Second), conn+1) // of a connection that there is not
	if !m.HoldDue(now.Add(120*time.Second)) || m.HoldDue(now.Add(120*time.Second-1)) {
		t.Error("Received does not restart the HoldTimer")
	}
	if out := m.Effects(); out != nil {
		t.Errorf("Received has effects: %v", out)
	}
	m.Step(now, Event{Kind: EventAutomaticStop, IdleHold: time.Hour})
	if got := m.RefusedUntil(); got != now.Add(time.Hour) {
		t.Errorf("refused until %v", got)
	}
	m.Step(now, Event{Kind: EventManualStart})
	m.Step(now, Event{Kind: EventConnFails, Conn: conn + 1})
	if m.Failures() != 1 {
		t.Errorf("%d failures", m.Failures())
	}
}

// TestConfigure: a machine follows another configuration from the next event on; zero
// fields have their defaults.
func TestConfigure(t *testing.T) {
	m := New(Config{})
	m.Configure(Config{Passive: true})
	m.Step(scenario.Epoch, Event{Kind: EventManualStart})
	if m.State() != Active || !m.Deadline().IsZero() {
		t.Errorf("passive: %v, deadline %v", m.State(), m.Deadline())
	}
	c := Config{RetryMax: 10 * time.Millisecond, IdleHoldMax: 100 * time.Millisecond}.withDefaults()
	if c.RetryMin != c.RetryMax || c.IdleHoldMin != c.IdleHoldMax || c.DialMin != 2*time.Second || c.DialMax != c.DialMin || c.Random() != 0 {
		t.Errorf("%+v", c)
	}
	if c := (Config{}).withDefaults(); c.RetryMin != 50*time.Millisecond || c.RetryMax != 5*time.Second || c.IdleHoldMin != time.Second || c.IdleHoldMax != time.Minute {
		t.Errorf("%+v", c)
	}
}

// TestOpenWithoutNegotiated: an event without what it should have is no reason to panic.
func TestOpenWithoutNegotiated(t *testing.T) {
	m := newMachineScenario().m
	conn := bring(m, OpenSent)
	other := m.NextConn()
	m.Step(scenario.Epoch, Event{Kind: EventConnConfirmed, Conn: other})
	m.Step(scenario.Epoch, Event{Kind: EventOpen, Conn: other})
	m.Step(scenario.Epoch, Event{Kind: EventOpen, Conn: conn})
	m.Step(scenario.Epoch, Event{Kind: EventKeepalive, Conn: conn})
	if m.State() != Established || !m.Deadline().IsZero() {
		t.Errorf("%v, deadline %v", m.State(), m.Deadline())
	}
}

func TestNoCapabilities(t *testing.T) {
	m := newMachineScenario().m
	conn := bring(m, OpenSent)
	n := wire.Notification{Code: wire.CodeOpen, Subcode: wire.SubOptionalParameter}
	m.Step(scenario.Epoch, Event{Kind: EventNotification, Conn: conn, Notification: n})
	at := m.Deadline()
	if !m.NoCapabilities(at) || m.NoCapabilities(at.Add(plainTime)) {
		t.Error("the next OPEN has capabilities, or any later one has none")
	}
}

func TestText(t *testing.T) {
	for want, v := range map[string]encoding.TextMarshaler{"OpenSent": OpenSent, "long-lived": RestartLongLived} {
		if b, err := v.MarshalText(); string(b) != want || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
}
