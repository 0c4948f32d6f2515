// Package kernel is what package fib asks of the kernel of a network namespace: three
// netlink sockets, and the files of sysctls. Package fib has the one for Linux. A context
// may carry another, by which package fib/fibtest puts one in memory under the FIBs that
// run with this context: no exported name of package fib does that, and no program can by
// mistake. (net.Resolver is redirected in the same way in the tests of package net, by
// internal/nettrace.LookupIPAltResolverKey.)
package kernel

import (
	"context"
	"fmt"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Kernel is the kernel of one network namespace.
type Kernel interface {
	// Open makes the caller the owner of protocol numbers until Release, and opens what a
	// FIB holds open. netns is the path of the namespace.
	Open(netns string, protocols ...uint8) (Handles, error)
}

// Socket is a netlink socket: [rtnl.Socket] has these methods.
type Socket interface {
	rtnl.Conn
	Dump(request, buffer []byte, f func(datagram []byte) (done bool, err error)) error
	// Close makes Wait return an error.
	Close() error
}

// Sysctls are the files below /proc/sys. Wait is for one goroutine, all other methods are
// for another one.
type Sysctls interface {
	// Apply watches the files, and then writes those that have another value, unless dry.
	// The results are those of todo, in order.
	Apply(todo []fibcore.Sysctl, dry bool) []SysctlResult
	// Forget ends the watching of the files of a directory.
	Forget(dir string)
	// Wait waits for writes to watched files. It returns an error after Close.
	Wait() ([]SysctlWrite, error)
	// Path returns the path of the file that was written, "" if it is not watched any more.
	Path(SysctlWrite) string
	Close()
}

// SysctlResult is what came of one sysctl: written, equal already, or an error.
type SysctlResult struct {
	Written bool
	Err     error
}

// SysctlWrite is a write to one file: the watch of its directory, and its name.
type SysctlWrite struct {
	Watch int32
	Name  string
}

// Handles are what a FIB holds open.
type Handles struct {
	Commands, Monitor, Dumps Socket
	Audits                   Socket  // of dumps that are read a bit at a time; nil: no audit
	Sysctls                  Sysctls // may be nil where no sysctl is ever desired
	// NoNextHops says that the kernel has no next-hop objects.
	NoNextHops bool
	// Release gives the protocol numbers up; nil if there is nothing to do.
	Release func()
}

// Close makes everything return that waits for a socket.
func (h *Handles) Close() {
	for _, s := range []Socket{h.Commands, h.Monitor, h.Dumps, h.Audits} {
		if s != nil {
			_ = s.Close()
		}
	}
	if h.Sysctls != nil {
		h.Sysctls.Close()
	}
	if h.Release != nil {
		h.Release()
	}
}

// key is the key of the kernel for a namespace in a context, and redirected the key of
// whether there is any.
type (
	key        struct{ netns string }
	redirected struct{}
)

// With returns a context in which k is the kernel of a namespace.
func With(ctx context.Context, netns string, k Kernel) context.Context {
	return context.WithValue(context.WithValue(ctx, redirected{}, true), key{netns}, k)
}

// From returns the kernel of a namespace in a context, and linux if the context has none. If the
// context has kernels for other namespaces only, that is an error: a test must not change
// the machine that it runs on.
func From(ctx context.Context, netns string, linux Kernel) (Kernel, error) {
	if k, ok := ctx.Value(key{netns}).(Kernel); ok {
		return k, nil
	}
	if ctx.Value(redirected{}) != nil {
		return nil, fmt.Errorf("fib: the context has no kernel for the network namespace %q", netns)
	}
	return linux, nil
}
