package world

import (
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// takeover is a handover of the BFD sessions of a hypervisor that is under way: two processes, and
// the connection between them. It is decided by the code of production at each end; either end may
// die at any moment.
type takeover struct {
	h              *hypervisor
	giver, taker   *bfd.DrivenProcess
	giving, taking *bfd.DrivenHandover
	toGiver        *stream
	toTaker        *stream
	step           time.Duration // how long what one writes is under way
	confirms       bool          // the successor says that it runs: from version 2 on
	troubled       bool          // one of the two has ended, or was stopped: it may fail
}

// stream is one direction of the connection.
type stream struct {
	t       *takeover
	at      time.Duration // when what was written last arrives
	closed  bool          // nothing is written any more
	dead    bool          // nobody reads
	written int           // writes so far
	deliver func(b []byte, end bool)
}

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	if s.closed || s.dead {
		return 0, io.ErrClosedPipe
	}
	s.put(slices.Clone(b), false)
	return len(b), nil
}

// Close implements io.Closer. It is the death of the writer, too.
func (s *stream) Close() error {
	if !s.closed {
		s.closed = true
		s.put(nil, true)
	}
	return nil
}

func (s *stream) put(b []byte, end bool) {
	w := s.t.h.w
	s.written++
	s.at = max(s.at+time.Nanosecond, w.now+s.t.step)
	life := s.t.h.node.process.lives
	w.at(s.at, func() {
		if s.t.h.node.process.lives != life {
			return
		}
		s.t.h.node.process.do(nil, func() {
			if !s.dead {
				s.deliver(b, end)
				s.t.review()
			}
		})
	})
}

// slowestHandover is the longest step with which a handover has to succeed: the predecessor waits
// 250 ms for its successor.
const slowestHandover = 50 * time.Millisecond

// takeOver has a new BFD process ask for the sessions: "5ms version 1" is how long what one says to
// the other is under way, and in which version.
func (h *hypervisor) takeOver(words []string) error {
	step, err := time.ParseDuration(word(words, 0))
	if err != nil {
		return errWords
	}
	version, _ := strconv.Atoi(word(words, 2))
	if h.node.process.state != running || h.engine == nil || h.taking != nil {
		return nil
	}
	h.w.disturbNode(h.node)
	t := &takeover{h: h, giver: h.engine, step: step, confirms: version != 1}
	t.toGiver = &stream{t: t, deliver: func(b []byte, end bool) { receive(t.giving, b, end) }}
	t.toTaker = &stream{t: t, deliver: func(b []byte, end bool) { receive(t.taking, b, end) }}
	t.taker, t.taking, err = bfd.NewDrivenSuccessor(h.node.driven(h.failoverKernel), 0, uint16(version), t.toGiver)
	if err != nil {
		return err
	}
	t.giving = t.giver.Give(t.toTaker)
	h.taking = t
	if step > 0 {
		h.w.leave(&h.away[handoverAway], "a handover of BFD sessions is under way: 20 ms after it")
	}
	return nil
}

func receive(h *bfd.DrivenHandover, b []byte, end bool) {
	if end {
		h.Closed()
		return
	}
	h.Receive(b)
}

// review looks at who has the sessions by now.
func (t *takeover) review() {
	h := t.h
	if h.taking != t {
		return
	}
	if h.engine != t.taker || h.node.watcher == nil {
		if !t.taker.Paused() && !t.taker.Ended() && !t.toTaker.dead {
			h.disconnect()
			h.serve(t.taker)
			h.w.disturbNode(h.node)
			h.w.note("%s: the successor has the BFD sessions", h.name)
		}
	}
	over := t.giving.Over() || t.toGiver.dead
	if !over || !t.taking.Over() && !t.toTaker.dead {
		return
	}
	if h.engine == t.giver && t.giver.Ended() && t.toTaker.dead && t.confirms {
		h.w.violate("one of the BFD processes has the sessions", "%s: it has ended, though its successor is dead", h.name)
	}
	h.handedOver()
	if err := t.taking.Err(); err != nil && !t.troubled && t.step <= slowestHandover {
		h.w.violate("a handover succeeds", "%s: %v", h.name, err)
	}
}

// handedOver notes that no handover is under way any more. Until now neither process has looked at the
// sessions for some steps of it.
func (h *hypervisor) handedOver() {
	h.taking = nil
	h.w.back(&h.away[handoverAway], slack)
}

// killEnd ends one of the two processes without a word. What it has written arrives.
func (h *hypervisor) killEnd(successor bool) {
	t := h.taking
	if t == nil {
		return
	}
	if !successor && h.engine == t.giver && t.toTaker.dead {
		h.killBFD() // there is no other
		return
	}
	h.w.disturbNode(h.node)
	t.troubled = true
	if successor && t.toGiver.dead || !successor && t.toTaker.dead {
		h.killBFD() // it is the last one
		return
	}
	if successor {
		if h.engine == t.taker {
			return // it has the sessions, and is the process of the host
		}
		t.toTaker.dead = true
		_ = t.toGiver.Close()
	} else {
		if h.engine == t.giver {
			h.disconnect()
			h.engine, h.node.engine, h.node.watcher = t.taker, t.taker, nil
		}
		t.toGiver.dead = true
		_ = t.toTaker.Close()
	}
	h.node.process.do(nil, t.review)
}
