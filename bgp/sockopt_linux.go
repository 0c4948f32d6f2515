package bgp

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// setMD5 installs (or deletes) a key on a socket: TCP_MD5SIG_EXT with
// TCP_MD5SIG_FLAG_PREFIX, which Linux has since 4.13 (net/ipv4/tcp_ipv4.c,
// tcp_v4_parse_md5_keys; tcp(7) does not have it). To delete a key that is not there is
// ENOENT there (tcp_md5_do_del).
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

// setFreebind lets a socket be bound to an address that does not exist yet (ip(7),
// IP_FREEBIND; IPV6_FREEBIND since Linux 4.15).
func setFreebind(fd int, ipv6 bool) error {
	if ipv6 {
		return os.NewSyscallError("setsockopt IPV6_FREEBIND", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1))
	}
	return os.NewSyscallError("setsockopt IP_FREEBIND", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1))
}

// setUserTimeout bounds how long TCP waits for the peer to acknowledge something, be it an answer to its
// keepalives (tcp(7), TCP_USER_TIMEOUT, in milliseconds; 0 is the system's limit).
func setUserTimeout(fd int, d time.Duration) error {
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d/time.Millisecond)))
}

// received returns the number of octets that wait in a socket (tcp(7), SIOCINQ).
func received(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.SIOCINQ) }
