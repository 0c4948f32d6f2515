package bfd

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// ServeConfig is the configuration of the separate BFD process.
type ServeConfig struct {
	Config
	// RestartTime is how long sessions are kept up for a client that went away.
	// Once no client has been connected for so long, every session goes to
	// AdminDown and Serve returns. Zero: 2 minutes.
	RestartTime time.Duration
	// Ready is called once, as soon as the sessions are this process's: when Serve
	// starts, or when a predecessor has handed them over. Clients wait until it has
	// returned. Nil: nothing is called.
	Ready func()
}

// DefaultRestartTime is used where ServeConfig.RestartTime is zero: the usual
// graceful restart time of BGP.
const DefaultRestartTime = 2 * time.Minute

// Bounds on what clients may have.
const (
	maxClients   = 64              // with and without a connection
	maxStrangers = 16              // connections that have not said hello
	helloTime    = 5 * time.Second // how long that may take
	maxWants     = 16 << 20        // octets of what one client wants, encoded
	maxConfig    = 64 << 10        // octets of what it wants of one session
	endTime      = 2 * time.Second // how long the end waits for connections
	acceptFirst  = 5 * time.Millisecond
	acceptLast   = time.Second
)

// process is a running Serve.
type process struct {
	cfg      ServeConfig        // with defaults
	server   *Server            // has the sessions
	listener listener           // accepts clients
	cancel   context.CancelFunc // ends Serve
	ending   <-chan struct{}    // closed by cancel
	notices  repeats            // leaves out what repeats the last one

	shareMu lock                                 // guards sharing
	sharing *bfdcore.Sharing[Key, SessionConfig] // which client wants what

	mu      sync.Mutex     // guards the following
	conns   map[*conn]bool // true: has said hello
	closed  bool           // no more connections are taken
	handed  bool           // a successor has everything
	handing bool           // is being given everything
}

// Serve runs the sessions of a separate BFD process and answers clients on l
// until ctx ends or no client has been connected for the restart time. It closes
// l, and must be the only one to use it. It is the only way to sessions with the C bit
// set, so it must not be used in the process that also runs the control plane.
//
// Serve is for a process that does nothing else: unless Config.RealTime says off, the
// thread of the sessions runs under SCHED_FIFO, and the other threads are set up so as
// to cost little while there is nothing to do.
func Serve(ctx context.Context, l *net.UnixListener, cfg ServeConfig) error {
	return serve(ctx, unixListener{l}, cfg, systemHost{})
}

func serve(ctx context.Context, l listener, cfg ServeConfig, h host) error {
	p, err := newProcess(cfg, h)
	if err == nil {
		err = p.server.open()
	}
	if err != nil {
		l.close(false)
		return err
	}
	p.listener = l
	ctx = p.context(ctx)
	return p.run(ctx, p.start(ctx))
}

func newProcess(cfg ServeConfig, h host) (*process, error) {
	s, err := newServerOn(cfg.Config, h)
	if err != nil {
		return nil, err
	}
	return newProcessOf(s, cfg), nil
}

// newProcessOf returns the process that s is to be the server of.
func newProcessOf(s *Server, cfg ServeConfig) *process {
	s.independent = true
	cfg.Config = s.cfg // with its defaults
	cfg.RestartTime = cmp.Or(cfg.RestartTime, DefaultRestartTime)
	p := &process{shareMu: newLock(), cfg: cfg, server: s, conns: map[*conn]bool{}}
	p.sharing = bfdcore.NewSharing(bfdcore.Rules[Key, SessionConfig]{
		Merge: merge, Equal: sameConfig, Compare: compareKeys,
		Apply:  func(_ Key, c SessionConfig) error { return s.Add(c) },
		Remove: s.Remove, Restart: cfg.RestartTime, MaxClients: maxClients, MaxSize: maxWants,
	}, s.clock.time())
	return p
}

// context makes the context that the process ends with.
func (p *process) context(ctx context.Context) context.Context {
	ctx, p.cancel = context.WithCancel(ctx)
	p.ending = ctx.Done()
	return ctx
}

// start runs the sessions. What Run returns can be received from the channel.
func (p *process) start(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ended <- p.server.run(ctx)
		p.cancel()
	}()
	return ended
}

// run serves clients until ctx ends.
func (p *process) run(ctx context.Context, ended <-chan error) error {
	defer p.cancel()
	if p.cfg.Ready != nil {
		p.cfg.Ready()
	}
	accepting := make(chan error, 1)
	go func() {
		accepting <- p.accept()
		p.cancel()
	}()
	p.watchClock()
	p.mu.Lock()
	handed := p.handed
	p.mu.Unlock()
	p.listener.close(handed)
	p.hangUp()
	err := <-ended
	select {
	case e := <-accepting:
		return errors.Join(err, e)
	case <-time.After(endTime): // a connection hangs in the kernel: the process ends all the same
		return err
	}
}

// watchClock ends what clients want that do not come back, and with the last of them the
// process. It returns when the process ends.
func (p *process) watchClock() {
	tick := time.NewTicker(p.expiry())
	defer tick.Stop()
	for {
		select {
		case <-p.ending:
			return
		case <-tick.C:
			if p.expire() {
				p.cancel()
			}
		}
	}
}

// expiry is how often what clients left is looked at.
func (p *process) expiry() time.Duration { return max(p.cfg.RestartTime/8, time.Millisecond) }

// expire drops what clients left that did not come back. It reports whether the process is to
// end, as there is no client.
func (p *process) expire() (finished bool) {
	p.shared(func(s *sharing) { finished = s.Expire(p.server.clock.time()) })
	return finished
}

// accept serves clients until the listener is closed, and waits for them. It returns an
// error if the listener is of no use any more.
func (p *process) accept() error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wait := bfdcore.Backoff{Min: acceptFirst, Max: acceptLast}
	for {
		s, err := p.listener.Accept()
		switch {
		case err == nil:
			wait.Reset()
			if c := p.admit(s); c != nil {
				wg.Go(func() { defer p.dismiss(c); c.serve() })
			}
			continue
		case p.over():
			return nil
		case errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSOCK):
			return err
		}
		// Descriptors or memory have run out, or a client was gone already.
		p.notice(err)
		p.mu.Lock()
		p.crowdOut(1)
		p.mu.Unlock()
		select {
		case <-p.ending:
		case <-time.After(wait.Next()):
		}
	}
}

func (p *process) over() bool {
	select {
	case <-p.ending:
		return true
	default:
		return false
	}
}

// notice passes on what an operator should know, but no repetitions.
func (p *process) notice(err error) {
	if p.notices.fresh(err, time.Now()) {
		p.cfg.Notice(err)
	}
}

// admit takes a connection in. Too many that have not said hello drive the oldest of them
// out, so that they do not exhaust what is left to clients.
func (p *process) admit(s stream) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.Close()
		return nil
	}
	p.crowdOut(maxStrangers)
	c := &conn{stream: s, process: p, since: time.Now()}
	p.conns[c] = false
	return c
}

// crowdOut ends the connection that has not said hello for longest, if there are so many of
// them; the lock is held.
func (p *process) crowdOut(limit int) {
	strangers, oldest := 0, (*conn)(nil)
	for c, registered := range p.conns {
		if registered {
			continue
		}
		if strangers++; oldest == nil || c.since.Before(oldest.since) {
			oldest = c
		}
	}
	if strangers >= limit {
		oldest.Close()
		delete(p.conns, oldest)
	}
}

// register records that a connection has sent its hello.
func (p *process) register(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, registered := range p.conns {
		if registered {
			n++
		}
	}
	if _, in := p.conns[c]; !in || n >= maxClients {
		return errManyConns
	}
	p.conns[c] = true
	return nil
}

func (p *process) dismiss(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *process) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
}

// repeats leaves out errors that only repeat the last one. The zero
// value is ready for use.
type repeats struct {
	mu   sync.Mutex // guards the following
	text string     // of the last error
	at   time.Time  // when it was let through
}

// repeatAfter is how long the same error is left out.
const repeatAfter = time.Minute

// fresh reports whether err is to be passed on.
func (r *repeats) fresh(err error, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if text := err.Error(); text != r.text || now.Sub(r.at) >= repeatAfter {
		r.text, r.at = text, now
		return true
	}
	return false
}
