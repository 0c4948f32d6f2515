package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
	"github.com/hyperfib/hyperfib/examples/bfdd/plane"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
)

// shellConfig is what the shell is made of.
type shellConfig struct {
	connect string                 // socket that bfdd listens on; empty: none
	listen  string                 // socket that bfdd connects to; empty: none
	keep    string                 // socket of the process that keeps the connections while we restart
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
	keeper  *handover.Client
	ended   sync.WaitGroup
}

// connection is a connection of bfdd.
type connection struct {
	*net.UnixConn
	id    plane.ConnID
	ours  bool          // we have dialed
	out   chan []byte   // to the writer
	busy  bool          // the writer has something
	taken chan struct{} // to be closed once the answers are written; nil: nobody waits
	kept  *keptConn     // what outlives us of it
}

type (
	received struct {
		id    plane.ConnID
		batch []bfddp.Message
		taken chan struct{} // closed when the messages may be taken out of the socket
	}
	closed struct {
		id  plane.ConnID
		err error
	}
	wrote     struct{ id plane.ConnID }
	connected struct {
		*net.UnixConn
		ours bool
	}
)

// serve runs until ctx ends. The sessions stay.
func (cfg shellConfig) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &shell{shellConfig: cfg, inbox: make(chan any), ctx: ctx, conns: map[plane.ConnID]*connection{}}
	defer s.ended.Wait()
	defer cancel()
	// Before the client starts the process of the sessions, which takes the place of one of
	// another build, and of what that has kept.
	s.keeper = handover.Open(cfg.keep)
	defer s.keeper.Close()
	s.ended.Go(func() { _ = cfg.client.Run(ctx) })
	if err := s.ready(); err != nil || ctx.Err() != nil {
		return err
	}
	if cfg.listen != "" {
		l, err := listenUnix(cfg.listen, cfg.group)
		if err != nil {
			return err
		}
		s.ended.Go(func() { s.accept(l) })
		defer l.Close()
	}
	s.inherit()
	s.ended.Go(func() { _ = s.keeper.Run(ctx) })
	s.ended.Go(s.events)
	s.ended.Go(s.answer)
	notifySystemd(cfg.log)
	s.loop()
	return nil
}

// ready makes the plane, once the process of the sessions has said which it has: bfdd, once
// attached, must not be kept waiting for an answer. A process of another build is replaced
// meanwhile, and the client is without one for a moment.
func (s *shell) ready() (err error) {
	cfg := plane.Config{Service: s.client, Synced: s.client.Synced, Linger: s.linger,
		Notice: func(err error) { s.log.Warn("data plane", "err", err) }}
	for end := time.Now().Add(startTime); s.ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if s.plane, err = plane.New(cfg, time.Now()); err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the process of the sessions does not answer: %w", err)
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
		s.received(v)
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
	c := s.attach(v)
	c.kept = newKeptConn(s.keeper, s.slot(), c.UnixConn)
	s.log.Info("bfdd is attached", "connection", c.id)
	s.ended.Go(func() { s.read(c) })
}

// attach makes a connection known. Its reader is yet to be started.
func (s *shell) attach(v connected) *connection {
	s.last++
	c := &connection{UnixConn: v.UnixConn, id: s.last, ours: v.ours, out: make(chan []byte, 1)}
	if s.conns[c.id] = c; c.ours {
		s.dialed = c.id
	}
	s.plane.Connect(c.id)
	s.ended.Go(func() { s.write(c) })
	return c
}

// received takes a batch of messages.
func (s *shell) received(v received) {
	c, asked := s.conns[v.id], false
	defer func() {
		if !asked {
			close(v.taken)
		}
	}()
	for i := range v.batch {
		m := &v.batch[i]
		if err := s.plane.Receive(v.id, m, time.Now()); err != nil {
			s.log.Error("bfdd is cut off", "err", err)
			c.Close() // the reader says that it is closed
			asked = false
			return
		}
		switch m.Type {
		case bfddp.TypeAdd, bfddp.TypeDelete:
			c.kept.note(m, func() []byte { return s.plane.Wanted(v.id, nil) })
		case bfddp.TypeCounterRequest:
			asked = true
		}
	}
	if asked {
		c.taken = v.taken
	}
}

func (s *shell) closed(v closed) {
	c := s.conns[v.id]
	if c == nil {
		return
	}
	c.kept.forget()
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
				c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.connect, Net: "unix"})
				if err == nil {
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
		} else if c.taken != nil {
			close(c.taken)
			c.taken = nil
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

// read takes messages until the connection ends. They stay in the socket until their effect
// would outlive us, and requests for counters until they are answered: our successor finds
// what we have not done, and bfdd, which waits for counters, is not left waiting.
func (s *shell) read(c *connection) {
	buf := make([]byte, 4*bfddp.MaxMessage)
	err := func() error {
		for {
			n, ended, err := peek(c.UnixConn, buf)
			if err != nil {
				return err
			}
			batch, used, err := parseAll(buf[:n])
			switch {
			case err != nil:
				return err
			case used == 0 && ended:
				return io.ErrUnexpectedEOF
			case used == 0: // the rest of a message comes at once
				time.Sleep(partialWait)
				continue
			}
			taken := make(chan struct{})
			if !s.bring(received{c.id, batch, taken}) {
				return s.ctx.Err()
			}
			select {
			case <-taken:
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
			if _, err := io.ReadFull(c.UnixConn, buf[:used]); err != nil {
				return err
			}
		}
	}()
	s.bring(closed{c.id, err})
}

// partialWait is how long the rest of a message that has come in part is waited for.
const partialWait = 2 * time.Millisecond

// peek waits for octets, and leaves them in the socket. It reports whether no more will come:
// a read would say so only once these are out of the socket.
func peek(c *net.UnixConn, buf []byte) (n int, ended bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	if e := raw.Read(func(fd uintptr) bool {
		hup := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // before the octets: none may come between
		_, e := unix.Poll(hup, 0)
		ended = e == nil && hup[0].Revents != 0
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	}); e != nil {
		return 0, false, e
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, ended, err
}

// parseAll decodes all messages that are complete, and returns their length. An error comes
// after the messages before it.
func parseAll(b []byte) (batch []bfddp.Message, used int, err error) {
	for {
		m, n, err := bfddp.Parse(b[used:])
		if err != nil && used > 0 {
			err = nil
		}
		if n == 0 || err != nil {
			return batch, used, err
		}
		batch = append(batch, m)
		used += n
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
			for len(b) > 0 {
				n := whole(b)
				if _, err := c.Write(b[:n]); err != nil {
					c.Close()
					break
				}
				b = b[n:]
			}
			s.bring(wrote{c.id})
		case <-s.ctx.Done():
			return
		}
	}
}

// whole returns the length of the messages that go into one system call. The kernel takes so
// little as a whole or not at all, so that bfdd never gets half a message if we die.
func whole(b []byte) (n int) {
	for n < len(b) {
		_, size, _ := bfddp.Parse(b[n:])
		if size == 0 || n > 0 && n+size > bfddp.MaxMessage {
			break
		}
		n += size
	}
	return max(n, 1)
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
		s.bring(connected{c.(*net.UnixConn), false})
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
