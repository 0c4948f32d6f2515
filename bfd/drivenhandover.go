package bfd

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// Export stops the process and returns what its successor needs: the octets that one process
// sends to the next, in the present version. Nothing happens to the sessions until Resume, or
// until the successor's Resume; packets that arrive meanwhile wait. It is a handover without
// the steps in which the two agree: see [DrivenProcess.Give] for these.
func (p *DrivenProcess) Export() ([]byte, error) {
	st, err := p.export(handoverVersion)
	if err != nil {
		return nil, err
	}
	sockets, rest := st.complete(0)
	return slices.Concat(sockets, st.sessions, rest), nil
}

// export stops the sessions and encodes them.
func (p *DrivenProcess) export(version uint16) (*state, error) {
	st := newState(p.process, version)
	// What is due is sent first: one handover after the other may fail, each in its time.
	if err := p.driven.do(func(c *core) { c.expire(); st.encode() }); err != nil {
		return nil, err
	}
	p.driven.settle()
	p.driven.state = drivenPaused
	return st, nil
}

// ImportDrivenProcess returns the successor of a process that has exported its state. It is
// paused: the sessions are its own from Resume on. A successor that dies before is not called
// any more, and the predecessor resumes.
func ImportDrivenProcess(cfg DrivenConfig, restart time.Duration, state []byte) (*DrivenProcess, error) {
	p, err := NewDrivenProcess(cfg, restart)
	if err != nil {
		return nil, err
	}
	t := newTaking(p.process, handoverVersion)
	if err := t.parts(bytes.NewReader(state), p.descriptor); err != nil {
		return nil, err
	}
	t.settle()
	p.driven.state = drivenPaused
	return p, nil
}

// descriptor is what comes alongside a socket.
func (p *DrivenProcess) descriptor() []int { return []int{p.process.server.host.(*drivenHost).open()} }

// Resume goes on after Export, when the successor did not become ready or died, and after
// [ImportDrivenProcess], when the predecessor is gone. The packets that wait are delivered
// next, and then comes Advance.
func (p *DrivenProcess) Resume() {
	if p.driven.state == drivenPaused {
		p.driven.state = drivenServing
	}
}

// Leave ends a process that has exported its state, in favour of its successor.
func (p *DrivenProcess) Leave() { p.driven.end() }

// DrivenHandover is one end of the connection over which a process hands its sessions to its
// successor. The caller carries the octets that one end writes to the Receive of the other,
// whole or in pieces, and calls Closed when the other end has closed the connection or its
// process has died. Everything else is decided as in [Serve] and [Takeover].
//
// While a handover is under way both processes are paused: packets that arrive wait for the
// one that goes on. A DrivenHandover is not safe for concurrent use.
type DrivenHandover struct {
	process *DrivenProcess
	out     io.WriteCloser
	in      []byte // that are no whole frame yet
	over    bool   // it is decided who has the sessions
	err     error  // why they are not the successor's

	// The predecessor's.
	conn    *conn
	giving  *giving       // nil: nothing was asked for yet
	answers int           // of the successor
	limit   time.Duration // when it is too late for an answer

	// The successor's.
	taking   *taking
	complete bool // the state has come
}

// Give takes a connection of a successor, as Serve does at any time. Nothing happens before the
// successor asks for the sessions. Out is what the successor receives.
func (p *DrivenProcess) Give(out io.WriteCloser) *DrivenHandover {
	h := &DrivenHandover{process: p, out: out}
	h.conn = &conn{stream: drivenStream{out}, process: p.process, version: protocolVersion}
	return h
}

// NewDrivenSuccessor returns a process that asks its predecessor for everything, as [Takeover]
// does, and the connection to it. The process is paused until Receive or Closed find out that
// the sessions are its own. Version is that of the handover, for a successor of another build:
// 1 or 2; 0 is the present one. A predecessor that does not know it says so ([DrivenHandover].Err),
// and another successor may ask for the version before.
func NewDrivenSuccessor(cfg DrivenConfig, restart time.Duration, version uint16, out io.WriteCloser) (*DrivenProcess, *DrivenHandover, error) {
	p, err := NewDrivenProcess(cfg, restart)
	if err != nil {
		return nil, nil, err
	}
	h := &DrivenHandover{process: p, out: out, taking: newTaking(p.process, cmp.Or(version, handoverVersion))}
	h.taking.stream = drivenStream{out}
	if err := h.taking.request(out); err != nil {
		return nil, nil, err
	}
	p.driven.state = drivenPaused
	return p, h, nil
}

// Over reports whether it is decided who has the sessions.
func (h *DrivenHandover) Over() bool { return h.over }

// Err returns why the sessions are not the successor's, once it is decided.
func (h *DrivenHandover) Err() error { return h.err }

// Receive takes octets that the other end has written.
func (h *DrivenHandover) Receive(b []byte) {
	h.in = append(h.in, b...)
	for len(h.in) >= frameHeader && !h.over {
		n := 4 + uint64(binary.BigEndian.Uint32(h.in))
		if n <= maxFrame && uint64(len(h.in)) < n {
			return
		}
		m, err := readFrame(bytes.NewReader(h.in))
		if err != nil {
			h.Closed()
			return
		}
		h.in = h.in[n:]
		if h.taking == nil {
			h.asked(m)
		} else {
			h.told(m)
		}
	}
}

// Closed says that the connection has ended: the other process is dead, or has closed it.
func (h *DrivenHandover) Closed() {
	switch {
	case h.over:
	case h.taking == nil:
		h.give(bfdcore.GiverClosed)
	case h.complete:
		h.take(bfdcore.TakerClosed, io.EOF)
	default:
		h.fail(io.EOF)
	}
}

// asked takes a frame of the successor.
func (h *DrivenHandover) asked(m message) {
	if h.giving != nil {
		e := bfdcore.GiverClosed
		if m.typ == frameReply && h.answers < len(giverAnswers) {
			e = giverAnswers[h.answers]
		}
		h.answers++
		h.give(e)
		return
	}
	p := h.process
	if m.typ == frameHandover && p.driven.state == drivenServing {
		h.giving = p.process.newGiving(h.conn, m)
	}
	if h.giving == nil {
		h.over = true
		h.out.Close()
		return
	}
	st, err := p.export(h.giving.version)
	if err == nil {
		p.giving, h.limit = h, p.driven.clock.now()+handoverTimeout
		err = st.send(h.conn)
	}
	if err != nil {
		h.goOn(err)
	}
}

// give goes on with the predecessor's part.
func (h *DrivenHandover) give(e bfdcore.GiverEvent) {
	if h.giving == nil {
		h.over = true
		return
	}
	over, err := h.giving.step(e)
	switch {
	case !over:
	case err == nil:
		h.over, h.process.giving = true, nil
		h.process.driven.end()
		h.out.Close()
	default:
		h.goOn(err)
	}
}

// goOn has the predecessor go on.
func (h *DrivenHandover) goOn(err error) {
	h.over, h.err, h.process.giving = true, err, nil
	h.process.Resume()
	if !h.giving.goOn(err) {
		h.out.Close()
	}
}

// told takes a frame of the predecessor.
func (h *DrivenHandover) told(m message) {
	if h.complete {
		h.take(takerAnswer(m))
		return
	}
	t := h.taking
	t.fds = append(t.fds, h.process.descriptor()...)
	var err error
	if h.complete, err = t.frame(m); err != nil {
		h.fail(err)
	} else if h.complete {
		h.take(bfdcore.TakerComplete, errProtocol)
	}
}

// take goes on with the successor's part.
func (h *DrivenHandover) take(e bfdcore.TakerEvent, why error) {
	runs, err := h.taking.step(e, why)
	if err != nil {
		h.fail(err)
	}
	if !runs {
		return
	}
	h.over = true
	h.taking.settle()
	h.process.Resume()
	if h.taking.version > 1 {
		_ = h.taking.say(2) // else the predecessor is dead
	}
	h.out.Close()
}

// fail ends a successor that has not got the sessions.
func (h *DrivenHandover) fail(err error) {
	h.over, h.err = true, err
	h.process.driven.end()
	h.out.Close()
}

// drivenStream is the writing half of a stream.
type drivenStream struct{ io.WriteCloser }

func (drivenStream) Read([]byte) (int, error)         { return 0, errors.ErrUnsupported }
func (drivenStream) SetReadDeadline(time.Time) error  { return nil }
func (drivenStream) SetWriteDeadline(time.Time) error { return nil }
func (drivenStream) takeFDs() []int                   { return nil }

func (s drivenStream) sendFDs(b []byte, _ []int) error {
	_, err := s.Write(b)
	return err
}
