package bfd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is returned by [ListenAndServe] if a process of the same executable serves.
var ErrInUse = errors.New("bfd: a process of the same executable serves there")

// lockPoll is how often a lock that another process has is tried again.
const lockPoll = 5 * time.Millisecond

// ListenAndServe makes this executable the one that serves BFD sessions at the unix
// socket at path:
//
//   - If no process answers there, it listens and does what [Serve] does. The socket of a
//     process that has died is replaced. Its mode is 0600.
//   - If a process of another executable answers, it does what [Takeover] does.
//   - If a process of the same executable file answers, there is nothing to do, and it
//     returns [ErrInUse] at once.
//
// It always returns an error: [ErrClosed] when ctx has ended, no client has come back within
// the restart time, or a successor has taken over.
//
// A program that re-executes itself for its BFD process may therefore do so at every
// start, and whenever its [Client] reports that the connection is lost: what runs is
// always of the build that was started last, and no session goes down on the way there.
// Processes that start at the same time take turns, by a lock on the file path+".lock",
// which stays. The directory must exist.
//
// A process whose executable cannot be determined, for example in another PID namespace,
// counts as one of another executable.
func ListenAndServe(ctx context.Context, path string, cfg ServeConfig) error {
	return listenAndServe(ctx, path, cfg, sameExecutable)
}

// listenAndServe is ListenAndServe with another way to compare executables.
func listenAndServe(ctx context.Context, path string, cfg ServeConfig, same func(*net.UnixConn) bool) error {
	lock, err := lockSocket(ctx, path)
	if err != nil {
		return err
	}
	defer lock.Close()
	ready := cfg.Ready
	cfg.Ready = func() { // the next holder of the lock finds the sessions here
		lock.Close()
		if ready != nil {
			ready()
		}
	}
	for {
		there, here, err := answers(path, same)
		switch {
		case err != nil:
			return err
		case here:
			return ErrInUse
		case !there:
			l, err := listenSocket(path)
			if err != nil {
				return err
			}
			return cmp.Or(Serve(ctx, l, cfg), ErrClosed)
		}
		if err = cmp.Or(Takeover(ctx, path, cfg), ErrClosed); err == ErrClosed || ctx.Err() != nil {
			return err
		}
		if there, _, e := answers(path, same); there || e != nil {
			return err
		}
		// It died before it could hand anything over.
	}
}

// lockSocket waits for the lock of the socket at path.
func lockSocket(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("bfd: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case ctx.Err() != nil:
			err = ctx.Err()
		case errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR):
			time.Sleep(lockPoll)
			continue
		}
		f.Close()
		return nil, fmt.Errorf("bfd: lock %s.lock: %w", path, err)
	}
}

// answers reports whether a process listens at path, and whether it is one of the same
// executable. It is an error if path is no socket, or if connecting is not permitted.
func answers(path string, same func(*net.UnixConn) bool) (there, here bool, err error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case err == nil:
		defer c.Close()
		return true, same(c), nil
	case errors.Is(err, unix.EAGAIN): // more connections wait than the kernel permits
		return true, false, nil
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED):
		return false, false, nil
	}
	return false, false, fmt.Errorf("bfd: %w", err)
}

// listenSocket listens at path, where no process does; the lock is held.
func listenSocket(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("bfd: listen on %s: a file that is no socket is in the way", path)
	} else if err == nil {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("bfd: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("bfd: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("bfd: %w", err)
	}
	return l, nil
}
