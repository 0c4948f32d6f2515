package bfd

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Run implements [Service]. At its end every session says AdminDown to its peer,
// so that the peer does not take it for a failure of the path.
func (s *Server) Run(ctx context.Context) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.run(ctx)
}

// open makes the server ready to run. If it fails the server is closed.
func (s *Server) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != idle {
		return ErrClosed
	}
	p, err := s.host.poller()
	if err != nil {
		s.state = closed
		s.board.close()
		return err
	}
	s.owner.poller = p
	s.begin()
	return nil
}

// begin has the core serve the sessions that were added before; the lock is held.
func (s *Server) begin() {
	s.state = running
	for _, e := range s.slots {
		if e != nil {
			s.core.insert(e)
		}
	}
}

// run serves an open server.
func (s *Server) run(ctx context.Context) error {
	failed := make(chan error, 1)
	go s.thread(failed)
	var wg sync.WaitGroup
	wg.Go(s.hub)
	wg.Go(s.failover.run)
	wg.Go(s.attacher.run)
	select {
	case <-ctx.Done():
		_ = s.do(func(c *core) { c.farewell(); s.owner.stop = true })
	case <-s.owner.ended: // it failed, or a successor has taken over
	}
	<-s.owner.ended
	s.mu.Lock()
	s.state = closed
	s.mu.Unlock()
	s.changed.mark(0)
	s.failover.dead.mark(0)
	wg.Wait()
	s.finish()
	s.owner.poller.close()
	select {
	case err := <-failed:
		return err
	default:
		return s.owner.broken
	}
}

// thread is the owner's. It is never unlocked: the thread ends with the
// goroutine, and its priority with it.
func (s *Server) thread(failed chan<- error) {
	runtime.LockOSThread()
	lacks, err := s.owner.poller.begin(&s.cfg)
	for _, l := range lacks {
		s.cfg.Notice(l)
	}
	if err != nil {
		failed <- err
		close(s.owner.ended)
		return
	}
	close(s.began)
	s.owner.loop()
}

// ready waits until the owner's thread is there, with the rights that it needs.
func (s *Server) ready() error {
	select {
	case <-s.began:
		return nil
	case <-s.owner.ended:
		return errors.New("bfd: the thread of the sessions did not start")
	}
}

// finish lets go of sockets and namespaces. Nothing uses them any more.
func (s *Server) finish() {
	s.mu.Lock()
	entries := append(s.gone, s.slots...)
	s.mu.Unlock()
	s.attacher.finish(entries)
}

// toLookAt lists the sessions that the attacher shall look at now.
func (s *Server) toLookAt(now time.Time) (list []toLook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.gone {
		list = append(list, toLook{entry: e, gone: true})
	}
	s.gone = nil
	for _, e := range s.slots {
		if e == nil || !e.check && (e.lookAt.IsZero() || e.lookAt.After(now)) {
			continue
		}
		list = append(list, toLook{entry: e, config: e.kept, state: e.cell.read().state, again: e.again})
		e.check, e.again = false, false
	}
	return list
}

// nextLook returns when the attacher next looks at a session by itself; zero: never.
func (s *Server) nextLook() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.slots {
		if e != nil && !e.lookAt.IsZero() && (at.IsZero() || e.lookAt.Before(at)) {
			at = e.lookAt
		}
	}
	return at
}

// looked takes what the attacher found out about a session, and decides when it looks
// again. What a session that is Up may lack does not matter.
func (s *Server) looked(e *entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	up, text := e.cell.read().state == StateUp, ""
	if err != nil && !up {
		text = err.Error()
	}
	switch {
	case e.removed:
		e.lookAt = time.Time{}
		return
	case e.kept.Echo && err == nil:
		e.lookAt = s.clock.time().Add(lookEcho)
	case up && err == nil:
		e.lookAt = time.Time{}
	default:
		e.lookAt = s.clock.time().Add(e.backoff.Next())
	}
	if e.trouble == text {
		return
	}
	e.trouble = text
	s.post(e)
	if text != "" {
		s.cfg.Notice(&unavailableError{e.key, err})
	}
}

// unavailableError says why a session cannot run.
type unavailableError struct {
	key Key   // of the session
	err error // what it lacks
}

func (e *unavailableError) Error() string { return "bfd: " + e.key.String() + ": " + e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// recheck has the attacher look at sessions whose packets the kernel refuses.
func (s *Server) recheck(failing *marks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failing.drain(func(slot int) {
		// A session that is to be looked at soon anyway is not looked at sooner.
		if slot < len(s.slots) && s.slots[slot] != nil && s.slots[slot].lookAt.IsZero() {
			s.slots[slot].lookAt = s.clock.time()
		}
	})
}

// attach notes where a session runs; nil: nowhere.
func (s *Server) attach(e *entry, a *attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.space = nil; a != nil {
		e.space = a.space
	}
}

// newDiscr is freeDiscr for those who do not have the lock.
func (s *Server) newDiscr() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freeDiscr()
}
