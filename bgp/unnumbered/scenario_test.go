package unnumbered

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// bench plays testdata/*.txt: a Tracker, and what changes of its list of neighbours. The inputs:
//
//	config max N known N
//	link NAME INDEX LOCAL|-       an interface, with our address
//	unlink NAME
//	ra INDEX ADDR MAC             an advertisement; MAC is a number; "returned" is what Heard reports
//	flood INDEX FROM N            N advertisements of as many addresses and MACs, beginning with fe80::FROM
//	up NAME ADDR ID AS [synced]   the session with a listed neighbour
//	retained NAME ADDR ID AS      it is down, and its routes are retained
//	down NAME ADDR
//	known NAME
type bench struct {
	t    *Tracker
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
			b.t.Heard(now, number(w[1], 10), netip.MustParseAddr(fmt.Sprintf("fe80::%x", from+i)), mac(from+i))
		}
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
