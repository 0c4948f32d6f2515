package rtnl

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Socket is a NETLINK_ROUTE socket. The runtime's poller waits for it; bytes go in and
// out without one allocation a message. One goroutine may send while another receives and a
// third waits; Close may be called from any.
type Socket struct {
	file    *os.File
	raw     syscall.RawConn
	port    uint32
	to      unix.SockaddrNetlink // the kernel; its own, since Sendto writes into it
	timeout time.Duration

	// Arguments and results of the callbacks below, kept here so that the closures are
	// made once.
	sent     []byte // of sendOnce, as is
	sendErr  error
	buf      []byte // of tryRecv, as is what follows
	n        int
	err      error
	sendOnce func(fd uintptr) bool
	tryRecv  func(fd uintptr)
	wait     func(fd uintptr) bool
}

// Open opens a socket with strict checking (NETLINK_GET_STRICT_CHK, Linux 4.20: the kernel
// filters dumps by what is in the header and the attributes, or refuses, where it
// ignored them before), extended acknowledgements and capped answers: the request
// is known by its sequence number, and short answers leave room for those to a whole batch.
// The kernel's commits: "netlink: extended ACK reporting" (Linux 4.12), "netlink: add
// NETLINK_CAP_ACK socket option" (4.3), "netlink: Add new socket option to enable strict
// checking on dumps" (4.20).
func Open(config Config) (*Socket, error) {
	var s *Socket
	err := netns.Do(config.NetNS, func() (err error) {
		s, err = open(config)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	return s, nil
}

func open(config Config) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	port, err := setup(fd, config.ReceiveBuffer)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "rtnetlink"), port: port, to: unix.SockaddrNetlink{Family: unix.AF_NETLINK}, timeout: config.Timeout}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	s.callbacks()
	return s, nil
}

// setup binds the socket and sets its options. It returns the port id that the kernel has
// chosen for it.
func setup(fd, receive int) (port uint32, err error) {
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK, unix.NETLINK_GET_STRICT_CHK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	// The kernel doubles what it is asked for, since it counts what a datagram occupies
	// (socket(7), SO_RCVBUF).
	if receive > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receive) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return name.(*unix.SockaddrNetlink).Pid, nil
}

func (s *Socket) callbacks() {
	s.sendOnce = func(fd uintptr) bool {
		s.sendErr = unix.Sendto(int(fd), s.sent, 0, &s.to)
		return s.sendErr != unix.EAGAIN
	}
	s.tryRecv = func(fd uintptr) {
		for { // a signal may come in between
			if s.n, _, s.err = unix.Recvfrom(int(fd), s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC); s.err != unix.EINTR {
				return
			}
		}
	}
	s.wait = func(fd uintptr) bool {
		// Readiness from before this call does not count for the runtime's poller, so
		// look. Not with MSG_PEEK: that would consume an ENOBUFS (sock_error).
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n != 0 || err != nil && err != unix.EINTR
	}
}

// Port returns the socket's port id, which notifications carry of what it has caused.
func (s *Socket) Port() uint32 { return s.port }

// Send implements Conn.
func (s *Socket) Send(b []byte) error {
	s.sent = b
	err := s.raw.Write(s.sendOnce)
	s.sent = nil
	if err != nil {
		return err
	}
	return s.sendErr
}

// Receive implements Conn.
func (s *Socket) Receive(b []byte) (int, error) {
	s.buf = b
	err := s.raw.Control(s.tryRecv) // not Read: its lock is held by who waits in Wait
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

// Wait implements Conn.
func (s *Socket) Wait() error {
	if s.timeout > 0 {
		if err := s.file.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
			return err
		}
	}
	return s.raw.Read(s.wait)
}

// Dump is the function of that name.
func (s *Socket) Dump(request, buffer []byte, f func(datagram []byte) (done bool, err error)) error {
	return Dump(s, request, buffer, f)
}

func (s *Socket) control(f func(fd int) error) error {
	var err error
	if e := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// Ignore has the socket drop what was caused by one of these ports: the echoes of a
// process's own writes.
func (s *Socket) Ignore(ports ...uint32) error {
	// BPF loads big-endian words, nlmsg_pid is in host byte order.
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 12}}
	for _, port := range ports {
		var v [4]byte
		native.PutUint32(v[:], port)
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: binary.BigEndian.Uint32(v[:])},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 30})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return s.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog))
	})
}

// Join subscribes to groups of notifications.
func (s *Socket) Join(groups ...uint32) error {
	for _, g := range groups {
		err := s.control(func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g))
		})
		if err != nil {
			return fmt.Errorf("rtnetlink group %d: %w", g, err)
		}
	}
	return nil
}

// Close closes the socket. Who waits returns an error.
func (s *Socket) Close() error { return s.file.Close() }
