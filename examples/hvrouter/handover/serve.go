package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config is the configuration of a store.
type Config struct {
	// Patience is how long sockets are kept while no daemon is there. Zero: 10 seconds,
	// far more than a restart takes and than anybody waits for an answer.
	Patience time.Duration
}

const defaultPatience = 10 * time.Second

// Listen makes a socket that path leads to once place has been called, in place of one that
// is there: a store's successor listens while the old one still runs, and takes its place
// when it is certain to be the successor. Until then nothing at path has changed.
func Listen(path string) (l *net.UnixListener, place func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, err
	}
	own := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(own); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: own, Net: "unixpacket"})
	if err != nil {
		return nil, nil, err
	}
	if err := os.Chmod(own, 0o600); err != nil {
		l.Close()
		return nil, nil, err
	}
	// Close removes the file of the first name only: at path may be a successor's by then.
	return l, func() error { return os.Rename(own, path) }, nil
}

// Serve keeps sockets for whoever connects to l, one at a time, until ctx ends. It
// closes l.
func Serve(ctx context.Context, l *net.UnixListener, cfg Config) error {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	s := &store{patience: cfg.Patience, stored: map[string]int{}}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	defer s.clear()
	var last *net.UnixConn
	var ended chan struct{} // of last
	defer func() { s.end(last, ended, 0) }()
	wait := acceptFirst
	for {
		c, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // descriptors or memory have run out, or the daemon was gone already
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, acceptLast)
			continue
		}
		wait = acceptFirst
		s.end(last, ended, drainTime)
		last, ended = c, make(chan struct{})
		s.adopt()
		go func() {
			defer close(ended)
			s.serve(c)
		}()
	}
}

// How long after an accept that failed the next one is tried, at first and at last.
const (
	acceptFirst = 5 * time.Millisecond
	acceptLast  = time.Second
)

// drainTime bounds how long the last words of a daemon are listened to when another one
// is there: they are in the socket already, unless it hangs.
const drainTime = 50 * time.Millisecond

// end ends the connection of a daemon in whose place another one is.
func (s *store) end(c *net.UnixConn, ended chan struct{}, within time.Duration) {
	if c != nil {
		_ = c.SetDeadline(time.Now().Add(within))
		<-ended
	}
}

// store is what is kept.
type store struct {
	patience time.Duration

	mu     sync.Mutex
	stored map[string]int
	timer  *time.Timer // runs while no daemon is there
}

// adopt notes that a daemon is there.
func (s *store) adopt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// serve does what the daemon says until it is gone.
func (s *store) serve(c *net.UnixConn) {
	defer s.unclaimed()
	defer c.Close()
	for {
		m, err := receive(c)
		if err != nil || s.do(c, m) != nil {
			return
		}
	}
}

func (s *store) do(c *net.UnixConn, m message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.do {
	case take:
		return s.give(c)
	case anew:
		s.empty()
	case forget:
		s.put(m.name, -1)
	case put:
		s.put(m.name, m.fd)
	default:
		drop(m.fd)
		return errProtocol
	}
	return nil
}

// give sends everything.
func (s *store) give(c *net.UnixConn) error {
	_ = c.SetWriteDeadline(time.Now().Add(writeTime))
	for name, fd := range s.stored {
		if err := send(c, message{do: put, name: name, fd: fd}); err != nil {
			return err
		}
	}
	return send(c, message{do: end, fd: -1})
}

// put keeps fd (-1: nothing) under a name, and lets go of what had it before.
func (s *store) put(name string, fd int) {
	if old, ok := s.stored[name]; ok {
		delete(s.stored, name)
		go drop(old) // the last one to close a packet socket waits for every processor
	}
	switch {
	case fd < 0:
	case len(s.stored) >= most:
		drop(fd)
	default:
		s.stored[name] = fd
	}
}

// empty lets go of everything; the lock is held.
func (s *store) empty() {
	old := maps.Clone(s.stored)
	clear(s.stored)
	go func() {
		for _, fd := range old {
			drop(fd)
		}
	}()
}

// unclaimed notes that the daemon is gone: nobody reads the sockets now.
func (s *store) unclaimed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var t *time.Timer
	t = time.AfterFunc(s.patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == t {
			s.empty()
		}
	})
	s.timer = t
}

// clear ends everything.
func (s *store) clear() {
	s.adopt()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.empty()
}
