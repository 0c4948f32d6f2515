// Package pktest is a packet connection in memory, for tests of the loops of arp
// and ndp under testing/synctest.
package pktest

import (
	"os"
	"sync"
	"time"
)

// Conn is a connection whose far side is the test: packets given to Deliver are
// read, packets written are collected for Take. Make it with New inside the bubble.
type Conn[T any] struct {
	mu       sync.Mutex
	queue    []T
	sent     []T
	links    map[int]bool
	deadline time.Time
	closed   bool
	wake     chan struct{} // one pending wake-up at most
	fail     error         // what Write returns
}

// New makes an empty Conn.
func New[T any]() *Conn[T] {
	return &Conn[T]{links: make(map[int]bool), wake: make(chan struct{}, 1)}
}

// Deliver hands packets to the reader.
func (c *Conn[T]) Deliver(packets ...T) {
	c.mu.Lock()
	c.queue = append(c.queue, packets...)
	c.mu.Unlock()
	c.poke()
}

// Take returns what has been written since the last Take.
func (c *Conn[T]) Take() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}

// FailWrites has Write return err.
func (c *Conn[T]) FailWrites(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

// Has reports whether link has been added.
func (c *Conn[T]) Has(link int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.links[link]
}

// Read implements PacketConn.
func (c *Conn[T]) Read(packets []T) (int, error) {
	for {
		c.mu.Lock()
		deadline, now := c.deadline, time.Now()
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, os.ErrClosed
		case !deadline.IsZero() && !now.Before(deadline):
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			n := copy(packets, c.queue)
			c.queue = c.queue[n:]
			c.mu.Unlock()
			return n, nil
		}
		c.mu.Unlock()
		c.wait(deadline, now)
	}
}

func (c *Conn[T]) wait(deadline, now time.Time) {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(deadline.Sub(now))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-c.wake:
	case <-expired:
	}
}

func (c *Conn[T]) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Write implements PacketConn.
func (c *Conn[T]) Write(packets []T) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	c.sent = append(c.sent, packets...)
	return len(packets), nil
}

// Add implements PacketConn.
func (c *Conn[T]) Add(link int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links[link] = true
	return nil
}

// Remove implements PacketConn.
func (c *Conn[T]) Remove(link int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, link)
}

// SetReadDeadline implements PacketConn.
func (c *Conn[T]) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	c.poke()
	return nil
}

// Close ends the Conn and a Read under way.
func (c *Conn[T]) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.poke()
	return nil
}
