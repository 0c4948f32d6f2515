package afpacket

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// socket makes the receiving socket of one interface. It is born with protocol 0,
// which receives nothing, and bound when its filter stands: no foreign frame
// slips in, and the kernel has no running socket to wait for.
func (c *Conn) socket(link int) (fd int, err error) {
	err = netns.Do(c.cfg.NetNS, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket AF_PACKET", err)
	})
	if err != nil {
		return -1, err
	}
	if err = c.prepare(fd); err == nil {
		err = c.join(fd, link)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// prepare sets what a program may set anew on a socket that another one has used.
func (c *Conn) prepare(fd int) error {
	if n := len(c.cfg.Filter); n > 0 {
		prog := unix.SockFprog{Len: uint16(n), Filter: &c.cfg.Filter[0]}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
			return os.NewSyscallError("SO_ATTACH_FILTER", err)
		}
	}
	size := c.cfg.ReceiveBuffer
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	// With CAP_NET_ADMIN net.core.rmem_max does not limit it; without, it does.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
			return os.NewSyscallError("SO_RCVBUF", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return os.NewSyscallError("PACKET_AUXDATA", err)
	}
	return nil
}

// join makes the socket hear what its interface brings.
func (c *Conn) join(fd, link int) error {
	if c.cfg.AllMulticast && link != 0 {
		mreq := unix.PacketMreq{Ifindex: int32(link), Type: unix.PACKET_MR_ALLMULTI}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return os.NewSyscallError("PACKET_MR_ALLMULTI", err)
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(c.cfg.EtherType), Ifindex: link}))
}

// htons returns v in network byte order, as sockaddr_ll wants it.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
