package bfd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/sock"
)

// rxBuffer is the receive buffer of a socket: with it, 1000 sessions at 10 ms
// survive that this process does not run for a tenth of a second.
const rxBuffer = 8 << 20

// txBuffer is the send buffer of a raw socket: ten packets of each session that a Server can have. Packets for a
// neighbour that has just ceased to resolve are charged to it for as long as the kernel asks, by sessions that are still
// Up as well; what bounds them is the kernel's queue for each neighbour (unres_qlen_bytes of arp(7)) and that a session
// sends once a second after its detection time. The kernel doubles the number and reserves nothing.
const txBuffer = 64 << 20

// open makes a socket in the namespace and prepares it with setup; if that fails the
// socket is closed.
func (n *linuxNamespace) open(family, typ, protocol int, setup func(fd int) error) (fd int, err error) {
	err = n.do(func() error {
		fd, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		if err := setup(fd); err != nil {
			unix.Close(fd)
			return err
		}
		return nil
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// sender opens a raw socket of IPPROTO_RAW: it receives nothing, and takes whole packets with
// their headers (raw(7)).
func (n *linuxNamespace) sender(ipv6 bool) (fd int, lacks, err error) {
	fd, err = n.open(family(ipv6), unix.SOCK_RAW, unix.IPPROTO_RAW, func(fd int) error {
		lacks = sock.SetPriority(fd, ipv6)
		n.enlarge(fd)
		return nil
	})
	if err != nil {
		return -1, nil, fmt.Errorf("raw socket (needs CAP_NET_RAW): %w", err)
	}
	return fd, lacks, nil
}

func (n *linuxNamespace) enlarge(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, txBuffer) != nil { // it needs CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, txBuffer) // as much as net.core.wmem_max permits
	}
}

func (n *linuxNamespace) receiver(to rxKey) (int, error) {
	fd, err := n.open(family(to.ipv6), unix.SOCK_DGRAM, unix.IPPROTO_UDP, func(fd int) error {
		if err := options(fd, to); err != nil {
			return err
		}
		return bind(fd, to)
	})
	if err != nil {
		return -1, fmt.Errorf("port %d (another BFD daemon? see Config.Coexist): %w", to.port, err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rxBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rxBuffer)
	}
	return fd, nil
}

// options asks for what a packet must come with: TTL, destination, interface and
// arrival time.
func options(fd int, to rxKey) error {
	type option struct{ level, name int } // of setsockopt(2), with the value 1
	wanted := []option{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}}
	if to.ipv6 {
		wanted = append(wanted, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT})
	} else {
		wanted = append(wanted, option{unix.IPPROTO_IP, unix.IP_PKTINFO}, option{unix.IPPROTO_IP, unix.IP_RECVTTL})
	}
	if to.local.IsValid() {
		wanted = append(wanted, option{unix.SOL_SOCKET, unix.SO_REUSEADDR})
	}
	// What arrives on an interface that belongs to a VRF is heard by sockets that are
	// bound to the VRF, and by no others, unless the host says so for all programs
	// (net.ipv4.udp_l3mdev_accept; Documentation/networking/vrf.rst).
	if to.ifindex != 0 && !to.local.IsLinkLocalUnicast() {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, to.ifindex); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTOIFINDEX", err)
		}
	}
	for _, o := range wanted {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func bind(fd int, to rxKey) error {
	var sa unix.Sockaddr
	if to.ipv6 {
		a := &unix.SockaddrInet6{Port: int(to.port), ZoneId: uint32(to.ifindex)}
		if to.local.IsValid() {
			a.Addr = to.local.As16()
		}
		sa = a
	} else {
		a := &unix.SockaddrInet4{Port: int(to.port)}
		if to.local.IsValid() {
			a.Addr = to.local.As4()
		}
		sa = a
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// fromSelf attaches a filter that drops what came by the loopback interface, whose index
// is 1 in every namespace (LOOPBACK_IFINDEX in net/flow.h). The interface that the kernel reports with a packet does not
// tell: IP_PKTINFO and IPV6_PKTINFO name the interface that the sender was bound to, or
// the one that has the address (ipv4_pktinfo_prepare and ip6_rcv_core in the kernel).
func (n *linuxNamespace) fromSelf(fd int, take bool) error {
	if take {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != unix.ENOENT { // ENOENT: none is attached
			return os.NewSyscallError("setsockopt SO_DETACH_FILTER", err)
		}
		return nil
	}
	const skfAdOff, skfAdIfindex = 0xfffff000, 8 // SKF_AD_OFF and SKF_AD_IFINDEX of linux/filter.h
	return attachFilter(fd, []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: skfAdOff + skfAdIfindex},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 1, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	})
}

func attachFilter(fd int, filter []unix.SockFilter) error {
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
}

// echo opens a packet socket: it receives echo packets only, and sends whole IP packets.
func (n *linuxNamespace) echo(ipv6 bool, ifindex int) (int, error) {
	protocol := uint16(etherIPv4)
	if ipv6 {
		protocol = etherIPv6
	}
	fd, err := n.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0, func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		if err := attachFilter(fd, echoFilter(ipv6)); err != nil {
			return err
		}
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: ifindex}))
	})
	if err != nil {
		return -1, fmt.Errorf("echo: %w", err)
	}
	return fd, nil
}

// echoFilter passes UDP to port 3785 without IP options. Offsets count from the IP header:
// packet sockets of type SOCK_DGRAM have no link-layer header (packet(7)).
func echoFilter(ipv6 bool) []unix.SockFilter {
	proto, port := uint32(9), uint32(22)
	if ipv6 {
		proto, port = 6, 42
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: proto},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: port},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: EchoPort, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

func family(ipv6 bool) int {
	if ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
