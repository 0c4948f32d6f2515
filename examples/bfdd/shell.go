package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
	"github.com/hyperfib/hyperfib/examples/bfdd/plane"
)

// shellConfig is what the shell is made of.
type shellConfig struct {
	connect string                 // socket that bfdd listens on; empty: none
	listen  string                 // socket that bfdd connects to; empty: none
	group   string                 // that may connect to it
	linger  time.Duration          // see plane.Config
	client  *bfd.Client            // of the process that has the sessions
	status  net.Listener           // for `bfdd show`
	fenced  func() (uint64, error) // how many packets of bfdd were kept off the wire; nil: no fence
	log     *slog.Logger           // for people
}

// How often bfdd's socket is tried, how old it must be, and how many connections there may
// be. A bfdd that has just begun does not know the interfaces yet, and names none to a data
// plane that is attached before it does; the first packet of a session that it runs
// itself comes after 750 ms, and the fence stops it.
const (
	redial   = 25 * time.Millisecond
	settle   = 300 * time.Millisecond
	maxConns = 256
)

// shell is the goroutine that owns the plane, and what the goroutines around it bring:
// a reader and a writer for each connection, one that dials, one that accepts and
// one that fetches events. None of them decides anything.
type shell struct {
	shellConfig
	plane   *plane.Plane
	inbox   chan any // received, closed, wrote, connected, []bfd.Event, chan status
	ctx     context.Context
	conns   map[plane.ConnID]*connection
	last    plane.ConnID // that was given out
	dialed  plane.ConnID // the newest connection of ours; 0: none
	dialing bool         // a goroutine dials
	ended   sync.WaitGroup
}

// connection is a connection of bfdd.
type connection struct {
	net.Conn
	id   plane.ConnID
	ours bool        // we have dialed
	out  chan []byte // to the writer
	busy bool        // the writer has something
}

type (
	received struct {
		id plane.ConnID
		m  bfddp.Message
	}
	closed struct {
		id  plane.ConnID
		err error
	}
	wrote     struct{ id plane.ConnID }
	connected struct {
		net.Conn
		ours bool
	}
)

// serve runs until ctx ends. The sessions stay.
func (cfg shellConfig) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &shell{shellConfig: cfg, inbox: make(chan any), ctx: ctx, conns: map[plane.ConnID]*connection{}}
	defer s.ended.Wait()
	defer cancel()
	s.ended.Go(func() { _ = cfg.client.Run(ctx) })
	if err := s.ready(); err != nil || ctx.Err() != nil {
		return err
	}
	s.plane = plane.New(plane.Config{Service: cfg.client, Synced: cfg.client.Synced, Linger: cfg.linger,
		Notice: func(err error) { cfg.log.Warn("data plane", "err", err) }}, time.Now())
	if cfg.listen != "" {
		l, err := listenUnix(cfg.listen, cfg.group)
		if err != nil {
			return err
		}
		s.ended.Go(func() { s.accept(l) })
		defer l.Close()
	}
	s.ended.Go(s.events)
	s.ended.Go(s.answer)
	notifySystemd(cfg.log)
	s.loop()
	return nil
}

// ready waits for the process of the sessions: bfdd, once attached, must not be kept
// waiting for an answer.
func (s *shell) ready() error {
	for end := time.Now().Add(startTime); !s.client.Connected(); time.Sleep(5 * time.Millisecond) {
		if s.ctx.Err() != nil {
			return nil
		}
		if time.Now().After(end) {
			return errors.New("the process of the sessions does not answer")
		}
	}
	return nil
}

// loop owns the plane.
func (s *shell) loop() {
	defer func() {
		for _, c := range s.conns {
			c.Close()
		}
	}()
	for {
		s.dial()
		s.flush()
		var due <-chan time.Time
		if at := s.plane.Deadline(); !at.IsZero() {
			due = time.After(time.Until(at))
		}
		select {
		case what := <-s.inbox:
			s.take(what)
		case <-due:
			s.plane.Advance(time.Now())
		case <-s.ctx.Done():
			return
		}
	}
}

// take takes what a goroutine has brought.
func (s *shell) take(what any) {
	switch v := what.(type) {
	case received:
		if err := s.plane.Receive(v.id, &v.m, time.Now()); err != nil {
			s.log.Error("bfdd is cut off", "err", err)
			s.conns[v.id].Close() // the reader says that it is closed
		}
	case wrote:
		if c := s.conns[v.id]; c != nil {
			c.busy = false
		}
	case connected:
		s.connected(v)
	case closed:
		s.closed(v)
	case []bfd.Event:
		s.plane.Update(v, time.Now())
	case chan status:
		v <- s.report()
	}
}

func (s *shell) connected(v connected) {
	s.dialing = s.dialing && !v.ours
	if len(s.conns) >= maxConns {
		v.Close()
		return
	}
	s.last++
	c := &connection{Conn: v.Conn, id: s.last, ours: v.ours, out: make(chan []byte, 1)}
	if s.conns[c.id] = c; c.ours {
		s.dialed = c.id
	}
	s.plane.Connect(c.id)
	s.log.Info("bfdd is attached", "connection", c.id)
	s.ended.Go(func() { s.read(c) })
	s.ended.Go(func() { s.write(c) })
}

func (s *shell) closed(v closed) {
	c := s.conns[v.id]
	if c == nil {
		return
	}
	c.Close()
	close(c.out)
	delete(s.conns, v.id)
	s.log.Warn("bfdd is gone", "connection", v.id, "sessions", s.plane.Bound(v.id), "linger", s.linger, "err", v.err)
	s.plane.Disconnect(v.id, time.Now())
	if v.id == s.dialed {
		s.dialed = 0
		for id, c := range s.conns {
			if c.ours {
				s.dialed = max(s.dialed, id)
			}
		}
	}
}

// dial sees to it that there is a connection that bfdd has not filled: see plane.MaxBurst.
func (s *shell) dial() {
	if s.connect == "" || s.dialing || len(s.conns) >= maxConns || s.dialed != 0 && s.plane.Bound(s.dialed) < plane.MaxBurst {
		return
	}
	s.dialing = true
	s.ended.Go(func() {
		tick := time.NewTicker(redial)
		defer tick.Stop()
		for {
			if info, err := os.Stat(s.connect); err == nil && time.Since(info.ModTime()) >= settle {
				if c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.connect, Net: "unix"}); err == nil {
					s.bring(connected{c, true})
					return
				}
			}
			select {
			case <-tick.C:
			case <-s.ctx.Done():
				return
			}
		}
	})
}

// flush gives writers that are free what there is to send.
func (s *shell) flush() {
	for id, c := range s.conns {
		if c.busy {
			continue
		}
		if out := s.plane.Output(id); len(out) > 0 {
			c.busy = true
			c.out <- out
		}
	}
}

// bring brings something to the loop. It reports whether that still runs.
func (s *shell) bring(what any) bool {
	select {
	case s.inbox <- what:
		return true
	case <-s.ctx.Done():
		if c, ok := what.(connected); ok {
			c.Close()
		}
		return false
	}
}

// read takes messages until the connection ends.
func (s *shell) read(c *connection) {
	buf := make([]byte, 0, 4*bfddp.MaxMessage)
	for {
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		used := 0
		for {
			m, size, bad := bfddp.Parse(buf[used:])
			if bad != nil {
				err = bad
				break
			}
			if size == 0 {
				break
			}
			if used += size; !s.bring(received{c.id, m}) {
				return
			}
		}
		buf = buf[:copy(buf, buf[used:])]
		if err != nil {
			s.bring(closed{c.id, err})
			return
		}
	}
}

// write sends what it is given. An error is the reader's to report.
func (s *shell) write(c *connection) {
	for {
		select {
		case b, ok := <-c.out:
			if !ok {
				return
			}
			if _, err := c.Write(b); err != nil {
				c.Close()
			}
			s.bring(wrote{c.id})
		case <-s.ctx.Done():
			return
		}
	}
}

// events fetches the events of the sessions.
func (s *shell) events() {
	w := s.client.Watch()
	defer w.Close()
	for {
		buf := make([]bfd.Event, 256)
		n, err := w.Next(s.ctx, buf)
		if err != nil || !s.bring(buf[:n:n]) {
			return
		}
	}
}

// accept takes connections of bfdd.
func (s *shell) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			time.Sleep(redial) // out of descriptors
			continue
		}
		s.bring(connected{c, false})
	}
}

// listenUnix listens at path, which a group may use, or our own user alone. The socket of a
// process that has died is replaced.
func listenUnix(path, group string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another process listens on %s", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is there and is no socket", path)
	} else if err == nil {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o600)
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			l.Close()
			return nil, err
		}
		gid, _ := strconv.Atoi(g.Gid)
		if err := os.Chown(path, -1, gid); err != nil {
			l.Close()
			return nil, err
		}
		mode = 0o660
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
