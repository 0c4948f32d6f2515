package bfd

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden scenarios in testdata")

// TestScenarios plays every testdata/*.txt. A line that begins with t=+TIME is an
// input at that time; the indented lines below it are what the session did, and
// are compared. -update rewrites them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; got:\n%s", file, got)
			}
		})
	}
}

// stage is one running scenario.
type stage struct {
	t    *testing.T
	out  bytes.Buffer
	s    *Session
	cfg  SessionConfig
	now  time.Duration
	peer authState // signs what the scenario sends
	// Identical packets in a row are folded into one line.
	line       string
	count      int
	last       time.Duration
	least, max time.Duration
}

func play(t *testing.T, script string) []byte {
	g := &stage{t: t}
	for _, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		g.input(line)
	}
	g.flush()
	return g.out.Bytes()
}

func (g *stage) input(line string) {
	words := strings.Fields(line)
	if len(words) == 0 || !strings.HasPrefix(words[0], "t=+") {
		g.flush()
		fmt.Fprintln(&g.out, line)
		return
	}
	at, err := time.ParseDuration(words[0][3:])
	if err != nil {
		g.t.Fatal(line, err)
	}
	g.run(at)
	g.flush()
	fmt.Fprintln(&g.out, line)
	if len(words) > 1 {
		g.do(words[1], words[2:])
	}
}

// run lets time pass until at.
func (g *stage) run(at time.Duration) {
	for g.s != nil {
		next := g.s.Next() + g.s.Slack()
		if g.s.detectAt() < next {
			next = g.s.detectAt()
		}
		if next > at {
			break
		}
		g.now = max(next, g.now)
		g.effects(g.s.Advance(g.now))
	}
	g.now = at
}

func (g *stage) do(verb string, args []string) {
	var e Effects
	var err error
	switch verb {
	case "new":
		g.cfg = SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3}
		g.configure(args)
		g.s, err = NewSession(g.cfg, 1, 1, g.now)
		g.effects(g.s.Advance(g.now + g.s.Slack()))
	case "set":
		g.configure(args)
		e, err = g.s.Configure(g.now, g.cfg)
	case "rx":
		e, err = g.receive(args)
	case "echo": // a packet of ours comes back
		p := Packet{State: states[args[0]], Multiplier: 3, MyDiscr: 1, YourDiscr: 1}
		e = g.s.receiveEcho(g.now, &p)
	case "c-bit":
		g.s.SetControlIndependent(args[0] == "on")
	default:
		g.t.Fatalf("unknown verb %q", verb)
	}
	if err != nil {
		fmt.Fprintf(&g.out, "    error: %v\n", err)
	}
	g.effects(e)
}

func (g *stage) configure(args []string) {
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
			g.t.Fatalf("unknown setting %q", a)
		}
	}
}

var states = map[string]State{"AdminDown": AdminDown, "Down": Down, "Init": Init, "Up": Up}

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
			g.t.Fatalf("unknown field %q", a)
		}
	}
	b := p.Append(nil)
	if peer.Type != AuthNone {
		peer.last = [headerLen]byte{} // counts up whatever the type
		b = peer.sign(b, 0)
	}
	if break_ >= 0 {
		b[min(break_, len(b)-1)] ^= 1
	}
	q, err := Parse(b)
	if err != nil {
		return 0, err
	}
	return g.s.Receive(g.now, &q), nil
}

// effects carries out and prints what the session asks for.
func (g *stage) effects(e Effects) {
	if e&EffectRefused != 0 {
		g.flush()
		fmt.Fprintf(&g.out, "    %s refused\n", stamp(g.now))
	}
	if e&EffectState != 0 {
		g.flush()
		state, reason, diag := g.s.State()
		fmt.Fprintf(&g.out, "    %s %v", stamp(g.now), state)
		if reason != ReasonNone {
			fmt.Fprintf(&g.out, " (%v, diag %d)", reason, diag)
		}
		fmt.Fprintln(&g.out)
	}
	if e&EffectSend != 0 {
		g.sent(g.s.AppendPacket(nil, g.now))
	}
}

func (g *stage) sent(b []byte) {
	p, err := Parse(b)
	if err != nil {
		g.t.Fatal("sent what it would not accept:", err)
	}
	line := fmt.Sprintf("-> %v%s%s%s your=%d diag=%d tx=%v rx=%v mult=%d", p.State,
		word(p.Poll, " P"), word(p.Final, " F"), word(p.ControlIndependent, " C"), p.YourDiscr, p.Diag, p.DesiredMinTx, p.RequiredMinRx, p.Multiplier)
	if p.auth != nil {
		line += fmt.Sprintf(" auth=%d key=%d len=%d", p.auth[0], p.auth[2], len(p.auth))
	}
	if line == g.line {
		gap := g.now - g.last
		if g.count == 0 {
			g.least, g.max = gap, gap
		}
		g.least, g.max, g.last = min(g.least, gap), max(g.max, gap), g.now
		g.count++
		return
	}
	g.flush()
	fmt.Fprintf(&g.out, "    %s %s\n", stamp(g.now), line)
	g.line, g.last = line, g.now
}

// flush ends a run of identical packets.
func (g *stage) flush() {
	if g.count > 0 {
		fmt.Fprintf(&g.out, "    ... %d more like it, %s-%s apart\n", g.count, g.least.Round(time.Millisecond/10), g.max.Round(time.Millisecond/10))
	}
	g.line, g.count = "", 0
}

func word(set bool, w string) string {
	if set {
		return w
	}
	return ""
}

func stamp(d time.Duration) string { return fmt.Sprintf("t=+%.3fs", d.Seconds()) }
