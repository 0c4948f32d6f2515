package rtnl

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Exchange sends one request and calls f, which may be nil, for each message of the
// answer, until it is complete. buffer is what datagrams are read into: DatagramSize octets
// are always enough. Answers to other requests than this one, by sequence number, are
// skipped.
//
// The request must be one that the kernel answers: with NLM_F_ACK, with NLM_F_DUMP, or for
// one object. The error is an *Error if the kernel says no. A dump that the kernel marks
// as interrupted is read to its end, and then the error is ErrInterrupted.
func Exchange(c Conn, request, buffer []byte, f func(Message)) error {
	req, _, ok := next(request)
	if !ok {
		return ErrTooLong // End has taken it back
	}
	if err := c.Send(request); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	x := exchange{seq: req.Seq, each: f}
	for {
		n, err := c.Receive(buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			err = c.Wait()
		case err != nil:
			err = os.NewSyscallError("recvfrom", err)
		default:
			var done bool
			if done, err = x.take(buffer[:n]); done && err == nil && x.interrupted {
				return ErrInterrupted
			} else if done {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// exchange is an answer that is being read.
type exchange struct {
	seq         uint32
	each        func(Message)
	interrupted bool
}

// take takes one datagram.
func (x *exchange) take(b []byte) (done bool, err error) {
	for len(b) > 0 {
		m, rest, ok := next(b)
		if !ok {
			return true, ErrMalformed
		}
		b = rest
		if m.Seq != x.seq {
			continue // a late answer to a request that timed out
		}
		x.interrupted = x.interrupted || m.Flags&NLM_F_DUMP_INTR != 0
		if m.Type == NLMSG_DONE || m.Type == NLMSG_ERROR {
			return true, m.Err()
		}
		if x.each != nil {
			x.each(m)
		}
		if m.Flags&NLM_F_MULTI == 0 {
			return true, nil
		}
	}
	return false, nil
}

// Dump sends a dump request and calls f for every datagram of the answer, in a buffer
// that f must not retain, until f reports that it was the last or fails. It waits for the
// kernel, which produces the answer while it is read.
func Dump(c Conn, request, buffer []byte, f func(datagram []byte) (done bool, err error)) error {
	for { // what an earlier dump that failed has left
		if _, err := c.Receive(buffer); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EMSGSIZE) {
			return err
		}
	}
	if err := c.Send(request); err != nil {
		return err
	}
	for {
		n, err := c.Receive(buffer)
		if errors.Is(err, unix.EAGAIN) {
			if err = c.Wait(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if done, err := f(buffer[:n]); done || err != nil {
			return err
		}
	}
}

// WalkDump calls f for the entries in one datagram of a dump. done reports that it was the
// last one, and err is the kernel's error then. interrupted reports that the kernel has
// marked the dump: it resumes some by counting entries, so that it leaves out some if
// others go meanwhile (nl_dump_check_consistent, include/net/netlink.h; commit "netlink:
// advertise incomplete dumps", Linux 3.1).
func WalkDump(datagram []byte, f func(Message)) (done, interrupted bool, err error) {
	for m := range Messages(datagram) {
		interrupted = interrupted || m.Flags&NLM_F_DUMP_INTR != 0
		if m.Type == NLMSG_DONE || m.Type == NLMSG_ERROR {
			return true, interrupted, m.Err()
		}
		f(m)
	}
	return false, interrupted, nil
}

// DumpRequest returns a dump request with its fixed header and nothing else.
func DumpRequest(typ uint16, body ...byte) []byte {
	b := Begin(nil, typ, NLM_F_REQUEST|NLM_F_DUMP, 1)
	return End(append(b, body...), 0)
}
