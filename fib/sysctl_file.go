package fib

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"golang.org/x/sys/unix"
)

// sysctlWrite is a write to one file: the watch of its directory, and its name.
type sysctlWrite struct {
	wd   int32
	name string
}

// applySysctl compares and, unless dry, writes one value. It runs on a thread
// in the namespace. The files of /proc are opened with plain system calls: the
// runtime's poller, which os.Open asks whether it can wait for them, costs as much as
// all the rest.
func applySysctl(s fibcore.Sysctl, dry bool) (written bool, err error) {
	name := "/proc/sys/" + s.Path
	var buf [256]byte
	n, err := withFile(name, unix.O_RDONLY, func(fd int) (int, error) { return unix.Read(fd, buf[:]) })
	if err != nil {
		return false, err
	}
	if sameValue(buf[:n], s.Value) || dry {
		return false, nil
	}
	_, err = withFile(name, unix.O_WRONLY, func(fd int) (int, error) { return unix.Write(fd, []byte(s.Value)) })
	return err == nil, err
}

func withFile(name string, flags int, f func(fd int) (int, error)) (n int, err error) {
	again := func(f func() error) (err error) {
		for err = f(); errors.Is(err, unix.EINTR); err = f() {
		}
		return err
	}
	var fd int
	if err := again(func() (err error) { fd, err = unix.Open(name, flags|unix.O_CLOEXEC, 0); return err }); err != nil {
		return 0, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := again(func() (err error) { n, err = f(fd); return err }); err != nil {
		return 0, &os.PathError{Op: "access", Path: name, Err: err}
	}
	return n, nil
}

// sameValue compares values word by word: the kernel separates with tabs.
func sameValue(have []byte, want string) bool {
	return slices.EqualFunc(bytes.Fields(have), strings.Fields(want), func(a []byte, b string) bool { return string(a) == b })
}
