package probe

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// ARP asks on a link who has an address and returns the MACs that answered
// within wait; it stops at the first one if first is set.
func ARP(ns, link string, mac net.HardwareAddr, from, who netip.Addr, wait time.Duration, first bool) ([]net.HardwareAddr, error) {
	var out []net.HardwareAddr
	err := netns.Do(ns, func() error {
		fd, err := packetSocket(link, unix.ETH_P_ARP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, arpRequest(mac, from, who)); err != nil {
			return os.NewSyscallError("write", err)
		}
		return read(fd, wait, func(b []byte) bool {
			if who == arpSender(b) {
				out = append(out, append(net.HardwareAddr(nil), b[22:28]...))
			}
			return first && len(out) > 0
		})
	})
	return out, err
}

// Questions counts the ARP requests to everybody that come to a link of a namespace.
type Questions struct{ fd int }

// Count begins to count them.
func Count(ns, link string) (q *Questions, err error) {
	err = netns.Do(ns, func() error {
		fd, err := packetSocket(link, unix.ETH_P_ARP)
		if err == nil {
			q = &Questions{fd}
		}
		return err
	})
	return q, err
}

// Asked returns the addresses that were asked for since the last call.
func (q *Questions) Asked() (who []netip.Addr) {
	b := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(q.fd, b, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return who
		}
		if n >= 42 && string(b[:6]) == "\xff\xff\xff\xff\xff\xff" && binary.BigEndian.Uint16(b[20:]) == 1 {
			who = append(who, netip.AddrFrom4([4]byte(b[38:42])))
		}
	}
}

// Close ends it.
func (q *Questions) Close() { _ = unix.Close(q.fd) }

// Frame is a UDP packet to put on a link as it is, whatever its source.
type Frame struct {
	SrcMAC, DstMAC net.HardwareAddr
	Src, Dst       netip.AddrPort
	Payload        []byte
}

// Inject sends frames from a namespace's link.
func Inject(ns, link string, frames ...Frame) error {
	return netns.Do(ns, func() error {
		fd, err := packetSocket(link, unix.ETH_P_ALL)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			if _, err := unix.Write(fd, f.encode()); err != nil {
				return os.NewSyscallError("write", err)
			}
		}
		return nil
	})
}

// Listen opens a UDP socket in a namespace.
func Listen(ns string, at netip.AddrPort) (conn *net.UDPConn, err error) {
	err = netns.Do(ns, func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	return conn, err
}

func packetSocket(link string, proto int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("packet socket", err)
	}
	ifi, err := net.InterfaceByName(link)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Protocol: uint16(proto)<<8 | uint16(proto)>>8})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// read hands every frame to f until f is satisfied or wait is over.
func read(fd int, wait time.Duration, f func([]byte) bool) error {
	b := make([]byte, 2048)
	for deadline := time.Now().Add(wait); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		tv := unix.NsecToTimeval(int64(max(left, time.Millisecond)))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return os.NewSyscallError("SO_RCVTIMEO", err)
		}
		n, err := unix.Read(fd, b)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("read", err)
		case f(b[:n]):
			return nil
		}
	}
}

func arpRequest(mac net.HardwareAddr, from, who netip.Addr) []byte {
	b := make([]byte, 42)
	copy(b, "\xff\xff\xff\xff\xff\xff")
	copy(b[6:], mac)
	copy(b[12:], []byte{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1})
	copy(b[22:], mac)
	copy(b[28:], from.AsSlice())
	copy(b[38:], who.AsSlice())
	return b
}

// arpSender is the protocol address of the sender of an ARP reply, or the zero
// Addr for anything else.
func arpSender(b []byte) netip.Addr {
	if len(b) < 42 || binary.BigEndian.Uint16(b[12:]) != unix.ETH_P_ARP || binary.BigEndian.Uint16(b[20:]) != 2 {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(b[28:32])
	return a
}

func (f Frame) encode() []byte {
	udp := make([]byte, 8, 8+len(f.Payload))
	binary.BigEndian.PutUint16(udp, f.Src.Port())
	binary.BigEndian.PutUint16(udp[2:], f.Dst.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(f.Payload)))
	udp = append(udp, f.Payload...)
	pseudo := append(f.Src.Addr().AsSlice(), f.Dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_UDP, byte(len(udp)>>8), byte(len(udp)))
	binary.BigEndian.PutUint16(udp[6:], checksum(pseudo, udp))
	b := append(append([]byte(nil), f.DstMAC...), f.SrcMAC...)
	if f.Src.Addr().Is4() {
		return append(append(append(b, 0x08, 0x00), f.ipv4(len(udp))...), udp...)
	}
	return append(append(append(b, 0x86, 0xdd), f.ipv6(len(udp))...), udp...)
}

func (f Frame) ipv4(payload int) []byte {
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(h[2:], uint16(20+payload))
	copy(h[12:], f.Src.Addr().AsSlice())
	copy(h[16:], f.Dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return h
}

func (f Frame) ipv6(payload int) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, unix.IPPROTO_UDP, 64
	binary.BigEndian.PutUint16(h[4:], uint16(payload))
	copy(h[8:], f.Src.Addr().AsSlice())
	copy(h[24:], f.Dst.Addr().AsSlice())
	return h
}

// Burst sends one UDP packet from each of n source ports.
func Burst(ns string, to netip.AddrPort, n int) error {
	return netns.Do(ns, func() error {
		for range n {
			c, err := net.Dial("udp", to.String())
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("burst"))
			if err = errors.Join(err, c.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}
