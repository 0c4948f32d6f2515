package bfd

import (
	"os"

	"golang.org/x/sys/unix"
)

// A session stays in the namespace that its sockets were made in, whatever becomes of
// the path that led there: an `ip netns del` takes the name away, not the namespace,
// and an `ip netns add` gives it to another one.

// namespaceOf opens the namespace that a socket is in; -1 if that is not permitted.
func namespaceOf(fd int) int {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return -1
	}
	return ns
}

// sameNamespace tells whether two open files are the same namespace.
func sameNamespace(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// descriptor gives one of the namespace's sockets, -1 if there is none.
func (sp *space) descriptor() int {
	for _, t := range sp.tx {
		if t != nil {
			return t.fd
		}
	}
	for _, r := range sp.rx {
		return r.fd
	}
	return -1
}

// moved tells whether the path of the namespace leads to another one by now.
func (sp *space) moved() bool {
	if sp.netns == "" {
		return false
	}
	was := namespaceOf(sp.descriptor())
	if was < 0 {
		return false
	}
	defer unix.Close(was)
	now, err := os.Open(sp.netns)
	if err != nil {
		return false // there is nowhere else to go
	}
	defer now.Close()
	return !sameNamespace(was, int(now.Fd()))
}

// in tells whether the socket is in a namespace.
func (r *rtnl) in(ns int) bool {
	own := namespaceOf(r.fd)
	if own < 0 {
		return true
	}
	defer unix.Close(own)
	return sameNamespace(own, ns)
}
