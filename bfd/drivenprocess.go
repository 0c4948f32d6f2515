package bfd

import (
	"bytes"
	"slices"
	"time"
)

// DrivenProcess is what [Serve] runs, without a thread, clock or socket: the separate BFD
// process, for simulators and tests. It is driven as a [DrivenServer] is; its packets have
// the C bit. When its process dies nothing is to be done: it is not called any more.
type DrivenProcess struct {
	driven  *DrivenServer
	process *process
	tick    time.Time // when what clients left is looked at next
}

// NewDrivenProcess returns a process without clients, which keeps the sessions of those that
// went away for the restart time; zero: [DefaultRestartTime].
func NewDrivenProcess(cfg DrivenConfig, restart time.Duration) (*DrivenProcess, error) {
	d, err := NewDrivenServer(cfg)
	if err != nil {
		return nil, err
	}
	p := newProcessOf(d.server, ServeConfig{RestartTime: restart})
	return &DrivenProcess{driven: d, process: p, tick: d.clock.time().Add(p.expiry())}, nil
}

// Receive is [DrivenServer.Receive].
func (p *DrivenProcess) Receive(d *Datagram) bool { return p.driven.Receive(d) }

// Advance is [DrivenServer.Advance]. The process may end in it: see Ended.
func (p *DrivenProcess) Advance(now time.Duration) {
	p.driven.Advance(now)
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
	if p.driven.state != drivenServing {
		return Never
	}
	return min(p.driven.Deadline(), monotonic(p.tick))
}

// Ended reports whether the process has ended: by Close, or since no client was connected
// for the restart time.
func (p *DrivenProcess) Ended() bool { return p.driven.state == drivenEnded }

// Close ends the process as a signal does: every session says AdminDown. A process that is
// handing its sessions over leaves them to the successor.
func (p *DrivenProcess) Close() { p.driven.Close() }

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

// Export stops the process and returns what its successor needs: the octets that one process
// sends to the next. Nothing happens to the sessions until Resume, or until the successor's
// Resume; packets that arrive meanwhile wait. Connections of clients end with the process.
func (p *DrivenProcess) Export() ([]byte, error) {
	st := newState(p.process, handoverVersion)
	// What is due is sent first: one handover after the other may fail, each in its time.
	if err := p.driven.do(func(c *core) { c.expire(); st.encode() }); err != nil {
		return nil, err
	}
	p.driven.settle()
	p.driven.state = drivenPaused
	sockets, rest := st.complete(0)
	return slices.Concat(sockets, st.sessions, rest), nil
}

// ImportDrivenProcess returns the successor of a process that has exported its state. It is
// paused: the sessions are its own from Resume on, which follows when the predecessor has ended
// or has said that it will. A successor that dies before is not called any more, and the
// predecessor resumes.
func ImportDrivenProcess(cfg DrivenConfig, restart time.Duration, state []byte) (*DrivenProcess, error) {
	p, err := NewDrivenProcess(cfg, restart)
	if err != nil {
		return nil, err
	}
	t := newTaking(p.process, handoverVersion)
	host := p.process.server.host.(*drivenHost)
	if err := t.parts(bytes.NewReader(state), func() []int { return []int{host.open()} }); err != nil {
		return nil, err
	}
	t.settle()
	p.driven.state = drivenPaused
	return p, nil
}

// Resume goes on after Export, when the successor did not become ready or died, and after
// [ImportDrivenProcess], when the predecessor is gone. The packets that wait are delivered
// next, and then comes Advance.
func (p *DrivenProcess) Resume() {
	if p.driven.state == drivenPaused {
		p.driven.state = drivenServing
	}
}

// Leave ends a process that has exported its state, in favour of its successor.
func (p *DrivenProcess) Leave() { p.driven.end() }
