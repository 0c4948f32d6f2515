package bfd

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// linuxHost is the host of Linux.
type linuxHost struct{}

func (linuxHost) monotonic() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano()), os.NewSyscallError("clock_gettime", err)
}

func (linuxHost) random() uint32 { return rand.Uint32() }

func (linuxHost) poller() (poller, error) {
	p, err := newEpoller()
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (linuxHost) namespace(path string) (namespace, error) {
	n, err := openNamespace(path)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (linuxHost) namespaceOf(fd int, path string) (namespace, error) {
	n, err := namespaceOfSocket(fd, path)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (linuxHost) closeFD(fd int) { unix.Close(fd) }

func (linuxHost) dial(ctx context.Context, path string) (stream, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return &unixStream{UnixConn: c.(*net.UnixConn)}, nil
}

// listener makes a listener of a descriptor. Its open file description is shared with
// another process, which must not find it in blocking mode: os.NewFile and
// net.FileListener leave the mode of a descriptor alone that does not block already.
//
// listen(2) on a socket that listens already changes who SO_PEERCRED names to those who
// connect (net/unix/af_unix.c, unix_listen): without it that would be the first process of
// all. See sameExecutable.
func (linuxHost) listener(fd int) (listener, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errProtocol
	}
	return unixListener{ul}, nil
}

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
// every process that has it: an accept that nobody answers then never returns, and Close
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
	keep bool // the descriptors that come
	fds  []int
}

func (s *unixStream) takeFDs() []int {
	fds := s.fds
	s.keep, s.fds = true, nil
	return fds
}

// Read implements io.Reader. Without room for them the kernel closes descriptors that
// come along.
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

// fdsAtOnce is how many descriptors go with one message; the kernel takes 253.
const fdsAtOnce = 100

// sendFDs sends descriptors alongside the first octets of b, a portion with one octet
// each, since a stream keeps them apart only so.
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
