package bfd

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// systemHost is the host that the process runs on.
type systemHost struct{}

func (systemHost) clock() (clock, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return newClock(time.Duration(ts.Nano())), os.NewSyscallError("clock_gettime", err)
}

func (systemHost) random() uint32 { return rand.Uint32() }

func (systemHost) poller() (poller, error) {
	p, err := newEpoller()
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (systemHost) namespace(path string) (namespace, error) {
	n, err := openNamespace(path)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (systemHost) namespaceOf(fd int, path string) (namespace, error) {
	n, err := namespaceOfSocket(fd, path)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (systemHost) closeFD(fd int) { unix.Close(fd) }

func (systemHost) dial(ctx context.Context, path string) (stream, error) {
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
func (systemHost) listener(fd int) (listener, error) {
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
