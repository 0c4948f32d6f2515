package bfd

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// fact is what the owner publishes about a session when its state changes.
type fact struct {
	state          State         // bfd.SessionState
	diag, downDiag Diag          // bfd.LocalDiag now, and when the session last went down
	remoteDiag     Diag          // that of the last packet
	downRemote     Diag          // remoteDiag when it last went down
	reason         Reason        // why it is in state
	downReason     Reason        // why it last went down
	remoteC        bool          // the C bit of the last packet
	since, downAt  time.Duration // when it entered state, and when it last went down
	downs          uint64        // how often it went down
}

// cell hands the latest fact of one session from the owner to any reader without
// a lock that either could wait for: a sequence lock of atomic words. An odd
// sequence is a write in progress.
type cell struct {
	seq   atomic.Uint32    // even while nothing is being written
	words [4]atomic.Uint64 // see write
}

// write stores f. Only the owner calls it.
func (c *cell) write(f fact) {
	c.seq.Add(1)
	packed := uint64(f.state) | uint64(f.diag)<<8 | uint64(f.remoteDiag)<<16 | uint64(f.reason)<<24 |
		uint64(f.downDiag)<<32 | uint64(f.downRemote)<<40 | uint64(f.downReason)<<48
	if f.remoteC {
		packed |= 1 << 56
	}
	c.words[0].Store(packed)
	c.words[1].Store(uint64(f.since))
	c.words[2].Store(uint64(f.downAt))
	c.words[3].Store(f.downs)
	c.seq.Add(1)
}

// read returns the latest fact.
func (c *cell) read() fact {
	for {
		before := c.seq.Load()
		w, since, down, downs := c.words[0].Load(), c.words[1].Load(), c.words[2].Load(), c.words[3].Load()
		if before&1 == 0 && c.seq.Load() == before {
			return fact{
				state: State(w), diag: Diag(w >> 8), remoteDiag: Diag(w >> 16), reason: Reason(w >> 24),
				downDiag: Diag(w >> 32), downRemote: Diag(w >> 40), downReason: Reason(w >> 48), remoteC: w>>56&1 != 0,
				since: time.Duration(since), downAt: time.Duration(down), downs: downs,
			}
		}
	}
}

// maxSessions is the most sessions of one server: each has a source port of its
// own, and RFC 5881, Section 4, leaves 16384 of them.
const maxSessions = 1 << 14

// marks is a set of session slots that one side fills and the other empties,
// without locks: the dirty bits between the owner and a reader.
type marks struct {
	words []atomic.Uint64 // a bit a slot
	ready chan struct{}   // holds a token when something was marked
}

// newMarks returns an empty set of slots below the number of sessions.
func newMarks(sessions int) *marks {
	return &marks{words: make([]atomic.Uint64, (sessions+63)/64), ready: make(chan struct{}, 1)}
}

// room makes room for a slot. Nobody uses the set meanwhile.
func (m *marks) room(slot int) {
	for slot >= 64*len(m.words) {
		words := make([]atomic.Uint64, 2*len(m.words))
		for i := range m.words {
			words[i].Store(m.words[i].Load())
		}
		m.words = words
	}
}

// mark adds a slot and wakes the reader. It never blocks.
func (m *marks) mark(slot int) {
	m.words[slot/64].Or(1 << (slot % 64))
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take takes the token, and reports whether there was one. Nobody else takes it.
func (m *marks) take() bool {
	if len(m.ready) == 0 {
		return false
	}
	<-m.ready
	return true
}

// drain calls f for every slot marked since the last time.
func (m *marks) drain(f func(slot int)) {
	for i := range m.words {
		if m.words[i].Load() == 0 {
			continue
		}
		for w := m.words[i].Swap(0); w != 0; w &= w - 1 {
			f(64*i + bits.TrailingZeros64(w))
		}
	}
}
