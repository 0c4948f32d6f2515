package fib

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// claimOne returns -1 without an error if the name is held by a program that may not own
// anything: an ordinary user must not keep a router from starting.
func claimOne(protocol uint8) (int, error) {
	name := &unix.SockaddrUnix{Name: fmt.Sprintf("@hyperfib/fib/protocol/%d", protocol)}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("fib: claim protocol %d: %w", protocol, err)
	}
	if err = unix.Bind(fd, name); err == nil {
		err = unix.Listen(fd, 8)
	}
	if err == nil {
		return fd, nil
	}
	defer unix.Close(fd)
	if !errors.Is(err, unix.EADDRINUSE) {
		return -1, fmt.Errorf("fib: claim protocol %d: %w", protocol, err)
	}
	owner := "another process"
	if unix.Connect(fd, name) == nil {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		switch {
		case err != nil:
		case cred.Uid != 0 && int(cred.Uid) != os.Geteuid():
			return -1, nil
		case cred.Pid > 0:
			owner = fmt.Sprintf("process %d", cred.Pid)
			if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cred.Pid)); err == nil {
				owner += " (" + strings.TrimSpace(string(comm)) + ")"
			}
		}
	}
	return -1, fmt.Errorf("%w: protocol %d, by %s", ErrInUse, protocol, owner)
}
