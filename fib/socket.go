package fib

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// socket is a NETLINK_ROUTE socket: mdlayher/netlink opens, configures and
// closes it, and the runtime's poller waits for it; bytes go in and out here,
// without one allocation a message.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	pid  uint32
	to   unix.SockaddrNetlink // the kernel; its own, since Sendto writes into it

	// Arguments and results of the callbacks below, kept here so that the
	// closures are made once.
	buf      []byte
	n        int
	err      error
	sendOnce func(fd uintptr) bool
	tryRecv  func(fd uintptr)
	wait     func(fd uintptr) bool
}

// openSocket opens a socket in the namespace. The receive buffer is as large
// as asked if we may, and as large as the kernel allows otherwise.
func openSocket(path string, receive int) (*socket, error) {
	var s *socket
	err := netns.Do(path, func() error {
		conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
		if err != nil {
			return err
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			conn.Close()
			return err
		}
		s = &socket{conn: conn, raw: raw, to: unix.SockaddrNetlink{Family: unix.AF_NETLINK}}
		return s.setup(receive)
	})
	if err != nil {
		if s != nil {
			s.conn.Close()
		}
		return nil, fmt.Errorf("fib: netlink socket: %w", err)
	}
	return s, nil
}

func (s *socket) setup(receive int) error {
	s.sendOnce = func(fd uintptr) bool {
		s.err = unix.Sendto(int(fd), s.buf, 0, &s.to)
		return s.err != unix.EAGAIN
	}
	s.tryRecv = func(fd uintptr) {
		s.n, _, s.err = unix.Recvfrom(int(fd), s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	}
	s.wait = func(fd uintptr) bool {
		// Readiness from before this call does not count for the runtime's
		// poller, so look. Not with MSG_PEEK: that would eat an ENOBUFS.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n != 0 || err != nil && err != unix.EINTR
	}
	// Capped replies: the request is known by its sequence number, and short
	// replies leave room for those of a whole batch.
	for _, option := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.CapAcknowledge, netlink.GetStrictCheck} {
		if err := s.conn.SetOption(option, true); err != nil {
			return err
		}
	}
	return s.control(func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receive) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		s.pid = name.(*unix.SockaddrNetlink).Pid
		return nil
	})
}

func (s *socket) control(f func(fd int) error) error {
	var err error
	if e := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// send sends one buffer of messages. The kernel works through them all before
// it returns.
func (s *socket) send(b []byte) error {
	s.buf = b
	err := s.raw.Write(s.sendOnce)
	s.buf = nil
	if err != nil {
		return err
	}
	return s.err
}

// errAgain: nothing to read at the moment.
var errAgain = unix.EAGAIN

// receive reads one datagram without waiting. It returns EAGAIN when there is
// none, and ENOBUFS when the kernel had to drop some.
func (s *socket) receive(b []byte) (int, error) {
	s.buf = b
	err := s.raw.Control(s.tryRecv) // not Read: its lock is held by who waits in readable
	s.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.err != nil:
		return 0, s.err
	case s.n > len(b):
		return 0, unix.EMSGSIZE
	}
	return s.n, nil
}

// readable waits until there may be something to read. It returns an error
// when the socket was closed.
func (s *socket) readable() error {
	return s.raw.Read(s.wait)
}

// ignore makes the monitor socket drop what was caused by one of these port
// ids: the echoes of our own writes.
func (s *socket) ignore(pids ...uint32) error {
	// BPF loads big-endian words, nlmsg_pid is in host order.
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 12}}
	for _, pid := range pids {
		var v [4]byte
		native.PutUint32(v[:], pid)
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: be32(v[:])},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 30})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return s.control(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	})
}

func (s *socket) join(groups ...uint32) error {
	for _, g := range groups {
		if err := s.conn.JoinGroup(g); err != nil {
			return fmt.Errorf("fib: netlink group %d: %w", g, err)
		}
	}
	return nil
}

func (s *socket) close() error { return s.conn.Close() }

// dump sends a dump request and calls f for every datagram of the answer, in a
// buffer that f must not keep, until f says that it was the last or fails.
// Blocking: the kernel produces the answer while it is read.
func (s *socket) dump(request, buffer []byte, f func(b []byte) (done bool, err error)) error {
	for { // what an earlier dump that failed has left
		if _, err := s.receive(buffer); errors.Is(err, errAgain) {
			break
		} else if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EMSGSIZE) {
			return err
		}
	}
	if err := s.send(request); err != nil {
		return err
	}
	for {
		n, err := s.receive(buffer)
		if errors.Is(err, errAgain) {
			if err = s.readable(); err != nil {
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

// walk feeds the messages of one datagram of a dump to f. whole is false if the kernel
// has marked the dump as interrupted.
func walk(b []byte, f func(message)) (done, whole bool, err error) {
	whole = true
	for m := range messages(b) {
		whole = whole && m.flags&unix.NLM_F_DUMP_INTR == 0
		switch m.typ {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			r, err := parseReply(m)
			if err == nil {
				err = r.err
			}
			return true, whole, err
		}
		f(m)
	}
	return false, whole, nil
}
