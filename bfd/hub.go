package bfd

// hub carries state changes from the owner's cells to the board, and cleans up
// after sessions whose lingering is over. It is a goroutine of Run.
func (s *Server) hub() {
	defer s.board.close()
	for range s.changed.ready {
		if s.collect() {
			return
		}
	}
}

// collect takes everything that changed. It returns true once the server is
// closed.
func (s *Server) collect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.drain(func(slot int) {
		if slot >= len(s.slots) || s.slots[slot] == nil {
			return
		}
		e := s.slots[slot]
		switch {
		case e.done.Load():
			s.release(e)
		case !e.removed:
			downs := e.last.downs
			s.post(e)
			if e.last.downs > downs && e.last.state != StateUp {
				s.look(e) // perhaps it lacks something now
			}
		}
	})
	return s.state == closed
}

// post puts what is new about a session on the board; the lock is held.
func (s *Server) post(e *entry) {
	f := e.cell.read()
	if f == e.last && e.trouble == e.lastTrouble && f.since != 0 {
		return
	}
	e.last, e.lastTrouble = f, e.trouble
	var down *Event
	if f.downs > 0 {
		down = &Event{Key: e.key, State: StateDown, Diag: f.downDiag, RemoteDiag: f.downRemote, Reason: f.downReason, RemoteC: f.remoteC, Time: s.clock.wall(f.downAt), Downs: f.downs}
	}
	s.board.post(s.event(e, f), down)
}

// reportFailover puts on the board what became of a session's next hops. The Down that caused
// it comes first, and by now the session may be Up again: the state that the event repeats is
// the present one.
func (s *Server) reportFailover(e *entry, results []FailoverResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.removed || s.slots[e.slot] != e {
		return
	}
	s.post(e)
	ev := s.event(e, e.last)
	ev.Failover = results
	s.board.post(ev, nil)
}

// event is a fact in the words of the API; the lock is held.
func (s *Server) event(e *entry, f fact) Event {
	ev := Event{Key: e.key, State: f.state, Diag: f.diag, RemoteDiag: f.remoteDiag, Reason: f.reason, RemoteC: f.remoteC, Time: s.clock.wall(f.since), Downs: f.downs}
	ev.Reason, ev.Err = e.reasonNow(ev.State, ev.Reason)
	return ev
}

// reasonNow is why a session is in its state, and what it lacks: a session that is not Up
// for no other reason is unavailable.
func (e *entry) reasonNow(state State, r Reason) (Reason, string) {
	switch {
	case state == StateUp || e.trouble == "":
		return r, ""
	case r == ReasonNone:
		return ReasonUnavailable, e.trouble
	}
	return r, e.trouble
}

// release lets go of a session that is no more; the lock is held.
func (s *Server) release(e *entry) {
	if s.slots[e.slot] != e {
		return
	}
	s.slots[e.slot] = nil
	if s.entries[e.key] == e {
		delete(s.entries, e.key)
	}
	s.gone = append(s.gone, e)
	s.attacher.kick()
}
