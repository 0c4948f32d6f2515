package handover

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// writeTime bounds how long a message may wait for a store that does not read; it
	// is then given up, as if it were not there.
	writeTime = 200 * time.Millisecond
	// takeTime bounds how long a store may take to hand over everything.
	takeTime = 2 * time.Second
	// A store that is not there is looked for soon, since it may be about to start, and
	// ever less often.
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
	// claimTime is how long what an earlier daemon left waits to be claimed.
	claimTime = 5 * time.Second
)

// Client is the daemon's side. Without a store it does nothing: keeping is a courtesy,
// nothing depends on it. Its methods are safe for concurrent use.
type Client struct {
	path string

	mu     sync.Mutex
	conn   *net.UnixConn  // nil: there is no store at the moment
	mine   map[string]int // what is to be kept, by name; the descriptors are others'
	left   map[string]int // what an earlier daemon left and nobody has claimed
	closed bool
}

// Open connects to the store at path and takes what an earlier daemon left. It does not
// fail. An empty path is that of nobody.
func Open(path string) *Client {
	c := &Client{path: path, mine: map[string]int{}, left: map[string]int{}}
	if path == "" {
		return c
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return c
	}
	if c.take(conn) != nil {
		conn.Close()
		return c
	}
	c.conn = conn
	return c
}

// take asks for everything. What came before an error is as good as the rest.
func (c *Client) take(conn *net.UnixConn) error {
	_ = conn.SetDeadline(time.Now().Add(takeTime))
	defer conn.SetDeadline(time.Time{})
	if err := send(conn, message{do: take, fd: -1}); err != nil {
		return err
	}
	for {
		m, err := receive(conn)
		switch {
		case err != nil:
			return err
		case m.do == end:
			return nil
		case m.do == put && m.fd >= 0:
			c.left[m.name] = m.fd
		default:
			drop(m.fd)
		}
	}
}

// Run follows the store until ctx ends: one that comes, or comes back, is told
// everything. What nobody claims is let go of.
func (c *Client) Run(ctx context.Context) error {
	if c.path == "" {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	claim := time.AfterFunc(claimTime, c.release)
	defer claim.Stop()
	for retry := firstRetry; ctx.Err() == nil; {
		if conn := c.connection(); conn != nil {
			_, _ = receive(conn) // nothing: it returns when the store is gone
			c.disconnected(conn)
			retry = firstRetry
		} else if !c.redial() {
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
			retry = min(2*retry, lastRetry)
		}
	}
	return nil
}

// redial tells a store everything.
func (c *Client) redial() bool {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: c.path, Net: "unixpacket"})
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return false
	}
	c.conn = conn
	c.send(message{do: anew, fd: -1})
	for name, fd := range c.mine {
		c.send(message{do: put, name: name, fd: fd})
	}
	return c.conn != nil
}

// release lets go of what nobody has claimed.
func (c *Client) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, fd := range c.left {
		c.send(message{do: forget, name: name, fd: -1})
		drop(fd)
	}
	clear(c.left)
}

// Close ends the connection, after which the store alone has the sockets.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed = true; c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	for _, fd := range c.left {
		drop(fd)
	}
	clear(c.left)
}

func (c *Client) connection() *net.UnixConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *Client) disconnected(conn *net.UnixConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn {
		conn.Close()
		c.conn = nil
	}
}

// send sends a message if there is a store that takes it; the lock is held.
func (c *Client) send(m message) {
	if c.conn == nil {
		return
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if send(c.conn, m) != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Of returns the part of the client that keeps one socket, such as "arp". It is what the
// libraries call a SocketStore.
func (c *Client) Of(name string) *Socket { return &Socket{c, name} }

// Socket is one socket.
type Socket struct {
	client *Client
	name   string
}

// Keep has the socket kept.
func (s *Socket) Keep(fd int) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mine[s.name] = fd
	c.send(message{do: put, name: s.name, fd: fd})
}

// Inherit gives the socket that an earlier daemon left, once.
func (s *Socket) Inherit() (fd int, ok bool) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if fd, ok = c.left[s.name]; ok {
		delete(c.left, s.name)
		c.mine[s.name] = fd
	}
	return fd, ok
}

// Forget has the socket kept no longer.
func (s *Socket) Forget() {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mine, s.name)
	c.send(message{do: forget, name: s.name, fd: -1})
}
