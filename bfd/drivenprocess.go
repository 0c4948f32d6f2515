package bfd

import (
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// DrivenProcess is what [Serve] runs, without a thread, clock or socket: the separate BFD
// process, for simulators and tests. It is driven as a [DrivenServer] is; its packets have
// the C bit. When its process dies nothing is to be done: it is not called any more.
type DrivenProcess struct {
	driven  *DrivenServer
	process *process
	tick    time.Time       // when what clients left is looked at next
	giving  *DrivenHandover // to a successor; nil: none
}

// NewDrivenProcess returns a process without clients, which keeps the sessions of those that
// went away for the restart time; zero: [DefaultRestartTime].
func NewDrivenProcess(cfg DrivenConfig, restart time.Duration) (*DrivenProcess, error) {
	d, err := NewDrivenServer(cfg)
	if err != nil {
		return nil, err
	}
	p := newProcessOf(d.server, ServeConfig{RestartTime: restart})
	p.listener = drivenListener{}
	return &DrivenProcess{driven: d, process: p, tick: d.clock.time().Add(p.expiry())}, nil
}

// Receive is [DrivenServer.Receive].
func (p *DrivenProcess) Receive(d *Datagram) bool { return p.driven.Receive(d) }

// Advance is [DrivenServer.Advance]. The process may end in it: see Ended.
func (p *DrivenProcess) Advance(now time.Duration) {
	p.driven.Advance(now)
	if g := p.giving; g != nil && p.driven.clock.now() >= g.limit {
		g.give(bfdcore.GiverTimedOut)
	}
	if now := p.driven.clock.time(); p.driven.state == drivenServing && !now.Before(p.tick) {
		p.tick = now.Add(p.process.expiry())
		finished := p.process.expire()
		p.driven.settle()
		if finished {
			p.driven.Close()
		}
	}
}

// Deadline is [DrivenServer.Deadline].
func (p *DrivenProcess) Deadline() time.Duration {
	switch {
	case p.driven.state == drivenServing:
		return min(p.driven.Deadline(), monotonic(p.tick))
	case p.giving != nil:
		return p.giving.limit
	}
	return Never
}

// Ended reports whether the process has ended: by Close, or since no client was connected
// for the restart time.
func (p *DrivenProcess) Ended() bool { return p.driven.state == drivenEnded }

// Paused reports whether another process is to have the sessions, or has them still: nothing
// happens to them here, and requests of clients, which would wait, return [ErrClosed].
func (p *DrivenProcess) Paused() bool { return p.driven.state == drivenPaused }

// Close ends the process as a signal does: every session says AdminDown, unless they are a
// successor's already.
func (p *DrivenProcess) Close() {
	if p.giving != nil {
		p.giving.give(bfdcore.GiverStopped)
	}
	p.driven.Close()
}

// Sessions is [Service].Sessions.
func (p *DrivenProcess) Sessions() ([]Status, error) { return p.driven.Sessions() }

// Watch is [Service].Watch: the events of all sessions, as every client gets them.
func (p *DrivenProcess) Watch() *Watcher { return p.driven.Watch() }

// Connect connects the client of that name. What an earlier one of the same name left is its
// own again. It is an error if one is connected.
func (p *DrivenProcess) Connect(name string) (*DrivenConn, error) {
	if p.driven.state != drivenServing {
		return nil, ErrClosed
	}
	var err error
	p.process.shared(func(s *sharing) { err = s.Connect(name, p.driven.clock.time()) })
	if err != nil {
		return nil, err
	}
	return &DrivenConn{process: p, name: name}, nil
}

// DrivenConn is a client's connection to a [DrivenProcess]. Its methods are those of a
// [Client], but that everything is answered at once: an error is the process's refusal.
type DrivenConn struct {
	process  *DrivenProcess
	name     string
	watchers []*Watcher
	closed   bool
}

// Add is [Service].Add.
func (c *DrivenConn) Add(cfg SessionConfig) error {
	return c.request(func(p *process) error {
		e := encoder{version: protocolVersion}
		e.config(&cfg)
		return p.add(c.name, cfg, len(e.b))
	})
}

// Remove is [Service].Remove.
func (c *DrivenConn) Remove(k Key) error {
	return c.request(func(p *process) error { return p.remove(c.name, k) })
}

// Synced is [Client.Synced].
func (c *DrivenConn) Synced() error {
	return c.request(func(p *process) error {
		p.shared(func(s *sharing) { s.Synced(c.name) })
		return nil
	})
}

// Sessions is [Service].Sessions: those of all clients.
func (c *DrivenConn) Sessions() (list []Status, err error) {
	err = c.request(func(p *process) error { list, err = p.server.Sessions(); return err })
	return list, err
}

// Watch is [Service].Watch: the events of the sessions of all clients. Close ends it.
func (c *DrivenConn) Watch() *Watcher {
	w := c.process.Watch()
	if c.closed {
		w.Close()
	}
	c.watchers = append(c.watchers, w)
	return w
}

// request has the process do something for the client.
func (c *DrivenConn) request(f func(*process) error) error {
	if c.closed || c.process.driven.state != drivenServing {
		return ErrClosed
	}
	defer c.process.driven.settle()
	return f(c.process.process)
}

// Close ends the connection, as the death of the client does: its sessions stay for the
// restart time.
func (c *DrivenConn) Close() {
	if c.closed {
		return
	}
	c.closed = true
	for _, w := range c.watchers {
		w.Close()
	}
	c.process.process.shared(func(s *sharing) { s.Disconnect(c.name, c.process.driven.clock.time()) })
}
