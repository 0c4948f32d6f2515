package rtnl

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Conn is a netlink socket: [Socket], or in tests a model of the kernel.
type Conn interface {
	// Send sends a buffer of messages. The kernel works through them all before it
	// returns.
	Send(b []byte) error
	// Receive reads one datagram without waiting. It returns EAGAIN if there is none,
	// ENOBUFS if the kernel had to drop some (once: it is the socket's error, set by
	// netlink_overrun, or by netlink_ack without memory), and EMSGSIZE if the datagram is longer than b.
	Receive(b []byte) (int, error)
	// Wait waits until there may be something to read. It returns an error if the socket
	// is closed, and os.ErrDeadlineExceeded after the socket's timeout.
	Wait() error
}

// DatagramSize is the size in octets of a buffer that holds any datagram of the kernel's:
// those of a dump have 32 KiB at most (netlink_dump), an answer to a request that is not
// capped repeats the request.
const DatagramSize = 1 << 16

// Writer sends batches of requests without asking for acknowledgements. The kernel works
// through a batch inside sendmsg(2) (netlink_rcv_skb) and answers failures only, so when
// that returns, a drain that does not wait yields all of them. It is for one goroutine at a
// time.
//
//	w.Reset()
//	for ... {
//		w.Add(appendRoute(w.Buffer(), w.Seq(), ...))
//	}
//	lost, err := w.Flush()
//	for i := range w.Len() {
//		w.Err(i)
//	}
type Writer struct {
	conn Conn
	buf  []byte
	base uint32  // sequence number of the first message of the batch
	errs []error // of the messages of the batch
	recv []byte
}

// NewWriter returns a Writer of empty batches. Nothing else may read from c while it is
// used.
func NewWriter(c Conn) *Writer {
	return &Writer{conn: c, base: 1, recv: make([]byte, DatagramSize)}
}

// Reset forgets the batch and begins the next.
func (w *Writer) Reset() {
	w.base += uint32(len(w.errs))
	w.errs = w.errs[:0]
	w.buf = w.buf[:0]
}

// Buffer returns the batch so far, to append the next message to.
func (w *Writer) Buffer() []byte { return w.buf }

// Seq returns the sequence number of the next message.
func (w *Writer) Seq() uint32 { return w.base + uint32(len(w.errs)) }

// Add takes the buffer back with one message more. If [End] has taken the message back,
// it counts, is not sent, and its error is ErrTooLong.
func (w *Writer) Add(b []byte) {
	var err error
	if len(b) == len(w.buf) {
		err = ErrTooLong
	}
	w.buf = b
	w.errs = append(w.errs, err)
}

// Len returns the number of messages in the batch.
func (w *Writer) Len() int { return len(w.errs) }

// Flush sends the batch. Afterwards Err returns what has come of each message, until Reset
// or Add. lost reports that answers were dropped: the error of each message that has none
// is ErrLost then. An error means that the socket failed.
func (w *Writer) Flush() (lost bool, err error) {
	if len(w.buf) == 0 {
		return false, nil
	}
	if err := w.conn.Send(w.buf); err != nil {
		return false, w.refused(err)
	}
	return w.drain()
}

// refused notes that the kernel did not take the batch at all.
func (w *Writer) refused(err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	w.unanswered(&Error{Errno: errno})
	return nil
}

// unanswered gives err to all messages that have no answer.
func (w *Writer) unanswered(err error) {
	for i := range w.errs {
		if w.errs[i] == nil {
			w.errs[i] = err
		}
	}
}

func (w *Writer) drain() (lost bool, err error) {
	for {
		n, err := w.conn.Receive(w.recv)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if lost {
				w.unanswered(ErrLost)
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

// take notes the answers in a datagram. Those to an earlier batch are out of range.
func (w *Writer) take(b []byte) {
	for m := range Messages(b) {
		if m.Type != NLMSG_ERROR {
			continue
		}
		i := int(m.Seq - w.base)
		if err := m.Err(); i >= 0 && i < len(w.errs) && !errors.Is(err, ErrMalformed) {
			w.errs[i] = err
		}
	}
}

// Err returns what has come of message i of the batch: nil if the kernel carried it out, an
// *Error, ErrLost or ErrTooLong.
func (w *Writer) Err(i int) error { return w.errs[i] }
