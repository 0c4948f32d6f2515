package bgp

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/sock"
)

// maxMD5Key is TCP_MD5SIG_MAXKEYLEN, the kernel's limit in octets.
const maxMD5Key = 80

// md5Key is one key of TCP MD5 (RFC 2385): for one peer, or with the kernel's
// TCP_MD5SIG_EXT for a prefix of peers. An empty key deletes.
type md5Key struct {
	prefix netip.Prefix
	key    string
}

// setMD5 installs (or deletes) a key on a socket.
func setMD5(fd int, k md5Key) error {
	sig := &unix.TCPMD5Sig{Flags: unix.TCP_MD5SIG_FLAG_PREFIX, Prefixlen: uint8(k.prefix.Bits()), Keylen: uint16(len(k.key))}
	sig.Addr = sockaddrStorage(k.prefix.Addr())
	copy(sig.Key[:], k.key)
	err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, sig)
	if err == unix.ENOENT && k.key == "" {
		return nil // it was not there
	}
	if err != nil {
		return fmt.Errorf("TCP MD5 key for %v: %w", k.prefix, os.NewSyscallError("setsockopt TCP_MD5SIG_EXT", err))
	}
	return nil
}

// sockaddrStorage is addr as a struct sockaddr_storage without a port.
func sockaddrStorage(addr netip.Addr) unix.SockaddrStorage {
	var s unix.SockaddrStorage
	if addr.Is4() {
		s.Family = unix.AF_INET
		a := addr.As4()
		for i, b := range a { // struct sockaddr_in: port, address
			s.Data[2+i] = b
		}
		return s
	}
	s.Family = unix.AF_INET6
	a := addr.As16()
	for i, b := range a { // struct sockaddr_in6: port, flow label, address
		s.Data[6+i] = b
	}
	return s
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
	if ipv6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1); err != nil {
			return os.NewSyscallError("setsockopt IPV6_FREEBIND", err)
		}
	} else if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err != nil {
		return os.NewSyscallError("setsockopt IP_FREEBIND", err)
	}
	prioritize(fd, ipv6)
	return sock.SetTTL(fd, ipv6, 255)
}

// prioritize marks the packets as network control. An ordinary user may not, and
// does without.
func prioritize(fd int, ipv6 bool) { _ = sock.SetPriority(fd, ipv6) }

// dialOptions prepares a socket before it connects to a peer.
func dialOptions(fd int, peer *PeerConfig) error {
	ipv6 := peer.Addr.Is6()
	if err := sock.BindToDevice(fd, peer.Interface); err != nil {
		return err
	}
	prioritize(fd, ipv6)
	if peer.TTLSecurity {
		if err := setGTSM(fd, ipv6); err != nil {
			return err
		}
	}
	if peer.MD5Key == "" {
		return nil
	}
	return setMD5(fd, md5Key{prefix: hostPrefix(peer.Addr), key: peer.MD5Key})
}

// setGTSM is RFC 5082, Section 3, both directions.
func setGTSM(fd int, ipv6 bool) error {
	if err := sock.SetTTL(fd, ipv6, 255); err != nil {
		return err
	}
	return sock.SetMinTTL(fd, ipv6, 255)
}

// setUserTimeout bounds how long TCP retransmits what nobody acknowledges: twice
// the hold time, so that the hold timer, which can say why, decides first.
func setUserTimeout(fd int, hold time.Duration) error {
	ms := int(2 * hold / time.Millisecond)
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms))
}

// unread returns the number of octets the kernel has received and nobody has
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
		n, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	})
	return n
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a.WithZone(""), a.BitLen()) }
