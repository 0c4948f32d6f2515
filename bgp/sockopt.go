package bgp

import (
	"net/netip"
	"syscall"

	"github.com/hyperfib/hyperfib/internal/sock"
)

// maxMD5Key is TCP_MD5SIG_MAXKEYLEN, the kernel's limit in octets.
const maxMD5Key = 80

// md5Key is one key of TCP MD5 (RFC 2385, Section 2.0): for one peer, or with the kernel's
// TCP_MD5SIG_EXT for a prefix of peers. An empty key deletes.
type md5Key struct {
	prefix netip.Prefix // a peer's address in full length, or a range
	key    string       // at most TCP_MD5SIG_MAXKEYLEN (80) octets
}

// rawControl runs f on the descriptor of c, as net.Dialer's Control hands it
// over.
func rawControl(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// listenOptions prepares a listening socket: it may be bound before its address
// exists, and answers with TTL 255, which a peer with GTSM insists on and any
// other does not mind.
func listenOptions(fd int, ipv6 bool) error {
	if err := setFreebind(fd, ipv6); err != nil {
		return err
	}
	prioritize(fd, ipv6)
	return sock.SetTTL(fd, ipv6, 255)
}

// prioritize marks the packets as network control. An ordinary user may not, and
// does without.
func prioritize(fd int, ipv6 bool) { _ = sock.SetPriority(fd, ipv6) }

// dialOptions prepares a socket before it connects to a peer.
func dialOptions(fd int, s *Config, peer *PeerConfig) error {
	ipv6 := peer.Addr.Is6()
	if err := sock.BindToDevice(fd, peer.Interface); err != nil {
		return err
	}
	prioritize(fd, ipv6)
	if err := setTTL(fd, ipv6, s, peer); err != nil {
		return err
	}
	if peer.MD5Key == "" {
		return nil
	}
	return setMD5(fd, md5Key{prefix: hostPrefix(peer.Addr), key: peer.MD5Key})
}

// setTTL sets the TTL with which we send, and the least that the kernel lets in: it drops
// segments with less before TCP sees them (ip(7), IP_MINTTL; net/ipv4/tcp_ipv4.c, tcp_v4_rcv).
func setTTL(fd int, ipv6 bool, s *Config, peer *PeerConfig) error {
	send, least := s.ttl(peer)
	if send > 0 {
		if err := sock.SetTTL(fd, ipv6, send); err != nil {
			return err
		}
	}
	if least > 0 {
		return sock.SetMinTTL(fd, ipv6, least)
	}
	return nil
}

// unread returns the number of octets the kernel has received and the reader has not
// read, 0 if that is not known.
func unread(c any) int {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = rawControl(raw, func(fd int) error {
		n, err = received(fd)
		return err
	})
	return n
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a.WithZone(""), a.BitLen()) }
