package arp

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/internal/serve"
)

// PacketConn is what a Responder and the other loops need of a Conn.
type PacketConn interface {
	Writer
	Read(frames []Frame) (int, error)
	Add(link int) error
	Remove(link int)
	SetReadDeadline(t time.Time) error
}

// Stats counts the verdicts of a Responder since its start, indexed by Verdict.
type Stats [verdictCount]uint64

// Responder answers requests as its Policy says. All methods are safe for
// concurrent use.
type Responder struct {
	conn  PacketConn  // where requests come from
	began atomic.Bool // Run was called
	out   []Frame     // of Run's goroutine

	mu     sync.Mutex // guards policy and stats
	policy Policy     // decides
	stats  Stats      // since New
}

// NewResponder makes a Responder without guests and targets on conn, which stays
// the caller's to close.
func NewResponder(conn PacketConn) *Responder { return &Responder{conn: conn} }

// SetGuest puts g behind link and starts to listen there; see [Policy.SetGuest].
func (r *Responder) SetGuest(ifindex int, g Guest) error {
	if !g.Router.IsUnicast() {
		return fmt.Errorf("arp: the router of interface %d cannot have the Ethernet address %v", ifindex, g.Router)
	}
	r.mu.Lock()
	r.policy.SetGuest(ifindex, g)
	r.mu.Unlock()
	return r.conn.Add(ifindex)
}

// RemoveGuest removes the guest behind the interface and stops listening there.
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

// DeleteTarget undoes SetTarget for prefix.
func (r *Responder) DeleteTarget(prefix netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy.DeleteTarget(prefix)
}

// Stats returns the counters.
func (r *Responder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
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

// Run answers until ctx ends, and then returns nil. It returns early only if the
// Conn fails as a whole. A second Run returns [ErrClosed]. One goroutine serves every
// interface.
func (r *Responder) Run(ctx context.Context) error {
	if r.began.Swap(true) {
		return ErrClosed
	}
	return serve.Run(ctx, r.conn, Batch, serve.Service[Frame](answers{r}))
}

// answers is a Responder as serve.Run serves it.
type answers struct{ *Responder }

func (a answers) Handle(now time.Time, in []Frame) {
	a.out = a.decide(now, in, a.out[:0])
	if len(a.out) > 0 {
		_, _ = a.conn.Write(a.out) // a frame that cannot go is asked for again
	}
}

func (answers) Advance(time.Time) time.Time { return time.Time{} }
func (answers) Stale() bool                 { return false }

// decide appends the answers to in to out.
func (r *Responder) decide(now time.Time, in, out []Frame) []Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range in {
		g := r.policy.guests[in[i].IfIndex]
		reply, v := r.policy.decide(now, g, &in[i])
		r.stats[v]++
		if g != nil {
			g.stats[v]++
		}
		if v == VerdictAnswered {
			out = append(out, reply)
		}
	}
	return out
}
