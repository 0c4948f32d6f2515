package afpacket

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Write sends frames, each on its Link, and returns how many the kernel took. A
// frame it refuses (interface down or gone, queue full) is skipped, and the first
// such error is returned after the rest has been sent. It never blocks.
func (c *Conn) Write(frames []Frame) (sent int, err error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.fd < 0 {
		return 0, os.ErrClosed
	}
	for len(frames) > 0 {
		n := min(len(frames), Batch)
		ok, first := c.send(frames[:n])
		sent += ok
		if err == nil {
			err = first
		}
		frames = frames[n:]
	}
	return sent, err
}

// send sends at most Batch frames. After an error it goes on behind the frame that was
// refused.
func (c *Conn) send(frames []Frame) (sent int, err error) {
	n := 0
	for _, f := range frames {
		if len(f.Data) == 0 {
			continue
		}
		c.tx.names[n] = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Protocol: htons(c.cfg.EtherType), Ifindex: int32(f.Link)}
		c.tx.iovs[n].Base = &f.Data[0]
		c.tx.iovs[n].SetLen(len(f.Data))
		n++
	}
	for at := 0; at < n; {
		got, e := sendmmsg(c.fd, c.tx.msgs[at:n])
		if e == 0 {
			at += got
			sent += got
			continue
		}
		if e == unix.EINTR {
			continue
		}
		if err == nil {
			err = fmt.Errorf("interface %d: %w", c.tx.names[at].Ifindex, os.NewSyscallError("sendmmsg", e))
		}
		at++
	}
	return sent, err
}
