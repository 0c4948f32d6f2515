package unnumbered

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// bench plays testdata/*.txt: a Tracker, what changes of its list of neighbours, and a Prober. The inputs:
//
//	config max N known N
//	link NAME INDEX LOCAL|-       an interface, with our address
//	unlink NAME
//	ra INDEX ADDR MAC             an advertisement; MAC is a number; "returned" is what Heard reports
//	flood INDEX FROM N [MAC]      N advertisements of as many addresses, beginning with fe80::FROM, and as many MACs, or one
//	advertised ADDR               an advertisement, before its sender has answered: "ask" is that it is to be asked
//	forged FROM N                 N of them, beginning with fe80::FROM: how many are to be asked
//	answered INDEX ADDR MAC       an answer; one that counts is an advertisement for the Tracker
//	pending                       how many were asked
//	up NAME ADDR ID AS [synced]   the session with a listed neighbour
//	retained NAME ADDR ID AS      it is down, and its routes are retained
//	down NAME ADDR
//	known NAME
type bench struct {
	t    *Tracker
	p    Prober
	list []Neighbor
}

func (b *bench) Deadline() time.Time { return b.t.Deadline() }

func (b *bench) Advance(now time.Time) []string {
	b.t.Advance(now)
	return b.changes()
}

// changes says what is different in the list.
func (b *bench) changes() (out []string) {
	list := b.t.Neighbors()
	seen := map[Neighbor]bool{}
	for _, n := range b.list {
		seen[n] = true
	}
	now := map[Neighbor]bool{}
	for _, n := range list {
		now[n] = true
	}
	for _, n := range b.list {
		if !now[n] {
			out = append(out, fmt.Sprintf("- %s %v from %v", n.Interface, n.Addr, n.Local))
		}
	}
	for _, n := range list {
		if !seen[n] {
			out = append(out, fmt.Sprintf("+ %s %v from %v", n.Interface, n.Addr, n.Local))
		}
	}
	b.list = list
	return out
}

func (b *bench) Do(now time.Time, w []string) (out []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	number := func(s string, base int) int {
		n, err := strconv.ParseInt(s, base, 64)
		if err != nil {
			panic(err)
		}
		return int(n)
	}
	mac := func(n int) [6]byte { return [6]byte{2, 0, 0, 0, byte(n >> 8), byte(n)} }
	if len(w) == 0 {
		return nil, nil
	}
	switch w[0] {
	case "config":
		b.t = New(Config{Max: number(w[2], 10), Known: number(w[4], 10)})
	case "link":
		l := Link{Interface: w[1], IfIndex: number(w[2], 10)}
		if w[3] != "-" {
			l.Local = netip.MustParseAddr(w[3])
		}
		b.t.SetLink(now, l)
	case "unlink":
		b.t.RemoveLink(w[1])
	case "ra":
		if n, again := b.t.Heard(now, number(w[1], 10), netip.MustParseAddr(w[2]), mac(number(w[3], 10))); again {
			out = append(out, fmt.Sprintf("returned %s %v from %v", n.Interface, n.Addr, n.Local))
		}
	case "flood":
		from, n := number(w[2], 16), number(w[3], 10)
		for i := range n {
			m := from + i
			if len(w) > 4 {
				m = number(w[4], 10)
			}
			b.t.Heard(now, number(w[1], 10), netip.MustParseAddr(fmt.Sprintf("fe80::%x", from+i)), mac(m))
		}
	case "advertised":
		if b.p.Advertised(now, netip.MustParseAddr(w[1])) {
			out = append(out, "ask")
		}
	case "forged":
		asked := 0
		for i := range number(w[2], 10) {
			if b.p.Advertised(now, netip.MustParseAddr(fmt.Sprintf("fe80::%x", number(w[1], 16)+i))) {
				asked++
			}
		}
		out = append(out, fmt.Sprint("ask ", asked))
	case "answered":
		a := netip.MustParseAddr(w[2])
		if !b.p.Answered(now, a) {
			return []string{"not asked"}, nil
		}
		b.t.Heard(now, number(w[1], 10), a, mac(number(w[3], 10)))
	case "pending":
		out = append(out, fmt.Sprint(b.p.Pending(now)))
	case "up", "down", "retained":
		s := Session{Up: w[0] == "up", Retained: w[0] == "retained"}
		if s.alive() {
			s.RouterID, s.AS, s.Synced = netip.MustParseAddr(w[3]), uint32(number(w[4], 10)), len(w) > 5
		}
		for _, n := range b.list {
			if n.Interface == w[1] && n.Addr == netip.MustParseAddr(w[2]) {
				b.t.Session(now, n, s)
				return b.changes(), nil
			}
		}
		return nil, fmt.Errorf("not listed")
	case "known":
		out = append(out, fmt.Sprint(b.t.Known(w[1])))
	default:
		return nil, fmt.Errorf("unknown word")
	}
	return append(out, b.changes()...), nil
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &bench{t: New(Config{})})
	})
}

// TestLateSession: what is said of a session that is no more, since it was another address of ours, an
// interface that is gone or a router that is not listed, counts for nothing.
func TestLateSession(t *testing.T) {
	addr := netip.MustParseAddr
	up := Session{Up: true, RouterID: addr("10.0.0.1"), AS: 1, Synced: true}
	tr := New(Config{Max: 1})
	now := scenario.Epoch
	tr.SetLink(now, Link{Interface: "eth0", IfIndex: 1, Local: addr("fe80::1")})
	tr.Heard(now, 1, addr("fe80::a"), [6]byte{2, 1})
	tr.Heard(now, 1, addr("fe80::b"), [6]byte{2, 2})
	tr.SetLink(now, Link{Interface: "eth0", IfIndex: 1, Local: addr("fe80::2")})
	for _, n := range []Neighbor{
		{"eth0", addr("fe80::a"), addr("fe80::1")}, // our address of before
		{"eth1", addr("fe80::a"), addr("fe80::2")}, // no such interface
		{"eth0", addr("fe80::c"), addr("fe80::2")}, // never heard
		{"eth0", addr("fe80::b"), addr("fe80::2")}, // not its turn
	} {
		tr.Session(now, n, up)
	}
	now = now.Add(6 * time.Second) // who has no session gives its place to the next
	tr.Advance(now)
	if list := tr.Neighbors(); len(list) != 1 || list[0].Addr != addr("fe80::b") {
		t.Errorf("%v are listed", list)
	}
}

// TestFlood: however many advertise, as whoever, an interface is tried with no more neighbours than
// Max and remembers no more routers than Known; and a real one among them gets its session.
func TestFlood(t *testing.T) {
	tr := New(Config{Max: 4, Known: 16, Patience: time.Second})
	now := scenario.Epoch
	tr.SetLink(now, Link{Interface: "eth0", IfIndex: 1, Local: netip.MustParseAddr("fe80::1")})
	real := netip.MustParseAddr("fe80::2")
	for i := range 4000 {
		now = now.Add(50 * time.Millisecond)
		tr.Heard(now, 1, netip.MustParseAddr(fmt.Sprintf("fe80::f:%x", i+1)), [6]byte{2, byte(i >> 8), byte(i)})
		if i%20 == 0 {
			tr.Heard(now, 1, real, [6]byte{2, 0xff})
		}
		tr.Advance(now)
		list := tr.Neighbors()
		if len(list) > 4 || tr.Known("eth0") > 16 {
			t.Fatalf("%d tried, %d known", len(list), tr.Known("eth0"))
		}
		for _, n := range list {
			if n.Addr == real {
				tr.Session(now, n, Session{Up: true, RouterID: real, AS: 1, Synced: true})
				return
			}
		}
		if d := tr.Deadline(); !d.IsZero() && !d.After(now) {
			t.Fatalf("the deadline %v is over at %v", d, now)
		}
	}
	t.Error("the real neighbour was never tried")
}

// TestForgeries: 300 forged advertisements a second, by hosts that nobody is and by one that answers for all of its
// addresses, with one MAC, a few, or as many. A router that comes back with another address, and another MAC, is tried as soon as
// it has answered, or when a turn ends, if others have as many places as it has; where each forgery has a MAC of its own and is
// answered, that holds for a router whose MAC is the same as before. Memory is bounded, and the sessions of others stay.
func TestForgeries(t *testing.T) {
	for _, c := range []struct {
		name     string
		answers  bool
		macs     int // how many MACs the forgeries have; 0: one each
		sameMAC  bool
		patience time.Duration // how long the router waits for its place
	}{
		{name: "nobody answers"},
		{name: "one host answers", answers: true, macs: 1},
		{name: "three hosts answer", answers: true, macs: 3, patience: 5 * time.Second},
		{name: "as many hosts answer", answers: true, sameMAC: true, patience: 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fe80::%x:%x", i>>16+1, i&0xffff)) }
			mac := func(i int) [6]byte { return [6]byte{2, byte(i >> 16), byte(i >> 8), byte(i)} }
			var p Prober
			tr := New(Config{})
			now := scenario.Epoch
			tr.SetLink(now, Link{Interface: "eth0", IfIndex: 1, Local: netip.MustParseAddr("fe80::1")})
			hear := func(a netip.Addr, m [6]byte, answers bool) {
				if p.Advertised(now, a) && answers && p.Answered(now, a) {
					tr.Heard(now, 1, a, m)
				}
			}
			listed := func(a netip.Addr) (n Neighbor, ok bool) {
				for _, n := range tr.Neighbors() {
					if n.Addr == a {
						return n, true
					}
				}
				return n, false
			}
			up := func(a netip.Addr, id string) {
				t.Helper()
				n, ok := listed(a)
				if !ok {
					t.Fatalf("%v is not listed after %v", a, now.Sub(scenario.Epoch))
				}
				tr.Session(now, n, Session{Up: true, RouterID: netip.MustParseAddr(id), AS: 65001, Synced: true})
			}
			router, other := netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b")
			hear(router, [6]byte{2, 0xa}, true)
			up(router, "10.0.0.1")
			hear(other, [6]byte{2, 0xb}, true)
			up(other, "10.0.0.2")
			const perSecond = 300
			due := time.Time{}
			for i := range 25 * perSecond {
				now = now.Add(time.Second / perSecond)
				m := mac(i)
				if c.macs > 0 {
					m = mac(i % c.macs)
				}
				hear(addr(i), m, c.answers)
				tr.Advance(now)
				if _, ok := listed(other); !ok {
					t.Fatal("the session with the other router is given up")
				}
				if n := tr.Known("eth0"); n > 64 || p.Pending(now) > 4096 {
					t.Fatalf("%d known, %d asked", n, p.Pending(now))
				}
				if i%(10*perSecond) == 10*perSecond-1 { // another address each 10 s
					m := [6]byte{2, 0xa}
					if !c.sameMAC {
						m[2] = byte(i / perSecond / 10 % 2)
					}
					if n, ok := listed(router); ok {
						tr.Session(now, n, Session{Retained: true, RouterID: netip.MustParseAddr("10.0.0.1"), AS: 65001})
					}
					router, due = netip.MustParseAddr(fmt.Sprintf("fe80::a:0:0:%x", i)), now.Add(c.patience)
					hear(router, m, true)
				}
				if _, ok := listed(router); !due.IsZero() && (ok || !now.Before(due)) {
					up(router, "10.0.0.1")
					due = time.Time{}
				}
			}
		})
	}
}
