// Package probe sends single packets from the lab's guests and looks at the
// answers: echo requests, ARP requests, packets with a source that is not the
// sender's.
package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/internal/sock"
)

// Ping sends echo requests from a namespace to every address, repeats those
// that get no answer, and returns the addresses that never answered.
func Ping(ns string, to []netip.Addr, timeout time.Duration) (silent []netip.Addr, err error) {
	return PingOn(ns, "", to, timeout)
}

// PingOn is Ping from a socket that is bound to a device, a VRF for example; "" is
// none.
func PingOn(ns, device string, to []netip.Addr, timeout time.Duration) (silent []netip.Addr, err error) {
	for _, want6 := range []bool{false, true} {
		var list []netip.Addr
		for _, a := range to {
			if a.Is6() == want6 {
				list = append(list, a)
			}
		}
		if len(list) == 0 {
			continue
		}
		p := pinger{device: device, ipv6: want6, to: list, id: uint16(os.Getpid())}
		if err := netns.Do(ns, func() error { return p.run(timeout) }); err != nil {
			return nil, err
		}
		silent = append(silent, p.silent()...)
	}
	return silent, nil
}

// pinger works on one socket and one thread.
type pinger struct {
	device   string
	ipv6     bool
	to       []netip.Addr
	answered []bool
	id       uint16
	fd       int
}

const again = 250 * time.Millisecond // after which an echo request is repeated

func (p *pinger) run(timeout time.Duration) error {
	domain, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if p.ipv6 {
		domain, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return os.NewSyscallError("raw socket", err)
	}
	defer unix.Close(fd)
	if err := sock.BindToDevice(fd, p.device); err != nil {
		return err
	}
	p.fd, p.answered = fd, make([]bool, len(p.to))
	for deadline := time.Now().Add(timeout); !p.done() && time.Now().Before(deadline); {
		p.request()
		if err := p.collect(min(again, time.Until(deadline))); err != nil {
			return err
		}
	}
	return nil
}

func (p *pinger) request() {
	for i, to := range p.to {
		if p.answered[i] {
			continue
		}
		b := make([]byte, 32)
		b[0] = 8 // echo request
		if p.ipv6 {
			b[0] = 128 // the kernel adds the checksum
		}
		binary.BigEndian.PutUint16(b[4:], p.id)
		binary.BigEndian.PutUint16(b[6:], uint16(i))
		if !p.ipv6 {
			binary.BigEndian.PutUint16(b[2:], checksum(b))
		}
		_ = unix.Sendto(p.fd, b, 0, sockaddr(to)) // unreachable counts as silent
	}
}

// collect reads answers until all are there or d is over.
func (p *pinger) collect(d time.Duration) error {
	b := make([]byte, 2048)
	for deadline := time.Now().Add(d); !p.done(); {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		tv := unix.NsecToTimeval(int64(max(left, time.Millisecond)))
		if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return os.NewSyscallError("SO_RCVTIMEO", err)
		}
		n, _, err := unix.Recvfrom(p.fd, b, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			// ICMP errors arrive here; the silence speaks for itself.
		default:
			p.answer(b[:n])
		}
	}
	return nil
}

func (p *pinger) answer(b []byte) {
	reply := byte(129)
	if !p.ipv6 {
		reply = 0
		b = b[min(len(b), int(b[0]&15)*4):]
	}
	if len(b) < 8 || b[0] != reply || binary.BigEndian.Uint16(b[4:]) != p.id {
		return
	}
	if i := int(binary.BigEndian.Uint16(b[6:])); i < len(p.answered) {
		p.answered[i] = true
	}
}

func (p *pinger) done() bool { return len(p.silent()) == 0 }

func (p *pinger) silent() (out []netip.Addr) {
	for i, ok := range p.answered {
		if !ok {
			out = append(out, p.to[i])
		}
	}
	return out
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// checksum is the Internet checksum, RFC 1071, Section 1.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
