package afpacket

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/police"
)

// socket makes the socket. It is born with protocol 0, which receives nothing (packet(7)), and
// bound when its filter stands: no foreign frame slips in.
func (c *Conn) socket() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket AF_PACKET", err)
	}
	if err := c.options(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// options asks for time stamps, and sets the size of the receive buffer. With CAP_NET_ADMIN net.core.rmem_max does
// not limit it (socket(7), SO_RCVBUFFORCE); without, it does.
//
// Time stamps cost the whole host some nanoseconds a packet while any socket has them
// (net/core/dev.c, net_enable_timestamp), as those of BFD, of NTP and of tcpdump have. The kernel begins
// a moment after it was asked to, from a work queue; what came before is stamped when it is read
// (include/net/sock.h, sock_recv_timestamp).
func (c *Conn) options(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("SO_TIMESTAMPNS", err)
	}
	size := c.cfg.ReceiveBuffer
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return nil
	}
	return os.NewSyscallError("SO_RCVBUF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size))
}

// bind begins to receive, if that is not so already.
func (c *Conn) bind() error {
	if c.bound {
		return nil
	}
	if err := c.attach(police.List{}); err != nil {
		return err
	}
	if err := unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(c.cfg.EtherType)}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	c.bound = true
	if c.cfg.SocketStore != nil {
		c.cfg.SocketStore.Keep(c.fd)
	}
	return nil
}

// attach sets the filter of the socket to that for a list.
func (c *Conn) attach(list police.List) error {
	c.prog = filter(c.prog[:0], c.cfg.Accept, list)
	return attach(c.fd, c.prog)
}

func attach(fd int, program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return os.NewSyscallError("SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog))
}

// join makes sure that an interface is there and delivers every group that is wanted.
func (c *Conn) join(link int) error {
	name, err := c.nameOf(link)
	if err != nil {
		return fmt.Errorf("interface %d: %w", link, err)
	}
	if !c.cfg.AllMulticast || c.passesAll(name) {
		return nil
	}
	mreq := unix.PacketMreq{Ifindex: int32(link), Type: unix.PACKET_MR_ALLMULTI}
	// An earlier program may have joined by the same socket, and the kernel counts how often
	// (net/packet/af_packet.c, packet_mc_add).
	_ = unix.SetsockoptPacketMreq(c.fd, unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP, &mreq)
	if err := unix.SetsockoptPacketMreq(c.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return fmt.Errorf("interface %d: %w", link, os.NewSyscallError("PACKET_MR_ALLMULTI", err))
	}
	c.joined[link] = true
	return nil
}

// leave undoes join.
func (c *Conn) leave(link int) {
	if c.joined[link] {
		delete(c.joined, link)
		mreq := unix.PacketMreq{Ifindex: int32(link), Type: unix.PACKET_MR_ALLMULTI}
		_ = unix.SetsockoptPacketMreq(c.fd, unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP, &mreq)
	}
}

// nameOf returns the name of an interface (netdevice(7), SIOCGIFNAME).
func (c *Conn) nameOf(link int) (string, error) {
	req, err := unix.NewIfreq("0") // an empty name is refused
	if err != nil {
		return "", err
	}
	req.SetUint32(uint32(link))
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFNAME, req); err != nil {
		return "", os.NewSyscallError("SIOCGIFNAME", err)
	}
	return req.Name(), nil
}

// passesAll reports whether an interface has no list of the groups that it receives, as
// those of virtual machines and containers have not. To set IFF_ALLMULTI there anyway
// would do no harm, but the kernel logs "entered allmulticast mode" for each
// (net/core/dev.c), for a thousand guests whenever the daemon starts or ends.
func (c *Conn) passesAll(name string) bool {
	info, err := unix.IoctlGetEthtoolDrvinfo(c.fd, name)
	if err != nil {
		return false
	}
	driver := unix.ByteSliceToString(info.Driver[:])
	return driver == "tun" || driver == "veth"
}

// htons returns v in network byte order, as sockaddr_ll wants it.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
