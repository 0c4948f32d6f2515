package bgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// listener is one listening socket with what the peers behind it want of it. It
// is shared by all peers and ranges of its address family.
type listener struct {
	addr    netip.AddrPort // what it is bound to
	nl      net.Listener   // the socket
	pending chan struct{}  // a token for each connection not yet Established
	peers   bool           // it is there for PeerConfig.Listen, not for Config.Listen

	mu     sync.Mutex // guards the following
	kernel bool       // the socket is the kernel's
	keys   []md5Key   // that the kernel has
	minTTL int        // the least TTL that gets through
}

// listen opens a socket.
func listen(ctx context.Context, c *Config, addr netip.AddrPort) (*listener, error) {
	l := &listener{addr: addr, pending: make(chan struct{}, c.MaxPending)}
	open := c.Listener
	if open == nil {
		open = func(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
			return listenTCP(ctx, c.NetNS, c.Interface, addr)
		}
	}
	var err error
	l.nl, err = open(ctx, addr)
	return l, err
}

func listenTCP(ctx context.Context, ns, device string, addr netip.AddrPort) (nl net.Listener, err error) {
	ipv6 := addr.Addr().Is6()
	lc := net.ListenConfig{
		KeepAlive: -1, // see setProbes
		Control: func(_, _ string, c syscall.RawConn) error {
			return rawControl(c, func(fd int) error {
				return errors.Join(sock.BindToDevice(fd, device), listenOptions(fd, ipv6))
			})
		},
	}
	err = netns.Do(ns, func() error {
		a, err := sock.Numbered(addr.Addr())
		if err != nil {
			return err
		}
		nl, err = lc.Listen(ctx, network(a), netip.AddrPortFrom(a, addr.Port()).String())
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			return op.Err // a ListenError says the rest
		}
		return err
	})
	return nl, err
}

func network(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// demand is what the peers of one address family want of a listening socket.
type demand struct {
	keys []md5Key // TCP MD5 keys of peers and ranges
	// minTTL is the least that any of them lets in: the kernel refuses other SYNs already.
	// 0 if one does without TTL security.
	minTTL int
}

// apply installs the keys and the TTL limit. Sockets that are not the kernel's
// are their owner's.
func (l *listener) apply(d demand) (failed []*ListenError) {
	sc, ok := l.nl.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.kernel = true
		err = rawControl(raw, func(fd int) error {
			failed = l.set(fd, d)
			return nil
		})
	}
	if err != nil {
		failed = []*ListenError{{Err: err}}
	}
	for _, e := range failed {
		e.Addr = l.addr
	}
	return failed
}

// set changes what is not as it should be, and notes what the kernel has then.
func (l *listener) set(fd int, d demand) (failed []*ListenError) {
	wanted := func(k md5Key) bool {
		return slices.ContainsFunc(d.keys, func(n md5Key) bool { return n.prefix == k.prefix })
	}
	l.keys = slices.DeleteFunc(l.keys, func(k md5Key) bool {
		if wanted(k) {
			return false
		}
		err := setMD5(fd, md5Key{prefix: k.prefix})
		if err != nil {
			failed = append(failed, &ListenError{Peers: k.prefix, Err: err})
		}
		return err == nil
	})
	for _, k := range d.keys {
		if slices.Contains(l.keys, k) {
			continue
		}
		if err := setMD5(fd, k); err != nil {
			failed = append(failed, &ListenError{Peers: k.prefix, Err: err})
			continue
		}
		l.keys = append(slices.DeleteFunc(l.keys, func(o md5Key) bool { return o.prefix == k.prefix }), k)
	}
	if d.minTTL != l.minTTL {
		if err := sock.SetMinTTL(fd, l.addr.Addr().Is6(), d.minTTL); err != nil {
			return append(failed, &ListenError{Err: err, open: true})
		}
		l.minTTL = d.minTTL
	}
	return failed
}

// guards reports whether the kernel has checked connections from prefix with a key, or there
// is none: a listener without a peer's key lets in every sender that claims its address.
func (l *listener) guards(want md5Key) bool {
	if want.key == "" {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.kernel || slices.Contains(l.keys, want)
}

// reaches reports whether a peer can connect to a listener: local is our address of its
// session, or the zero Addr.
func reaches(peer, local, listener netip.Addr) bool {
	if peer.Is4() != listener.Is4() {
		return false
	}
	if !local.IsValid() || listener.IsUnspecified() {
		return true
	}
	otherLink := local.Zone() != "" && listener.Zone() != "" && local.Zone() != listener.Zone()
	return !otherLink && local.WithZone("") == listener.WithZone("")
}

// serve accepts until the listener is closed. admit must not block.
func (l *listener) serve(admit func(nc net.Conn, release func())) {
	for {
		nc, err := l.nl.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely: let some go
			time.Sleep(acceptPause)
			continue
		}
		select {
		case l.pending <- struct{}{}:
			admit(nc, sync.OnceFunc(func() { <-l.pending }))
		default:
			nc.Close()
		}
	}
}

// acceptPause is the wait after a failed accept.
const acceptPause = 50 * time.Millisecond

// tune sets the options of an accepted connection. One that came by another
// interface than the peer's is bound to the latter, and so hears nothing more.
func tune(nc net.Conn, s *Config, peer *PeerConfig) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return rawControl(raw, func(fd int) error {
		ipv6 := addrPort(nc.RemoteAddr()).Addr().Is6()
		if err := sock.BindToDevice(fd, peer.Interface); err != nil {
			return err
		}
		prioritize(fd, ipv6)
		return setTTL(fd, ipv6, s, peer)
	})
}

// zoned returns an address of a connection with the zone that the kernel says: package net may name
// an interface of the past, or of another namespace.
func zoned(nc net.Conn, a netip.AddrPort, peer bool) netip.AddrPort {
	sc, ok := nc.(syscall.Conn)
	if !ok || a.Addr().Zone() == "" {
		return a
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = rawControl(raw, func(fd int) error {
			zone, err := sock.Zone(fd, peer)
			if err == nil {
				a = netip.AddrPortFrom(a.Addr().WithZone(zone), a.Port())
			}
			return err
		})
	}
	return a
}

// addrPort is a's address, without the IPv4-in-IPv6 form; the zero AddrPort if
// it has none (a pipe).
func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
