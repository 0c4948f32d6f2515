package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen makes the unix socket at path, with mode 0600. Of two processes that do so at once
// one gets it, and the other one an error, also if the socket of a dead process is in the
// way: a lock file beside the socket, which stays, has them take turns. Nothing but a socket
// is ever removed.
//
// If it is not nil, first is called as soon as it is certain that no other process answers
// at path, and before anybody can connect.
func Listen(path string, first func() error) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return listen(path, first)
}

// listen is Listen for who has the lock.
func listen(path string, first func() error) (*net.UnixListener, error) {
	if err := removeDead(path); err != nil {
		return nil, err
	}
	if first != nil {
		if err := first(); err != nil {
			return nil, err
		}
	}
	// The file gets the mode of the socket, less the umask (unix_bind in the kernel's
	// net/unix/af_unix.c): there is no moment in which others may connect.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, e)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// lockFile waits for the lock of a socket, which closing the file releases: until another
// process answers at the socket, since a daemon holds the lock as long as it runs, and no
// longer than endTime.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for patience := time.Now().Add(endTime); ; time.Sleep(2 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case err == unix.EINTR:
			continue
		case err != unix.EWOULDBLOCK:
			err = &os.PathError{Op: "flock", Path: path + ".lock", Err: err}
		case Answers(path):
			err = errAnswers(path)
		case time.Now().After(patience):
			err = fmt.Errorf("listen on %s: another process has had it for %v, and does not answer", path, endTime)
		default:
			continue
		}
		f.Close()
		return nil, err
	}
}

func errAnswers(path string) error {
	return fmt.Errorf("listen on %s: another process answers there", path)
}

// removeDead removes a socket at which no process listens any more.
func removeDead(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen on %s: a file that is no socket is in the way", path)
	case Answers(path):
		return errAnswers(path)
	}
	return os.Remove(path)
}

// Answers reports whether a process listens at a unix socket. A process that has more
// connections waiting than the kernel lets it have does.
func Answers(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return errors.Is(err, unix.EAGAIN)
	}
	c.Close()
	return true
}
