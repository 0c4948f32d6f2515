package bfd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// linuxNamespace is an open network namespace of Linux. But for nextHops, one goroutine
// uses it at a time.
type linuxNamespace struct {
	fd     int      // of the namespace; -1: the process's own
	lookup *netlink // for questions about interfaces and addresses; nil: not opened yet
}

// openNamespace opens the namespace at path.
func openNamespace(path string) (*linuxNamespace, error) {
	if path == "" {
		return &linuxNamespace{fd: -1}, nil
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	return &linuxNamespace{fd: fd}, nil
}

// namespaceOfSocket opens the namespace that a socket is in. SIOCGSKNS needs CAP_NET_ADMIN
// there (sock_ioctl in net/socket.c); without, the namespace is taken to be the one at path.
func namespaceOfSocket(fd int, path string) (*linuxNamespace, error) {
	if path == "" {
		return openNamespace(path)
	}
	if ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS); err == nil {
		return &linuxNamespace{fd: ns}, nil
	}
	return openNamespace(path)
}

func (n *linuxNamespace) close() {
	if n.lookup != nil {
		n.lookup.close()
	}
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
}

// do calls f on a thread inside the namespace.
func (n *linuxNamespace) do(f func() error) error {
	if n.fd < 0 {
		return f()
	}
	return netns.Do(fmt.Sprintf("/proc/self/fd/%d", n.fd), f)
}

func (n *linuxNamespace) at(path string) (same, exists bool) {
	if path == "" {
		return n.fd < 0, true
	}
	var here, there unix.Stat_t
	if unix.Stat(path, &there) != nil {
		return false, false
	}
	return n.fd >= 0 && unix.Fstat(n.fd, &here) == nil && here.Dev == there.Dev && here.Ino == there.Ino, true
}

func (n *linuxNamespace) link(name string) (l device, err error) {
	if err := n.lookups(); err != nil {
		return l, err
	}
	return n.lookup.find(name)
}

// lookups opens the socket for questions to the kernel.
func (n *linuxNamespace) lookups() (err error) {
	if n.lookup == nil {
		n.lookup, err = n.netlink()
	}
	return err
}

func (n *linuxNamespace) netlink() (r *netlink, err error) {
	err = n.do(func() (err error) { r, err = openNetlink(); return err })
	return r, err
}

func (n *linuxNamespace) nextHops() (nextHops, error) { return n.netlink() }

func (n *linuxNamespace) neighbor(ifindex int, addr netip.Addr) []byte {
	if n.lookups() != nil {
		return nil
	}
	return n.lookup.neighbor(ifindex, addr)
}

func (n *linuxNamespace) source(k Key) (local netip.Addr, err error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = sock.BindToDevice(int(fd), k.Interface) }), err)
	}}
	err = n.do(func() error {
		peer, err := scoped(k)
		if err != nil {
			return err
		}
		conn, err := d.Dial("udp", netip.AddrPortFrom(peer, Port).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		local = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
		return nil
	})
	return local, err
}

// scoped returns the address of the peer of a session, a link-local one with its interface. It is
// called within the namespace.
func scoped(k Key) (netip.Addr, error) {
	if !k.Peer.Is6() || !k.Peer.IsLinkLocalUnicast() {
		return k.Peer, nil
	}
	return sock.Numbered(k.Peer.WithZone(k.Interface))
}

// isLocal says no for link-local addresses: of those, our own are no peer's.
func (n *linuxNamespace) isLocal(addr netip.Addr) bool {
	if addr.Is6() && addr.IsLinkLocalUnicast() || n.lookups() != nil {
		return false
	}
	return n.lookup.isLocal(addr)
}

// poke sends an empty datagram to the discard port.
func (n *linuxNamespace) poke(k Key) {
	_ = n.do(func() error {
		peer, err := scoped(k)
		if err != nil {
			return err
		}
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, 9)))
		if err != nil {
			return err
		}
		_, err = c.Write(nil)
		c.Close()
		return err
	})
}
