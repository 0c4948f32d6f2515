package ndp

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/internal/serve"
)

// PacketConn is what the loops of this package need of a Conn.
type PacketConn interface {
	Writer
	Read(packets []Packet) (int, error)
	Add(link int) error
	Remove(link int)
	SetReadDeadline(t time.Time) error
}

// Stats counts the verdicts of a Responder since its start, indexed by Verdict.
type Stats [verdictCount]uint64

// Responder answers neighbor solicitations as its Policy says. All methods are safe
// for concurrent use.
type Responder struct {
	conn  PacketConn  // where solicitations come from
	began atomic.Bool // Serve was called
	out   []Packet    // answers to one batch; of Serve's goroutine, as is buf

	buf [Batch * answerLen]byte // the bodies of out

	mu     sync.Mutex // guards policy and stats
	policy Policy     // decides
	stats  Stats      // since New

	heard chan struct{} // capacity 1: Heard has something to return
}

// NewResponder makes a Responder without guests and targets on conn, which must receive
// neighbor solicitations, and stays the caller's to close.
func NewResponder(conn PacketConn) *Responder {
	return &Responder{conn: conn, heard: make(chan struct{}, 1)}
}

// SetGuest puts g behind link and starts to listen there; see [Policy.SetGuest].
func (r *Responder) SetGuest(ifindex int, g Guest) error {
	if !g.Router.IsUnicast() {
		return fmt.Errorf("ndp: the router of interface %d cannot have the Ethernet address %v", ifindex, g.Router)
	}
	r.mu.Lock()
	r.policy.SetGuest(ifindex, g)
	r.mu.Unlock()
	return r.conn.Add(ifindex)
}

// RemoveGuest forgets the guest behind link and stops listening there.
func (r *Responder) RemoveGuest(ifindex int) {
	r.conn.Remove(ifindex)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy.RemoveGuest(ifindex)
}

// SetTarget declares prefix allocated; see [Policy.SetTarget].
func (r *Responder) SetTarget(prefix netip.Prefix, ifindex int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy.SetTarget(prefix, ifindex)
}

// DeleteTarget takes prefix back.
func (r *Responder) DeleteTarget(prefix netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy.DeleteTarget(prefix)
}

// GuestStats returns the counters of the guest behind the interface, since the first SetGuest of
// it; ok is false if there is none. RemoveGuest ends them.
func (r *Responder) GuestStats(ifindex int) (stats Stats, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.policy.guests[ifindex]; g != nil {
		return g.stats, true
	}
	return Stats{}, false
}

// SetKnown says whom the kernel hears on a link; see [Guest.Known].
func (r *Responder) SetKnown(ifindex int, known []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy.SetKnown(ifindex, known)
}

// Heard waits until a host that is not [Guest.Known] has asked for a Source, and returns
// all who have since the last call; see [Policy.Heard]. It returns ctx's error when ctx
// ends.
func (r *Responder) Heard(ctx context.Context) ([]Sender, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.heard:
		}
		r.mu.Lock()
		list := r.policy.Heard()
		r.mu.Unlock()
		if len(list) > 0 {
			return list, nil
		}
	}
}

// Stats returns the counters.
func (r *Responder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Run answers until ctx ends, and then returns nil. It returns early only if the
// Conn fails as a whole. A second Run returns [ErrClosed]. One goroutine serves every
// interface.
func (r *Responder) Run(ctx context.Context) error {
	if r.began.Swap(true) {
		return ErrClosed
	}
	return Serve(ctx, r.conn, r)
}

func (r *Responder) service() serve.Service[Packet] { return answers{r} }

// answers is a Responder as serve.Run serves it.
type answers struct{ *Responder }

func (a answers) Handle(now time.Time, in []Packet) {
	a.mu.Lock()
	a.out = a.decide(now, in, a.out[:0])
	a.mu.Unlock()
	if len(a.out) > 0 {
		_, _ = a.conn.Write(a.out) // a packet that cannot go is asked for again
	}
}

func (answers) Advance(time.Time) time.Time { return time.Time{} }
func (answers) Stale() bool                 { return false }

// answerLen is the size of an advertisement with its link-layer address.
const answerLen = 32

// decide appends the answers to in to out; their bodies are in buf.
func (r *Responder) decide(now time.Time, in, out []Packet) []Packet {
	for i := range in {
		g := r.policy.guests[in[i].IfIndex]
		reply, v := r.policy.decide(now, g, &in[i], r.buf[i*answerLen:i*answerLen:(i+1)*answerLen])
		r.stats[v]++
		if g != nil {
			g.stats[v]++
		}
		if v == VerdictAnswered || v == VerdictDefended {
			out = append(out, reply)
		}
	}
	if r.policy.unreported {
		select {
		case r.heard <- struct{}{}:
		default:
		}
	}
	return out
}
