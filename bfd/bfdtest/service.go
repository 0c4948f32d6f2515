package bfdtest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// Service is a bfd.Service whose sessions the test takes up and down; nothing is sent or
// received. A session that was added is Down until the test says otherwise. The zero value
// is ready for use. It must not be copied. It is safe for concurrent use.
type Service struct {
	mu       sync.Mutex           // guards the following
	sessions map[bfd.Key]*session // those that were added
	events   bfd.Broadcaster      // of all sessions
	running  bool                 // Run was called
	closed   bool                 // Run has returned
}

type session struct {
	config bfd.SessionConfig // as last added
	status bfd.Status        // what Sessions returns
}

var _ bfd.Service = (*Service)(nil)

// Add implements bfd.Service.
func (s *Service) Add(c bfd.SessionConfig) error {
	if err := c.Check(); err != nil {
		return err
	}
	c.Key = c.Key.Normal()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return bfd.ErrClosed
	}
	c.Failover = slices.Clone(c.Failover)
	known := s.sessions[c.Key]
	if known == nil {
		if s.sessions == nil {
			s.sessions = map[bfd.Key]*session{}
		}
		known = &session{status: bfd.Status{Key: c.Key, State: bfd.StateDown, RemoteState: bfd.StateDown, Since: time.Now()}}
		s.sessions[c.Key] = known
		s.post(known, nil)
	}
	known.config = c
	st := &known.status
	st.DesiredMinTx = cmp.Or(c.DesiredMinTx, bfd.DefaultInterval)
	st.RequiredMinRx = cmp.Or(c.RequiredMinRx, bfd.DefaultInterval)
	st.Multiplier = cmp.Or(c.Multiplier, bfd.DefaultMultiplier)
	return nil
}

// Remove implements bfd.Service.
func (s *Service) Remove(k bfd.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return bfd.ErrClosed
	}
	k = k.Normal()
	known := s.sessions[k]
	if known == nil {
		return bfd.ErrNoSession
	}
	delete(s.sessions, k)
	known.enter(bfd.StateAdminDown, bfd.ReasonLocalAdminDown)
	e := known.event(nil)
	e.Removed = true
	s.events.Post(e)
	return nil
}

// Sessions implements bfd.Service.
func (s *Service) Sessions() ([]bfd.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, bfd.ErrClosed
	}
	var all []bfd.Status
	for _, known := range s.sessions {
		all = append(all, known.status)
	}
	return all, nil
}

// Watch implements bfd.Service.
func (s *Service) Watch() *bfd.Watcher { return s.events.Watch() }

// Run implements bfd.Service: it waits for the end of ctx.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.running || s.closed
	s.running = true
	s.mu.Unlock()
	if again {
		return bfd.ErrClosed
	}
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.events.Close()
	return nil
}

// Config returns what was last added under a key; ok is false if there is no such session.
func (s *Service) Config(k bfd.Key) (c bfd.SessionConfig, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.sessions[k.Normal()]
	if known == nil {
		return c, false
	}
	c = known.config
	c.Failover = slices.Clone(c.Failover)
	return c, true
}

// Up takes a session up. It returns bfd.ErrNoSession if there is none.
func (s *Service) Up(k bfd.Key) error {
	return s.Change(k, func(st *bfd.Status) { st.State, st.Reason, st.Diag = bfd.StateUp, bfd.ReasonNone, bfd.DiagNone })
}

// Down takes a session down for a reason, for example bfd.ReasonExpired; our diagnostic
// follows from it. It returns bfd.ErrNoSession if there is none.
func (s *Service) Down(k bfd.Key, why bfd.Reason) error {
	return s.Change(k, func(st *bfd.Status) { st.State, st.Reason, st.Diag = bfd.StateDown, why, diags[why] })
}

// diags are our diagnostics (RFC 5880, Section 6.8.4 and Section 6.8.6).
var diags = map[bfd.Reason]bfd.Diag{bfd.ReasonExpired: bfd.DiagExpired, bfd.ReasonNeighborDown: bfd.DiagNeighborDown,
	bfd.ReasonRemoteAdminDown: bfd.DiagNeighborDown, bfd.ReasonEchoFailed: bfd.DiagEchoFailed}

// Change lets f change the status of a session, for example its RemoteC, and reports the
// result as an event. If f takes the session out of Up, that is counted in Downs; Since
// follows a change of State. f is called with the Service locked and must not use it. Change
// returns bfd.ErrNoSession if there is no such session, and bfd.ErrClosed after the end of
// Run.
func (s *Service) Change(k bfd.Key, f func(*bfd.Status)) error { return s.change(k, f, nil) }

// Failover reports what became of a session's next-hop objects, as the BFD process does
// after a Down. It returns the errors of Change.
func (s *Service) Failover(k bfd.Key, results ...bfd.FailoverResult) error {
	return s.change(k, func(*bfd.Status) {}, slices.Clone(results))
}

func (s *Service) change(k bfd.Key, f func(*bfd.Status), results []bfd.FailoverResult) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return bfd.ErrClosed
	}
	known := s.sessions[k.Normal()]
	if known == nil {
		return bfd.ErrNoSession
	}
	next := known.status
	f(&next)
	state, reason := next.State, next.Reason
	next.Key, next.State, next.Since, next.Downs = known.status.Key, known.status.State, known.status.Since, known.status.Downs
	known.status = next
	known.enter(state, reason)
	s.post(known, results)
	return nil
}

// post reports a session; the lock is held.
func (s *Service) post(known *session, results []bfd.FailoverResult) {
	s.events.Post(known.event(results))
}

// enter takes a session to a state.
func (e *session) enter(state bfd.State, why bfd.Reason) {
	st := &e.status
	if st.State == bfd.StateUp && state != bfd.StateUp {
		st.Downs++
	}
	if st.State != state {
		st.Since = time.Now()
	}
	st.State, st.Reason = state, why
}

// event is the session's present state.
func (e *session) event(results []bfd.FailoverResult) bfd.Event {
	st := &e.status
	return bfd.Event{Key: st.Key, State: st.State, Diag: st.Diag, RemoteDiag: st.RemoteDiag, Reason: st.Reason, Err: st.Err,
		RemoteC: st.RemoteC, Time: time.Now(), Downs: st.Downs, Failover: results}
}
