package fib

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/netns"
	"golang.org/x/sys/unix"
)

// sysctlFiles are the files of a network namespace.
type sysctlFiles struct {
	netns  string
	watch  *sysctlWatch
	buffer []byte // of Wait
}

// Apply implements kernel.Sysctls.
func (f *sysctlFiles) Apply(todo []fibcore.Sysctl, dry bool) []kernel.SysctlResult {
	results := make([]kernel.SysctlResult, len(todo))
	err := netns.Do(f.netns, func() error {
		f.watch.add(todo) // first: what others write after our look is not missed
		for i, s := range todo {
			results[i].Written, results[i].Err = applySysctl(s, dry)
		}
		return nil
	})
	for i := range results {
		if err != nil {
			results[i].Err = err // no file descriptor is left, for example
		}
	}
	return results
}

// Forget implements kernel.Sysctls.
func (f *sysctlFiles) Forget(dir string) { f.watch.remove(dir) }

// Wait implements kernel.Sysctls.
func (f *sysctlFiles) Wait() ([]kernel.SysctlWrite, error) { return f.watch.read(f.buffer) }

// Path implements kernel.Sysctls.
func (f *sysctlFiles) Path(w kernel.SysctlWrite) string { return f.watch.path(w) }

// Close implements kernel.Sysctls.
func (f *sysctlFiles) Close() { f.watch.file.Close() }

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
