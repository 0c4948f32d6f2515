package bfd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// ClientConfig is the configuration of a [Client].
type ClientConfig struct {
	// Socket is the path of the BFD process's unix socket.
	Socket string
	// Name identifies the client across its restarts: a client that returns
	// takes over what the last one of the same name left. Zero: "default".
	Name string
	// Notice is called when the connection is lost or cannot be made, why a session is
	// refused, and when Command cannot be started or fails. It must not block. Nil: notices
	// are dropped.
	Notice func(error)
	// Command, if not empty, is the BFD process's command line: a program, without a
	// shell, that calls [ListenAndServe] at Socket. Run starts it at its beginning, so
	// that a new build takes the sessions over, and again when the connection is lost or
	// cannot be made, at most once a second and, while it is of no use, ever more rarely, up
	// to once in 30 s. It gets a session of its own (setsid(2)), our working
	// directory, environment and standard error, and is not ended with Run; a goroutine
	// that waits for its end stays. "/proc/self/exe" is the calling program's own build,
	// even if its file has been replaced. Under systemd use KillMode=process.
	//
	// If the program ends with another exit status than 0, by a signal, or within 10 s of its
	// start, Notice gets an error that says so and, unless the status is 0, wraps an
	// *[exec.ExitError]. What repeats the last one is left out for a minute.
	Command []string
}

// Client uses the sessions of a BFD process over its unix socket. It keeps what
// it was asked for, and brings it to the process again whenever it had to
// reconnect. It sees all sessions of the process, also those of other clients.
//
// A session that the process refuses, for example since another client wants it with
// another authentication, is Down with ReasonUnavailable, and asked for again, at first
// after a quarter of a second, in the end every 8 seconds.
type Client struct {
	cfg     ClientConfig     // with defaults
	host    host             // the machine, or that of a test
	command command          // starts the process when none answers
	board   board            // of all sessions of the process
	notices repeats          // leaves out what repeats the last one
	timer   func() time.Time // the time of retries, which the wall clock does not move
	wall    func() time.Time // the time of events
	starts  repeats          // likewise of command

	mu      sync.Mutex                          // guards the following
	desired bfdcore.Desired[Key, SessionConfig] // what the process is to have
	wakeup  chan struct{}                       // desired has something to send
	there   map[Key]bool                        // sessions that the process has
	link    *clientLink                         // nil: not connected
	running bool                                // Run was called
	closed  bool                                // Run has returned
}

// ErrNotConnected is returned by Sessions while there is no BFD process to ask.
var ErrNotConnected = errors.New("bfd: not connected to the BFD process")

// NewClient checks the configuration. It connects in Run.
func NewClient(cfg ClientConfig) (*Client, error) { return newClientOn(cfg, systemHost{}) }

func newClientOn(cfg ClientConfig, h host) (*Client, error) {
	if cfg.Socket == "" {
		return nil, &ConfigError{"Socket", "is empty"}
	}
	cfg.Name = cmp.Or(cfg.Name, "default")
	if cfg.Notice == nil {
		cfg.Notice = func(error) {}
	}
	c := &Client{cfg: cfg, host: h, command: newCommand(cfg.Command), wakeup: make(chan struct{}, 1), there: map[Key]bool{}, timer: time.Now, wall: time.Now}
	c.desired.FirstRetry, c.desired.LastRetry = retryFirst, retryLast
	return c, nil
}

// How soon something that the process refused is asked for again.
const (
	retryFirst = 250 * time.Millisecond
	retryLast  = 8 * time.Second
)

// Add implements [Service]. It does not wait for the process, which may not be there.
func (c *Client) Add(s SessionConfig) error {
	if err := s.check(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.desired.Set(s.Key, s)
	c.wake()
	return nil
}

// Remove implements [Service]. A session that other clients use stays.
func (c *Client) Remove(k Key) error {
	k = k.Normal()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case !c.desired.Delete(k):
		return ErrNoSession
	}
	c.gone(k)
	c.wake()
	return nil
}

// Synced says that every session wanted has been added: the BFD process then
// takes down what an earlier client of the same name left and this one did not
// ask for. It does not wait for the process.
func (c *Client) Synced() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.desired.Synced()
	c.wake()
	return nil
}

// wake wakes the goroutine that sends requests; the lock is held.
func (c *Client) wake() {
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}

// Sessions implements [Service].
func (c *Client) Sessions() ([]Status, error) {
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
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

// Connected reports whether there is a connection to the BFD process.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
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
	c.mu.Lock()
	ran := c.closed || c.running
	c.running = true
	c.mu.Unlock()
	if ran {
		return ErrClosed
	}
	defer c.end()
	wait := bfdcore.Backoff{Min: reconnectFirst, Max: reconnectMax}
	version := uint16(protocolVersion)
	for ctx.Err() == nil {
		c.commandFailed(c.command.poll(time.Now()))
		c.commandFailed(c.command.run(time.Now()))
		err := c.session(ctx, version)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errVersion) && version > protocolOldest:
			version-- // it is older than we are
			continue
		case err == nil:
			wait.Reset()
			c.command.lost(time.Now())
			err = ErrNotConnected
		}
		version = protocolVersion // the next one may be another
		if err = fmt.Errorf("bfd: %s: %w", c.cfg.Socket, err); c.notices.fresh(err, time.Now()) {
			c.cfg.Notice(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.Next()):
		}
	}
	return nil
}

// commandFailed reports what is wrong with the command, unless that is nil.
func (c *Client) commandFailed(err error) {
	if err != nil && c.starts.fresh(err, time.Now()) {
		c.cfg.Notice(err)
	}
}

func (c *Client) end() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.board.close()
}

// session is the life of one connection. It returns an error if it never came to
// one, else nil.
func (c *Client) session(ctx context.Context, version uint16) error {
	s, err := c.host.dial(ctx, c.cfg.Socket)
	if err != nil {
		return err
	}
	l := &clientLink{stream: s, version: version, calls: map[uint32]*call{}, ended: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { l.stream.Close() })
	defer stop()
	snapshot := make(chan struct{})
	go func() { c.read(l, snapshot); l.fail() }()
	err = l.do(frameHello, func(e *encoder) { e.u32(protocolMagic); e.u16(version); e.string(c.cfg.Name) })
	if err == nil {
		select {
		case <-snapshot:
			c.serve(l)
		case <-l.ended:
		}
	}
	l.stream.Close()
	<-l.ended
	return err
}

// serve brings the process what is wanted, until the connection ends.
func (c *Client) serve(l *clientLink) {
	c.mu.Lock()
	c.link = l
	c.desired.Connect(compareKeys)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.link = nil
		c.desired.Disconnect()
	}()
	for {
		wait := c.bring(l)
		var retry <-chan time.Time
		if !wait.IsZero() {
			retry = time.After(time.Until(wait))
		}
		select {
		case <-c.wakeup:
		case <-retry:
		case err := <-c.command.ended: // another process is connected
			c.commandFailed(c.command.exited(err, time.Now()))
		case <-l.ended:
			return
		}
	}
}

// requester carries a request to the process and returns its answer: a [clientLink], or a
// [DrivenClient]. ErrNotConnected: there will be no answer.
type requester interface {
	request(bfdcore.Request[Key, SessionConfig]) error
}

// bring makes every request that there is, and returns when there is another one by
// itself; zero: never.
func (c *Client) bring(l requester) time.Time {
	for {
		c.mu.Lock()
		r, ok := c.desired.Next(c.timer())
		at := c.desired.Deadline()
		c.mu.Unlock()
		if !ok {
			return at
		}
		err := l.request(r)
		if errors.Is(err, ErrNotConnected) {
			return time.Time{}
		}
		c.answered(r, err)
	}
}

// answered takes the process's answer to a request.
func (c *Client) answered(r bfdcore.Request[Key, SessionConfig], err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.desired.Done(r, err != nil, c.timer())
	if err == nil || r.Kind == bfdcore.RequestRemove && errors.Is(err, ErrNoSession) {
		return
	}
	c.cfg.Notice(fmt.Errorf("bfd: %v: %w", r.Key, err))
	if r.Kind == bfdcore.RequestAdd && !c.there[r.Key] && c.desired.Wanted(r.Key) {
		c.board.post(Event{Key: r.Key, State: StateDown, Reason: ReasonUnavailable, Err: err.Error(), Time: c.wall()}, nil)
	}
}

// gone publishes the end of a session that the process has refused; the lock is held. Of
// others the process tells.
func (c *Client) gone(k Key) {
	if e, ok := c.board.event(k); ok && !c.there[k] {
		e.State, e.Reason, e.Err, e.Removed, e.Time = StateAdminDown, ReasonLocalAdminDown, "", true, c.wall()
		c.board.post(e, nil)
	}
}

// read takes frames until the connection ends.
func (c *Client) read(l *clientLink, snapshot chan struct{}) {
	seen := map[Key]bool{}
	for {
		m, err := readFrame(l.reader())
		if err != nil {
			return
		}
		d := decode(l.version, m.body)
		switch m.typ {
		case frameReply:
			l.reply(m.id, d.string())
		case frameStatus:
			l.status(m.id, d.status())
		case frameUnsent:
			l.unsent(m.id, d.u64())
		case frameEvent:
			e := d.event()
			if d.err() == nil {
				c.event(e, seen)
			}
		case frameSnapshot:
			if seen != nil {
				c.vanished(seen)
				seen = nil
				close(snapshot)
			}
		default:
			continue // of a later version
		}
		if err := d.err(); err != nil {
			return
		}
	}
}

// event takes an event; seen collects the sessions of the snapshot.
func (c *Client) event(e Event, seen map[Key]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seen != nil {
		seen[e.Key] = true
	}
	if c.there[e.Key] = true; e.Removed {
		delete(c.there, e.Key)
	}
	c.board.post(e, nil)
}

// vanished publishes the end of sessions that the process no longer has, except those that
// this client is about to add again.
func (c *Client) vanished(seen map[Key]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.there {
		if !seen[k] {
			delete(c.there, k)
		}
	}
	for _, e := range c.board.events() {
		if !seen[e.Key] && !c.desired.Wanted(e.Key) {
			e.State, e.Reason, e.Err, e.Removed, e.Time = StateAdminDown, ReasonLocalAdminDown, "", true, c.wall()
			c.board.post(e, nil)
		}
	}
}
