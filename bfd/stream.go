package bfd

import (
	"net"

	"golang.org/x/sys/unix"
)

// unixListener is a listener at a unix socket.
type unixListener struct{ *net.UnixListener }

func (l unixListener) Accept() (stream, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &unixStream{UnixConn: c}, nil
}

func (l unixListener) close(handed bool) {
	l.SetUnlinkOnClose(!handed)
	_ = l.Close()
}

// control uses RawConn, as File and Fd would make the open file description block, for
// every process that has it: an accept without a client then never returns, and Close
// waits for it.
func (l unixListener) control(f func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// unixStream is a stream over a unix socket.
type unixStream struct {
	*net.UnixConn
	keep bool  // the descriptors that come are read into fds
	fds  []int // descriptors that came and were not taken yet
}

func (s *unixStream) takeFDs() []int {
	fds := s.fds
	s.keep, s.fds = true, nil
	return fds
}

// Read implements io.Reader. Without a buffer for control messages the kernel closes
// descriptors that come along (unix(7), SCM_RIGHTS).
func (s *unixStream) Read(b []byte) (int, error) {
	if !s.keep {
		return s.UnixConn.Read(b)
	}
	oob := make([]byte, unix.CmsgSpace(4*fdsAtOnce))
	n, oobn, _, _, err := s.ReadMsgUnix(b, oob)
	if list, e := unix.ParseSocketControlMessage(oob[:max(0, oobn)]); e == nil {
		for i := range list {
			fds, _ := unix.ParseUnixRights(&list[i])
			s.fds = append(s.fds, fds...)
		}
	}
	if n == 0 && err == nil {
		err = net.ErrClosed
	}
	return n, err
}

// fdsAtOnce is how many descriptors go with one message; the kernel takes 253 (SCM_MAX_FD,
// unix(7)).
const fdsAtOnce = 100

// sendFDs sends descriptors alongside the first octets of b, a portion with one octet
// each: ancillary data is a barrier for the octets received with it (unix(7)), so that a read
// returns the descriptors of one message at most.
func (s *unixStream) sendFDs(b []byte, fds []int) error {
	for len(fds) > 0 {
		n := min(len(fds), fdsAtOnce)
		if _, _, err := s.WriteMsgUnix(b[:1], unix.UnixRights(fds[:n]...), nil); err != nil {
			return err
		}
		b, fds = b[1:], fds[n:]
	}
	_, err := s.Write(b)
	return err
}
