package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// SetTTL sets the TTL (IPv4) or hop limit (IPv6) of outgoing unicast packets: IP_TTL of
// ip(7), IPV6_UNICAST_HOPS of ipv6(7).
func SetTTL(fd int, ipv6 bool, ttl int) error {
	if ipv6 {
		return wrap("IPV6_UNICAST_HOPS", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl))
	}
	return wrap("IP_TTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl))
}

// SetMinTTL drops incoming TCP segments whose TTL (hop limit) is below ttl: the
// receiving side of GTSM, RFC 5082, Section 3. The kernel compares in tcp_v4_rcv and
// tcp_v6_rcv, for listeners and connections alike.
func SetMinTTL(fd int, ipv6 bool, ttl int) error {
	if ipv6 {
		return wrap("IPV6_MINHOPCOUNT", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, ttl))
	}
	return wrap("IP_MINTTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl))
}

// SetPriority marks outgoing packets as network control: SO_PRIORITY 7 and
// DSCP CS6 (RFC 4594, Section 3.1).
func SetPriority(fd int, ipv6 bool) error {
	const cs6 = 48 << 2
	// More than 6 takes CAP_NET_ADMIN (socket(7)).
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7); err != nil {
		return wrap("SO_PRIORITY", err)
	}
	if ipv6 {
		return wrap("IPV6_TCLASS", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, cs6))
	}
	// IP_TOS resets SO_PRIORITY from the TOS (net/ipv4/ip_sockglue.c, __ip_sock_set_tos), so
	// the priority goes second.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, cs6); err != nil {
		return wrap("IP_TOS", err)
	}
	return wrap("SO_PRIORITY", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7))
}

// BindToDevice binds the socket to an interface (socket(7), SO_BINDTODEVICE): it receives
// and sends by that alone, and a VRF device stands for its members. An empty name does
// nothing.
func BindToDevice(fd int, name string) error {
	if name == "" {
		return nil
	}
	return wrap("SO_BINDTODEVICE "+name, unix.BindToDevice(fd, name)) // ENODEV says nothing without it
}

// wrap returns err with the name of the option, or nil.
func wrap(option string, err error) error {
	if err == nil {
		return nil
	}
	return os.NewSyscallError("setsockopt "+option, err)
}
