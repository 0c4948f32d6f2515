package fib

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// A protocol number has one owner in a network namespace: two would each delete, and
// repair for ever, what the other writes. The owner listens on an abstract Unix socket,
// whose name is the namespace's own and goes with the process, however that ends. Who
// connects learns from the kernel which process it is (SO_PEERCRED), and nothing else.

// claims are the sockets of the protocol numbers that a FIB owns.
type claims []net.Listener

func (c claims) release() {
	for _, l := range c {
		_ = l.Close()
	}
}

// hangUp takes connections out of the socket's queue, so that it is never full.
func hangUp(l net.Listener) {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(100 * time.Millisecond)
		default:
			_ = c.Close()
		}
	}
}

// claimPatience is how long an owner is waited for that may be about to end: the kernel
// closes the sockets of a process that was killed one after the other.
const claimPatience = 500 * time.Millisecond

// claim makes this process the owner of protocol numbers.
func claim(path string, protocols ...uint8) (c claims, err error) {
	for _, p := range protocols {
		var fd int
		for end := time.Now().Add(claimPatience); ; time.Sleep(10 * time.Millisecond) {
			err = netns.Do(path, func() (err error) { fd, err = claimOne(p); return err })
			if !errors.Is(err, ErrInUse) || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			c.release()
			return nil, err
		}
		if fd < 0 {
			continue
		}
		file := os.NewFile(uintptr(fd), "claim")
		l, err := net.FileListener(file)
		_ = file.Close()
		if err != nil {
			c.release()
			return nil, fmt.Errorf("fib: claim protocol %d: %w", p, err)
		}
		c = append(c, l)
		go hangUp(l)
	}
	return c, nil
}
