package hostile

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Sender sends frames as they are.
type Sender struct{ fd int }

// Open opens a sender on an interface of the namespace at a path. It needs CAP_NET_RAW.
func Open(path, link string) (s Sender, err error) {
	err = netns.Do(path, func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return fmt.Errorf("interface %s: %w", link, err)
		}
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("AF_PACKET: %w", err)
		}
		return unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
	return s, err
}

// Send sends one frame.
func (s Sender) Send(frame []byte) error {
	_, err := unix.Write(s.fd, frame)
	return err
}

// Flood sends the frames of f, rate a second, until stop is closed, and returns how many.
func (s Sender) Flood(f Flood, scene *Scene, rate int, stop <-chan struct{}) (sent uint32) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		select {
		case <-stop:
			return sent
		case <-tick.C:
		}
		for due := uint32(time.Since(begin).Seconds() * float64(rate)); sent < due; sent++ {
			_ = s.Send(f.Frame(scene, sent)) // a queue that is full is part of a flood
		}
	}
}

// Close closes the socket.
func (s Sender) Close() error { return unix.Close(s.fd) }

// Ear hears every frame of an interface.
type Ear struct {
	fd  int
	buf []byte
}

// Hear opens an ear on an interface of the namespace at a path.
func Hear(path, link string) (*Ear, error) {
	e := &Ear{buf: make([]byte, 1<<16)}
	err := netns.Do(path, func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return fmt.Errorf("interface %s: %w", link, err)
		}
		const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
		if e.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all); err != nil {
			return fmt.Errorf("AF_PACKET: %w", err)
		}
		return unix.Bind(e.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	})
	return e, err
}

// Next returns the next frame that came in, until a deadline. It is valid until the next
// call.
func (e *Ear) Next(deadline time.Time) ([]byte, error) {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, os.ErrDeadlineExceeded
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, int(left/time.Millisecond)+1); err != nil && err != unix.EINTR {
			return nil, err
		}
		n, from, err := unix.Recvfrom(e.fd, e.buf, 0)
		if l, ok := from.(*unix.SockaddrLinklayer); err == nil && ok && l.Pkttype != unix.PACKET_OUTGOING {
			return e.buf[:n], nil
		}
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return nil, err
		}
	}
}

// Close closes the ear.
func (e *Ear) Close() error { return unix.Close(e.fd) }
