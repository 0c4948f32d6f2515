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
			s.post(e)
		}
	})
	return s.state == closed
}

// post puts the session's latest fact on the board if it is news; the lock is
// held.
func (s *Server) post(e *entry) {
	f := e.cell.read()
	if f == e.last && f.since != 0 {
		return
	}
	e.last = f
	ev := s.event(e, f)
	var down *Event
	if f.downs > 0 {
		down = &Event{Key: e.key, State: Down, Diag: f.downDiag, RemoteDiag: f.downRemote, Reason: f.downReason, RemoteC: f.remoteC, Time: s.owner.clock.wall(f.downAt), Downs: f.downs}
	}
	s.board.post(ev, down)
}

// event is a fact in the words of the API.
func (s *Server) event(e *entry, f fact) Event {
	return Event{Key: e.key, State: f.state, Diag: f.diag, RemoteDiag: f.remoteDiag, Reason: f.reason, RemoteC: f.remoteC, Time: s.owner.clock.wall(f.since), Downs: f.downs}
}

// release frees what a removed session held, and with the last one of a network
// namespace its sockets; the lock is held.
func (s *Server) release(e *entry) {
	if s.slots[e.slot] != e {
		return
	}
	s.slots[e.slot] = nil
	if s.entries[e.key] == e {
		delete(s.entries, e.key)
	}
	sp := e.space
	if sp.users--; sp.users > 0 {
		return
	}
	if s.spaces[sp.netns] == sp {
		delete(s.spaces, sp.netns)
	}
	if s.do(func(o *owner) { o.leave(sp) }) == nil {
		sp.close()
	}
}
