package bfd

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ServeConfig is the configuration of the separate BFD process.
type ServeConfig struct {
	Config
	// RestartTime is how long sessions are kept up for a client that went away.
	// Once no client has been connected for so long, every session goes to
	// AdminDown and Serve returns. Zero: 2 minutes.
	RestartTime time.Duration
}

// DefaultRestartTime is used where ServeConfig.RestartTime is zero: the usual
// graceful restart time of BGP.
const DefaultRestartTime = 2 * time.Minute

// process is a running Serve.
type process struct {
	listener *net.UnixListener
	cfg      ServeConfig
	server   *Server
	reg      *registry
	cancel   context.CancelFunc

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
}

// Serve runs the sessions of a separate BFD process and answers clients on l
// until ctx ends or no client has been connected for the restart time. It closes
// l. It is the only way to sessions with the C bit set, so it must not be used in
// the process that also runs the control plane.
//
// Unless Config.RealTime says off, every thread of the process runs under
// SCHED_FIFO, at priority 1 but for the owner of the sessions: what serves
// clients and writes to the kernel must not wait for ordinary processes either.
func Serve(ctx context.Context, l *net.UnixListener, cfg ServeConfig) error {
	p, err := newProcess(l, cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return p.run(ctx)
}

func newProcess(l *net.UnixListener, cfg ServeConfig) (*process, error) {
	cfg.WholeProcess = true
	s, err := NewServer(cfg.Config)
	if err != nil {
		return nil, err
	}
	s.independent = true
	cfg.RestartTime = cmp.Or(cfg.RestartTime, DefaultRestartTime)
	return &process{listener: l, cfg: cfg, server: s, conns: map[*conn]struct{}{}, reg: newRegistry(s, cfg.RestartTime, time.Now())}, nil
}

func (p *process) run(ctx context.Context) error {
	ctx, p.cancel = context.WithCancel(ctx)
	defer p.cancel()
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = p.server.Run(ctx); p.cancel() })
	wg.Go(p.accept)
	p.watchClock(ctx)
	p.listener.Close()
	p.hangUp()
	wg.Wait()
	return failed
}

// watchClock ends the wishes of clients that do not come back, and with the last
// of them the process.
func (p *process) watchClock(ctx context.Context) {
	tick := time.NewTicker(max(p.cfg.RestartTime/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if p.reg.expire(now) {
				p.cancel()
			}
		}
	}
}

// accept serves clients until the listener is closed.
func (p *process) accept() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		uc, err := p.listener.AcceptUnix()
		if err != nil {
			p.cancel()
			return
		}
		c := &conn{UnixConn: uc, reg: p.reg, give: p.give}
		if !p.keep(c) {
			uc.Close()
			return
		}
		wg.Go(func() { defer p.drop(c); c.serve() })
	}
}

func (p *process) keep(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

func (p *process) drop(c *conn) {
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
