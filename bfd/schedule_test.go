package bfd

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// flight is a packet on the link.
type flight struct {
	at  time.Duration
	to  int
	raw []byte
}

// link is two sessions and what lies between them, in virtual time.
type link struct {
	t    *testing.T
	rnd  *rand.Rand
	now  time.Duration
	ends [2]*Session
	dead [2]bool // sends nothing any more and hears nothing
	air  []flight
	loss float64
	dup  float64
	lag  time.Duration // longest delay of a packet; reorders
	got  [2]time.Duration
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
		schedule(t, uint64(i))
		if t.Failed() {
			t.Fatalf("schedule %d", i)
		}
	}
}

func schedule(t *testing.T, seed uint64) {
	l := &link{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	auth := l.auth()
	for i := range l.ends {
		s, err := NewSession(l.config(auth, i), uint32(i+1), l.rnd.Uint32(), 0)
		if err != nil {
			t.Fatal(err)
		}
		l.ends[i] = s
	}
	l.loss, l.dup, l.lag = l.rnd.Float64()*0.6, l.rnd.Float64()*0.3, time.Duration(l.rnd.IntN(30))*time.Millisecond
	for range 1 + l.rnd.IntN(3) {
		l.run(l.now + time.Duration(l.rnd.IntN(2000))*time.Millisecond)
		i := l.rnd.IntN(2)
		c := l.config(auth, i)
		c.AdminDown = l.rnd.IntN(4) == 0
		l.apply(i, c)
	}
	l.converge(auth)
	l.stop(l.rnd.IntN(2))
}

func (l *link) auth() Auth {
	typ := AuthType(l.rnd.IntN(6))
	if typ == AuthNone {
		return Auth{}
	}
	return Auth{Type: typ, Keys: []AuthKey{{ID: 1, Secret: "k"}}}
}

func (l *link) config(a Auth, i int) SessionConfig {
	ms := func() time.Duration { return time.Duration(10+l.rnd.IntN(190)) * time.Millisecond }
	return SessionConfig{DesiredMinTx: ms(), RequiredMinRx: ms(), Multiplier: uint8(1 + l.rnd.IntN(5)), Auth: a, Passive: i == 1 && l.rnd.IntN(3) == 0}
}

func (l *link) apply(i int, c SessionConfig) {
	e, err := l.ends[i].Configure(l.now, c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.effects(i, e)
}

// run plays until at.
func (l *link) run(at time.Duration) {
	for l.step(at) {
	}
	l.now = at
}

// step does whatever comes first, unless that is after limit.
func (l *link) step(limit time.Duration) bool {
	next, who, packet := limit+1, -1, -1
	for i, s := range l.ends {
		due := s.Next()
		if due != s.detectAt() {
			due = min(due+time.Duration(l.rnd.Int64N(int64(s.Slack())+1)), s.detectAt())
		}
		if !l.dead[i] && due < next {
			next, who = due, i
		}
	}
	for i, f := range l.air {
		if f.at < next {
			next, who, packet = f.at, f.to, i
		}
	}
	if who < 0 || next > limit {
		return false
	}
	l.now = max(l.now, next)
	if packet < 0 {
		l.effects(who, l.ends[who].Advance(l.now))
		return true
	}
	raw := l.air[packet].raw
	l.air = append(l.air[:packet], l.air[packet+1:]...)
	if l.dead[who] {
		return true
	}
	p, err := ParsePacket(raw)
	if err != nil {
		l.t.Fatal(err)
	}
	e := l.ends[who].Receive(l.now, &p)
	if e&EffectRefused == 0 {
		l.got[who] = l.now
	}
	l.effects(who, e)
	return true
}

// effects sends what an end has to send into the link.
func (l *link) effects(i int, e Effects) {
	if e&EffectSend == 0 {
		return
	}
	raw := l.ends[i].AppendPacket(nil, l.now)
	for copies := 0; copies < 3; copies++ {
		if l.rnd.Float64() >= l.loss {
			lag := time.Duration(0)
			if l.lag > 0 {
				lag = time.Duration(l.rnd.Int64N(int64(l.lag)))
			}
			l.air = append(l.air, flight{l.now + lag, 1 - i, raw})
		}
		if l.rnd.Float64() >= l.dup {
			return
		}
	}
}

// converge mends the link and the configuration and wants both ends Up for good.
func (l *link) converge(a Auth) {
	l.loss, l.dup, l.lag = 0, 0, 0
	for i := range l.ends {
		l.apply(i, SessionConfig{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 50 * time.Millisecond, Multiplier: 3, Auth: a})
	}
	l.run(l.now + 20*time.Second) // sequence numbers may first have to be forgotten
	for i, s := range l.ends {
		if state, reason, _ := s.State(); state != StateUp {
			l.t.Errorf("end %d is %v (%v) on a good link", i, state, reason)
		}
		if s.poll || s.activeTx != s.cfgTx || s.activeRx != s.cfgRx {
			l.t.Errorf("end %d: Poll Sequence did not end", i)
		}
	}
	before := [2]uint64{l.ends[0].downs, l.ends[1].downs}
	l.run(l.now + 2*time.Second)
	if before != [2]uint64{l.ends[0].downs, l.ends[1].downs} {
		l.t.Error("flapped on a good link")
	}
}

// stop makes one end vanish in the middle of bad weather.
func (l *link) stop(i int) {
	l.loss, l.dup, l.lag = l.rnd.Float64()*0.6, l.rnd.Float64()*0.3, time.Duration(l.rnd.IntN(30))*time.Millisecond
	l.run(l.now + time.Duration(l.rnd.IntN(500))*time.Millisecond)
	l.dead[i] = true
	stopped := l.now
	other := l.ends[1-i]
	for other.state == StateUp {
		bound := max(l.got[1-i], stopped) + l.lag + other.detectTime()
		if !l.step(bound) {
			break
		}
		if l.now > bound {
			l.t.Errorf("still Up %v after the other end stopped", l.now-stopped)
			return
		}
	}
	if limit := max(l.got[1-i], stopped) + l.lag + other.detectTime(); other.state == StateUp && l.now >= limit {
		l.t.Error("Up beyond the detection time")
	}
	l.run(l.now + 30*time.Second)
	if other.state == StateUp {
		l.t.Error("Up for ever with a dead neighbour")
	}
}
