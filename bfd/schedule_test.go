package bfd_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bfd/bfdtest"
)

// schedule is two sessions and what is done to them.
type schedule struct {
	*bfdtest.Pair
	t   *testing.T
	rnd *rand.Rand
}

// TestSchedules plays random schedules of loss, duplication, reordering,
// reconfiguration and AdminDown and checks what BFD is there for: once an end has
// stopped, the other one is not Up for longer than the detection time that it had
// when the last packet arrived; and once the link is good, both come Up and stay.
// HYPERFIB_BFD_SCHEDULES says how many; CI plays 100000, which takes a minute.
func TestSchedules(t *testing.T) {
	n := 1000
	if os.Getenv("HYPERFIB_CI") == "1" && !testing.Short() {
		n = 100000
	}
	if v, err := strconv.Atoi(os.Getenv("HYPERFIB_BFD_SCHEDULES")); err == nil {
		n = v
	}
	for i := range n {
		play(t, uint64(i))
		if t.Failed() {
			t.Fatalf("schedule %d", i)
		}
	}
}

func play(t *testing.T, seed uint64) {
	s := &schedule{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	auth := s.auth()
	var err error
	if s.Pair, err = bfdtest.NewPair(s.config(auth, false), s.config(auth, true), seed); err != nil {
		t.Fatal(err)
	}
	s.weather()
	for range 1 + s.rnd.IntN(3) {
		s.Run(time.Duration(s.rnd.IntN(2000)) * time.Millisecond)
		i := s.rnd.IntN(2)
		c := s.config(auth, i == 1)
		c.AdminDown = s.rnd.IntN(4) == 0
		s.apply(s.end(i), c)
	}
	s.converge(auth)
	s.stop(s.rnd.IntN(2))
}

func (s *schedule) end(i int) *bfdtest.End { return [...]*bfdtest.End{&s.A, &s.B}[i] }

// weather makes both directions bad.
func (s *schedule) weather() {
	s.A.Link = bfdtest.Link{Loss: s.rnd.Float64() * 0.6, Duplicate: s.rnd.Float64() * 0.3, Delay: time.Duration(s.rnd.IntN(30)) * time.Millisecond}
	s.B.Link = s.A.Link
}

func (s *schedule) auth() bfd.Auth {
	typ := bfd.AuthType(s.rnd.IntN(6))
	if typ == bfd.AuthNone {
		return bfd.Auth{}
	}
	return bfd.Auth{Type: typ, Keys: []bfd.AuthKey{{ID: 1, Secret: "k"}}}
}

func (s *schedule) config(a bfd.Auth, mayWait bool) bfd.SessionConfig {
	ms := func() time.Duration { return time.Duration(10+s.rnd.IntN(190)) * time.Millisecond }
	return bfd.SessionConfig{DesiredMinTx: ms(), RequiredMinRx: ms(), Multiplier: uint8(1 + s.rnd.IntN(5)), Auth: a, Passive: mayWait && s.rnd.IntN(3) == 0}
}

func (s *schedule) apply(e *bfdtest.End, c bfd.SessionConfig) {
	if err := e.Configure(c); err != nil {
		s.t.Fatal(err)
	}
}

// converge mends the link and the configuration and wants both ends Up for good.
func (s *schedule) converge(a bfd.Auth) {
	s.A.Link, s.B.Link = bfdtest.Link{}, bfdtest.Link{}
	for i := range 2 {
		s.apply(s.end(i), bfd.SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3, Auth: a})
	}
	s.Run(20 * time.Second) // sequence numbers may first have to be forgotten
	for i := range 2 {
		session := s.end(i).Session
		if state, reason, _ := session.State(); state != bfd.StateUp {
			s.t.Errorf("end %d is %v (%v) on a good link", i, state, reason)
		}
		if session.Polling() {
			s.t.Errorf("end %d: Poll Sequence did not end", i)
		}
	}
	before := s.A.Session.Downs() + s.B.Session.Downs()
	s.Run(2 * time.Second)
	if before != s.A.Session.Downs()+s.B.Session.Downs() {
		s.t.Error("flapped on a good link")
	}
}

// stop makes one end vanish in the middle of bad weather.
func (s *schedule) stop(i int) {
	s.weather()
	s.Run(time.Duration(s.rnd.IntN(500)) * time.Millisecond)
	s.end(i).Stopped = true
	stopped, other := s.Now(), s.end(1-i)
	up := func() bool {
		state, _, _ := other.Session.State()
		return state == bfd.StateUp
	}
	for up() {
		limit := max(other.Heard, stopped) + other.Link.Delay + other.Session.DetectTime()
		if !s.Step(limit) {
			s.t.Errorf("Up beyond the detection time, %v after the other end stopped", limit-stopped)
			return
		}
		if s.Now() > limit {
			s.t.Errorf("still Up %v after the other end stopped", s.Now()-stopped)
			return
		}
	}
	s.Run(30 * time.Second)
	if up() {
		s.t.Error("Up for ever with a dead neighbour")
	}
}
