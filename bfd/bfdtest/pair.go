package bfdtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// Pair is the two ends of a BFD session and the links between them, in virtual time, which
// begins at 0. Packets are delivered at once unless a [Link] says otherwise. Everything
// random follows from the seed. A Pair is not safe for concurrent use.
type Pair struct {
	A, B End // the two ends; a test may set their exported fields between two calls

	now    time.Duration // virtual time
	random *rand.Rand    // of the seed
	air    []flight      // packets on their way
	log    []Change      // every change so far, oldest first
}

// End is one end of a [Pair].
type End struct {
	// Session is the state machine. Its methods that return bfd.Effects are called by the
	// Pair; use those of End in their place.
	Session *bfd.Session
	// Link is what happens to the packets that this end sends from now on.
	Link Link
	// Stopped says that nothing is sent, heard or noticed by this end: its process is dead or
	// does not run.
	Stopped bool
	// Heard is when this end last accepted a packet; zero before.
	Heard time.Duration

	name string // "A" or "B"
	pair *Pair  // that it belongs to
	peer *End   // the other end
}

// Link is one direction of what joins the ends. The zero value delivers every packet once,
// at once.
type Link struct {
	// Loss and Duplicate are the probabilities, from 0 to 1, that a packet is lost, and that
	// it comes twice; the second one may come twice again, but no packet more than three
	// times. With Loss 1 the link is cut.
	Loss, Duplicate float64
	// Delay is the longest time that a packet is on its way. Each takes a random time up to
	// that, so that packets overtake each other.
	Delay time.Duration
}

// Change is a change of an end's state.
type Change struct {
	At     time.Duration // virtual time of the change
	End    string        // "A" or "B"
	State  bfd.State     // the new state
	Reason bfd.Reason    // why it was entered; ReasonNone on the way up
	Diag   bfd.Diag      // our diagnostic
}

// String returns the time, the end, its state and why.
func (c Change) String() string {
	text := fmt.Sprintf("%v %s %v", c.At, c.End, c.State)
	if c.Reason != bfd.ReasonNone {
		text += ": " + c.Reason.String()
	}
	return text
}

// flight is a packet on its way.
type flight struct {
	at     time.Duration // when it arrives
	to     *End          // the receiver
	octets []byte        // the control packet
}

// NewPair returns a pair that is about to begin. The error is a *bfd.ConfigError. Equal
// seeds give equal runs.
func NewPair(a, b bfd.SessionConfig, seed uint64) (*Pair, error) {
	p := &Pair{random: rand.New(rand.NewPCG(seed, 0))}
	p.A, p.B = End{name: "A", pair: p, peer: &p.B}, End{name: "B", pair: p, peer: &p.A}
	var err error
	for i, c := range []bfd.SessionConfig{a, b} {
		e := []*End{&p.A, &p.B}[i]
		if e.Session, err = bfd.NewSession(c, uint32(i+1), p.random.Uint32(), 0); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Now returns the virtual time.
func (p *Pair) Now() time.Duration { return p.now }

// Run lets virtual time pass and returns what has changed meanwhile, and in the calls of
// other methods before.
func (p *Pair) Run(d time.Duration) []Change {
	for end := p.now + d; ; {
		if !p.Step(end) {
			p.now = end
			break
		}
	}
	changes := p.log
	p.log = nil
	return changes
}

// Step does what comes first, the arrival of a packet or what an end has to do by itself,
// unless it comes after limit. It reports whether it did.
func (p *Pair) Step(limit time.Duration) bool {
	next, who, packet := limit+1, (*End)(nil), -1
	for _, e := range []*End{&p.A, &p.B} {
		if e.Stopped {
			continue
		}
		// At any time from Next on, Slack later at most, as a caller with many sessions does.
		due := e.Session.Next() + time.Duration(p.random.Int64N(int64(e.Session.Slack())+1))
		if due < next {
			next, who = due, e
		}
	}
	for i, f := range p.air {
		if f.at < next {
			next, who, packet = f.at, f.to, i
		}
	}
	if who == nil {
		return false
	}
	p.now = max(p.now, next)
	if packet < 0 {
		who.carryOut(who.Session.Advance(p.now))
		return true
	}
	octets := p.air[packet].octets
	p.air = append(p.air[:packet], p.air[packet+1:]...)
	who.receive(octets)
	return true
}

// Configure changes the parameters of a running end, as bfd.Session's Configure does.
func (e *End) Configure(c bfd.SessionConfig) error {
	effects, err := e.Session.Configure(e.pair.now, c)
	e.carryOut(effects)
	return err
}

// SetAdminDown takes an end to AdminDown, or lets it go again.
func (e *End) SetAdminDown(on bool) { e.carryOut(e.Session.SetAdminDown(e.pair.now, on)) }

func (e *End) receive(octets []byte) {
	if e.Stopped {
		return
	}
	packet, err := bfd.ParsePacket(octets)
	if err != nil {
		return // a session sends nothing of that kind
	}
	effects := e.Session.Receive(e.pair.now, &packet)
	if effects&bfd.EffectRefused == 0 {
		e.Heard = e.pair.now
	}
	e.carryOut(effects)
}

// carryOut does what a session asks for.
func (e *End) carryOut(effects bfd.Effects) {
	p := e.pair
	if effects&bfd.EffectState != 0 {
		state, reason, diag := e.Session.State()
		p.log = append(p.log, Change{At: p.now, End: e.name, State: state, Reason: reason, Diag: diag})
	}
	if effects&bfd.EffectSend == 0 {
		return
	}
	octets := e.Session.AppendPacket(nil, p.now)
	for range 3 {
		if p.random.Float64() >= e.Link.Loss {
			delay := time.Duration(0)
			if e.Link.Delay > 0 {
				delay = time.Duration(p.random.Int64N(int64(e.Link.Delay)))
			}
			p.air = append(p.air, flight{at: p.now + delay, to: e.peer, octets: octets})
		}
		if p.random.Float64() >= e.Link.Duplicate {
			return
		}
	}
}
