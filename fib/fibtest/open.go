package fibtest

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// opener is what a FIB opens its sockets by: not a method of Kernel that users see.
type opener struct{ *Kernel }

// Open implements kernel.Kernel.
func (o opener) Open(_ string, protocols ...uint8) (h kernel.Handles, err error) {
	k := o.Kernel
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range protocols {
		if k.claimed[p] {
			return h, fmt.Errorf("%w: protocol %d, by another FIB of this test", fib.ErrInUse, p)
		}
	}
	for _, p := range protocols {
		k.claimed[p] = true
	}
	commands, monitor, dumps, audits, files := k.socket(), k.socket(), k.socket(), k.socket(), newSysctls(k)
	audits.socket.Slow = true
	_ = monitor.socket.Ignore(commands.socket.Port())
	_ = monitor.socket.Join(rtnl.RTNLGRP_LINK, rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR, rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE,
		rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE, rtnl.RTNLGRP_NEIGH, rtnl.RTNLGRP_NEXTHOP)
	k.monitor = append(k.monitor, monitor.socket)
	release := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, p := range protocols {
			delete(k.claimed, p)
		}
		k.monitor = slices.DeleteFunc(k.monitor, func(s *fakekernel.Socket) bool { return s == monitor.socket })
	}
	return kernel.Handles{Commands: commands, Monitor: monitor, Dumps: dumps, Audits: audits, Sysctls: files, Release: release}, nil
}

// socket is a socket of a FIB: one of the fake kernel, with its lock, that can wait.
type socket struct {
	kernel *Kernel
	socket *fakekernel.Socket
	ready  chan struct{} // capacity 1: there may be something to receive
	closed chan struct{}
}

func (k *Kernel) socket() *socket {
	k.ports++
	s := &socket{kernel: k, socket: k.kernel.Open(k.ports, &k.faults), ready: make(chan struct{}, 1), closed: make(chan struct{})}
	s.socket.OnReady = func() {
		select {
		case s.ready <- struct{}{}:
		default:
		}
	}
	return s
}

func (s *socket) Send(b []byte) (err error) {
	s.kernel.do(func(*fakekernel.Kernel) { err = s.socket.Send(b) })
	return err
}

func (s *socket) Receive(b []byte) (n int, err error) {
	s.kernel.do(func(*fakekernel.Kernel) { n, err = s.socket.Receive(b) })
	return n, err
}

func (s *socket) Dump(request, buffer []byte, f func([]byte) (bool, error)) error {
	return rtnl.Dump(s, request, buffer, f)
}

func (s *socket) Wait() error {
	for {
		readable := false
		s.kernel.do(func(*fakekernel.Kernel) { readable = s.socket.Readable() })
		select {
		case <-s.closed:
			return unix.EBADF
		default:
		}
		if readable {
			return nil
		}
		select {
		case <-s.closed:
		case <-s.ready:
		}
	}
}

func (s *socket) Close() error {
	s.kernel.do(func(*fakekernel.Kernel) { _ = s.socket.Close() })
	close(s.closed)
	return nil
}

// sysctls are the files of sysctls, as one FIB writes and watches them.
type sysctls struct {
	kernel  *Kernel
	watched map[string]bool // directories
	touched map[string]bool // files that others have written
	ready   chan struct{}   // capacity 1: touched has some
	closed  chan struct{}
}

// newSysctls is called under the lock.
func newSysctls(k *Kernel) *sysctls {
	s := &sysctls{kernel: k, watched: map[string]bool{}, touched: map[string]bool{}, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	k.watches[s] = true
	return s
}

// written notes, under the lock, that another program has written a file.
func (s *sysctls) written(file string) {
	if !s.watched[path.Dir(file)] {
		return
	}
	s.touched[file] = true
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Apply implements kernel.Sysctls.
func (s *sysctls) Apply(todo []fibcore.Sysctl, dry bool) []kernel.SysctlResult {
	results := make([]kernel.SysctlResult, len(todo))
	s.kernel.do(func(fake *fakekernel.Kernel) {
		for i, c := range todo {
			s.watched[path.Dir(c.Path)] = true
			have, ok := fake.Sysctl(c.Path)
			switch {
			case !ok:
				results[i].Err = &fs.PathError{Op: "open", Path: "/proc/sys/" + c.Path, Err: unix.ENOENT}
			case !dry && !slices.Equal(strings.Fields(have), strings.Fields(c.Value)):
				fake.SetSysctl(c.Path, c.Value)
				results[i].Written = true
			}
		}
	})
	return results
}

// Forget implements kernel.Sysctls.
func (s *sysctls) Forget(dir string) {
	s.kernel.do(func(*fakekernel.Kernel) { delete(s.watched, dir) })
}

// Wait implements kernel.Sysctls.
func (s *sysctls) Wait() (writes []kernel.SysctlWrite, err error) {
	select {
	case <-s.closed:
		return nil, fs.ErrClosed
	case <-s.ready:
	}
	s.kernel.do(func(*fakekernel.Kernel) {
		for _, file := range slices.Sorted(maps.Keys(s.touched)) {
			writes = append(writes, kernel.SysctlWrite{Name: file})
		}
		clear(s.touched)
	})
	return writes, nil
}

// Path implements kernel.Sysctls.
func (s *sysctls) Path(w kernel.SysctlWrite) string { return w.Name }

// Close implements kernel.Sysctls.
func (s *sysctls) Close() {
	s.kernel.do(func(*fakekernel.Kernel) { delete(s.kernel.watches, s) })
	close(s.closed)
}
