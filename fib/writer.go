package fib

import (
	"errors"

	"golang.org/x/sys/unix"
)

// writer sends batches of requests without asking for acknowledgements. The
// kernel works through a batch inside sendmsg(2) and answers failures only, so
// when sendmsg returns, a drain that does not wait yields all of them.
type writer struct {
	sock    transport
	buf     []byte
	base    uint32 // sequence number of the first message
	n       int
	replies []reply
	recv    []byte
	fault   func() error // tests: what a drain reports in addition
}

func newWriter(s transport) *writer {
	return &writer{sock: s, base: 1, recv: make([]byte, 1<<16)}
}

// seq is the sequence number of the next message.
func (w *writer) seq() uint32 { return w.base + uint32(w.n) }

// flush sends the batch. Afterwards reply tells about each message, until the
// next one is added. lost says that replies were dropped: those that may be among them
// are errLost.
func (w *writer) flush() (lost bool, err error) {
	if cap(w.replies) < w.n {
		w.replies = make([]reply, w.n)
	}
	w.replies = w.replies[:w.n]
	clear(w.replies)
	if w.n == 0 {
		return false, nil
	}
	if err := w.sock.send(w.buf); err != nil {
		return false, w.refused(err)
	}
	return w.drain()
}

// refused: the kernel did not take the batch at all.
func (w *writer) refused(err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	for i := range w.replies {
		w.replies[i].err = errno
	}
	return nil
}

func (w *writer) drain() (lost bool, err error) {
	for {
		n, err := w.sock.receive(w.recv)
		if err == nil && w.fault != nil {
			err = w.fault()
		}
		switch {
		case errors.Is(err, errAgain):
			if w.fault != nil && errors.Is(w.fault(), unix.ENOBUFS) {
				lost = true
			}
			if lost {
				w.forget()
			}
			return lost, nil
		case errors.Is(err, unix.ENOBUFS):
			lost = true
		case err != nil:
			return lost, err
		default:
			w.take(w.recv[:n])
		}
	}
}

// forget makes the missing answers of a batch unknown ones.
func (w *writer) forget() {
	for i := range w.replies {
		if w.replies[i].err == nil {
			w.replies[i].err = errLost
		}
	}
}

func (w *writer) take(b []byte) {
	for m := range messages(b) {
		if m.typ != unix.NLMSG_ERROR {
			continue
		}
		r, err := parseReply(m)
		if i := int(r.seq - w.base); err == nil && i >= 0 && i < w.n {
			w.replies[i] = r
		}
	}
}

// reply is the answer to message i. No answer is a good one, unless some were lost.
func (w *writer) reply(i int) reply { return w.replies[i] }

// reset makes room for the next batch.
func (w *writer) reset() {
	w.base += uint32(w.n)
	w.n = 0
	w.buf = w.buf[:0]
}
