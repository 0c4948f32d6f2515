package bfd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ClientConfig is the configuration of a [Client].
type ClientConfig struct {
	// Socket is the path of the BFD process's unix socket.
	Socket string
	// Name identifies the client across its restarts: a client that returns
	// takes over what the last one of the same name left. Zero: "default".
	Name string
	// Notice is told when the connection is lost or cannot be made, and why a
	// session could not be added again. It must not block. Nil: nobody is told.
	Notice func(error)
}

// Client uses the sessions of a BFD process over its unix socket. It keeps what
// it was asked for, and brings it to the process again whenever it had to
// reconnect. It sees all sessions of the process, also those of other clients.
type Client struct {
	cfg   ClientConfig
	board board

	mu     sync.Mutex
	wanted map[Key]SessionConfig
	unsent map[Key]bool // changed while there was no connection
	synced bool         // everything wanted has been added once
	link   *clientLink  // nil: not connected
	closed bool
}

// clientLink is one connection. calls wait for their replies in it.
type clientLink struct {
	conn    *net.UnixConn
	sending sync.Mutex
	mu      sync.Mutex
	lastID  uint32
	calls   map[uint32]*call
	broken  error
}

// call is a request that waits for its reply.
type call struct {
	done     chan struct{}
	err      error
	statuses []Status
}

// ErrNotConnected is returned by Sessions while there is no BFD process to ask.
var ErrNotConnected = errors.New("bfd: not connected to the BFD process")

// NewClient checks the configuration. It connects in Run.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Socket == "" {
		return nil, &ConfigError{"Socket", "is empty"}
	}
	cfg.Name = cmp.Or(cfg.Name, "default")
	if cfg.Notice == nil {
		cfg.Notice = func(error) {}
	}
	return &Client{cfg: cfg, wanted: map[Key]SessionConfig{}, unsent: map[Key]bool{}}, nil
}

// Add implements [Service]. Without a connection it remembers the session and
// returns nil.
func (c *Client) Add(s SessionConfig) error {
	if err := s.check(); err != nil {
		return err
	}
	c.mu.Lock()
	before, had := c.wanted[s.Key]
	c.wanted[s.Key] = s
	link, closed := c.link, c.closed
	c.unsent[s.Key] = link == nil
	c.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if link == nil {
		return nil
	}
	err := link.add(&s)
	if err == nil || errors.Is(err, ErrNotConnected) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.wanted, s.Key); had {
		c.wanted[s.Key] = before
	}
	return err
}

// Remove implements [Service]. A session that other clients use stays.
func (c *Client) Remove(k Key) error {
	k = k.Normal()
	c.mu.Lock()
	_, had := c.wanted[k]
	delete(c.wanted, k)
	link := c.link
	c.unsent[k] = link == nil
	c.mu.Unlock()
	if !had {
		return ErrNoSession
	}
	if link == nil {
		return nil
	}
	err := link.do(frameRemove, func(e *encoder) { e.key(k) })
	if errors.Is(err, ErrNotConnected) {
		return nil
	}
	return err
}

// Sessions implements [Service].
func (c *Client) Sessions() ([]Status, error) {
	link := c.connected()
	if link == nil {
		return nil, ErrNotConnected
	}
	call, err := link.call(frameList, func(*encoder) {})
	if err != nil {
		return nil, err
	}
	return call.statuses, nil
}

// Watch implements [Service].
func (c *Client) Watch() *Watcher { return c.board.watch() }

// Synced says that every session wanted has been added: the BFD process then
// takes down what an earlier client of the same name left and this one did not
// ask for. Without a connection it is remembered.
func (c *Client) Synced() error {
	c.mu.Lock()
	c.synced = true
	link := c.link
	c.mu.Unlock()
	if link == nil {
		return nil
	}
	if err := link.synced(); !errors.Is(err, ErrNotConnected) {
		return err
	}
	return nil
}

// Connected says whether there is a connection to the BFD process.
func (c *Client) Connected() bool { return c.connected() != nil }

func (c *Client) connected() *clientLink {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Waits between attempts to connect: a successor of the BFD process takes over
// within milliseconds, one that has to be started within a second.
const (
	reconnectFirst = 5 * time.Millisecond
	reconnectMax   = time.Second
)

// Run implements [Service]: it stays connected until ctx ends. The sessions
// outlive it.
func (c *Client) Run(ctx context.Context) error {
	defer c.end()
	wait := reconnectFirst
	for ctx.Err() == nil {
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			wait = reconnectFirst
			err = ErrNotConnected
		}
		c.cfg.Notice(fmt.Errorf("bfd: %s: %w", c.cfg.Socket, err))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, reconnectMax)
	}
	return nil
}

func (c *Client) end() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.board.close()
}

// session is the life of one connection. It returns an error if it never came to
// one, else nil.
func (c *Client) session(ctx context.Context) error {
	var d net.Dialer
	uc, err := d.DialContext(ctx, "unix", c.cfg.Socket)
	if err != nil {
		return err
	}
	l := &clientLink{conn: uc.(*net.UnixConn), calls: map[uint32]*call{}}
	stop := context.AfterFunc(ctx, func() { l.conn.Close() })
	defer stop()
	snapshot := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { l.fail(c.read(l, snapshot)) })
	err = l.do(frameHello, func(e *encoder) { e.u32(protocolMagic); e.u16(protocolVersion); e.string(c.cfg.Name) })
	if err == nil {
		select {
		case <-snapshot:
			c.again(l)
		case <-ctx.Done():
		}
	} else {
		l.conn.Close()
	}
	wg.Wait()
	c.mu.Lock()
	c.link = nil
	c.mu.Unlock()
	return err
}

// again brings every wish to a new connection, then lets callers use it.
func (c *Client) again(l *clientLink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.wanted {
		c.unsent[k] = true
	}
	for first := true; first || len(c.unsent) > 0; first = false {
		for k, unsent := range c.unsent {
			s, wanted := c.wanted[k]
			delete(c.unsent, k)
			if unsent {
				c.mu.Unlock()
				c.bring(l, s, k, wanted)
				c.mu.Lock()
			}
		}
		if len(c.unsent) == 0 && c.synced {
			c.mu.Unlock()
			err := l.synced()
			c.mu.Lock()
			if err != nil && !errors.Is(err, ErrNotConnected) {
				c.cfg.Notice(err)
			}
		}
	}
	c.link = l
}

func (l *clientLink) synced() error { return l.do(frameSynced, func(*encoder) {}) }

// bring adds or removes one session.
func (c *Client) bring(l *clientLink, s SessionConfig, k Key, wanted bool) {
	var err error
	if wanted {
		err = l.add(&s)
	} else if err = l.do(frameRemove, func(e *encoder) { e.key(k) }); errors.Is(err, ErrNoSession) {
		err = nil
	}
	if err != nil && !errors.Is(err, ErrNotConnected) {
		c.cfg.Notice(fmt.Errorf("%v: %w", k, err))
	}
}

// read takes frames until the connection ends.
func (c *Client) read(l *clientLink, snapshot chan struct{}) error {
	r := bufio.NewReader(l.conn)
	seen := map[Key]bool{}
	for {
		m, err := readFrame(r)
		if err != nil {
			return err
		}
		d := decode(m.body)
		switch m.typ {
		case frameReply:
			l.reply(m.id, d.string())
		case frameStatus:
			l.status(m.id, d.status())
		case frameEvent:
			e := d.event()
			if seen != nil {
				seen[e.Key] = true
			}
			c.board.post(e, nil)
		case frameSnapshot:
			c.vanished(seen)
			seen = nil
			close(snapshot)
		default:
			return errProtocol
		}
		if err := d.err(); err != nil {
			return err
		}
	}
}

// vanished tells of sessions that the process no longer has, except those that
// this client is about to add again.
func (c *Client) vanished(seen map[Key]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.board.events() {
		if _, wanted := c.wanted[e.Key]; !seen[e.Key] && !wanted {
			e.State, e.Reason, e.Removed, e.Time = AdminDown, ReasonLocalAdminDown, true, time.Now()
			c.board.post(e, nil)
		}
	}
}

func (l *clientLink) add(s *SessionConfig) error {
	return l.do(frameAdd, func(e *encoder) { e.config(s) })
}

func (l *clientLink) do(t frameType, body func(*encoder)) error {
	_, err := l.call(t, body)
	return err
}

// call sends a request and waits for the reply.
func (l *clientLink) call(t frameType, body func(*encoder)) (*call, error) {
	w := &call{done: make(chan struct{})}
	l.mu.Lock()
	if l.broken != nil {
		l.mu.Unlock()
		return nil, ErrNotConnected
	}
	l.lastID++
	id := l.lastID
	l.calls[id] = w
	l.mu.Unlock()
	var e encoder
	e.begin(t, id)
	body(&e)
	err := e.end()
	if err == nil {
		l.sending.Lock()
		_, err = l.conn.Write(e.b)
		l.sending.Unlock()
		if err != nil {
			l.conn.Close()
			err = nil // fail will say so
		}
	}
	if err != nil {
		l.forget(id)
		return nil, err
	}
	<-w.done
	return w, w.err
}

func (l *clientLink) forget(id uint32) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.calls[id]
	delete(l.calls, id)
	return w
}

func (l *clientLink) reply(id uint32, text string) {
	w := l.forget(id)
	if w == nil {
		return
	}
	switch text {
	case "":
	case ErrNoSession.Error():
		w.err = ErrNoSession
	case ErrClosed.Error():
		w.err = ErrClosed
	default:
		w.err = errors.New(text)
	}
	close(w.done)
}

func (l *clientLink) status(id uint32, s Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.calls[id]; w != nil {
		w.statuses = append(w.statuses, s)
	}
}

// fail ends every call that waits.
func (l *clientLink) fail(err error) {
	l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	for id, w := range l.calls {
		delete(l.calls, id)
		w.err = ErrNotConnected
		close(w.done)
	}
}
