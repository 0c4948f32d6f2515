package plane

import (
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
)

// counters answers a request for counters, also for a session that there is not: bfdd does
// nothing else until the answer comes.
//
// Before the answer go two messages that bfdd ignores. It takes what it has read out of its
// buffer of 8,192 octets only after three messages, and closes the connection when
// the buffer is full (FRRouting/frr issue 22693, mended in July 2026).
func (p *Plane) counters(c *conn, m *bfddp.Message, now time.Time) {
	answer := bfddp.Message{Type: bfddp.TypeCounters, ID: m.ID, Counters: bfddp.Counters{LID: m.LID}}
	if b := c.bindings[m.LID]; b != nil && b.session != nil {
		_ = p.look(now, freshFor)
		st := p.status[b.session.key]
		answer.Counters.ControlIn, answer.Counters.ControlInBytes = st.Received, st.Received*controlLen
		answer.Counters.ControlOut, answer.Counters.ControlOutBytes = st.Sent, st.Sent*controlLen
	}
	for range 2 {
		c.reply(&bfddp.Message{Type: bfddp.TypeEchoReply})
	}
	c.reply(&answer)
}

// controlLen is the length of a control packet without authentication (RFC 5880, Section 4.1).
const controlLen = 24

func (c *conn) reply(m *bfddp.Message) {
	m.Version = c.version
	c.replies, _ = m.AppendBinary(c.replies) // the version was parsed
}

// look reads the status of all sessions, unless it is young enough. If the BFD process does
// not answer, the last one counts.
func (p *Plane) look(now time.Time, age time.Duration) error {
	if !p.looked.IsZero() && now.Sub(p.looked) < age {
		return nil
	}
	p.looked = now
	list, err := p.cfg.Service.Sessions()
	if err != nil {
		return err
	}
	clear(p.status)
	clear(p.left)
	for _, st := range list {
		p.status[st.Key] = st
		p.left[loose(st.Key)] = append(p.left[loose(st.Key)], st.Key)
	}
	return nil
}

// Update takes events of the Service, in their order.
func (p *Plane) Update(events []bfd.Event, now time.Time) {
	_ = p.look(now, 0)
	for i := range events {
		e := &events[i]
		s := p.sessions[e.Key]
		if s == nil {
			continue
		}
		if s.state, s.admin = e.State, e.Reason == bfd.ReasonRemoteAdminDown; e.Removed {
			s.state, s.admin = bfd.StateDown, false // for now: the Service is to have it
		}
		p.news(s)
		p.details = now.Add(detailsAfter)
	}
}

// news tells everybody who wants a session of it, if there is anything new.
func (p *Plane) news(s *session) {
	for who, b := range s.bound {
		if state := p.describe(s, who.lid); state != b.sent || len(b.queue) > 0 {
			p.tell(b, state)
		}
	}
}

// describe makes the report of a session.
//
// Init is Down to bfdd. The AdminDown of the remote system is not, although the state of the
// session itself is Down then: bfdd would take it for a failure of the path, which it
// is not (RFC 5882, Section 4.2).
func (p *Plane) describe(s *session, lid uint32) bfddp.State {
	st := p.status[s.key]
	m := bfddp.State{LID: lid, State: uint8(s.state), RemoteDiscr: st.RemoteDiscr, RemoteDiag: uint8(st.RemoteDiag), RemoteMult: st.RemoteMultiplier,
		RemoteMinTx: uint32(st.RemoteMinTx.Microseconds()), RemoteMinRx: uint32(st.RemoteMinRx.Microseconds())}
	if st.RemoteC {
		m.RemoteFlags |= bfddp.RemoteC
	}
	switch {
	case s.state == bfd.StateInit:
		m.State = uint8(bfd.StateDown)
	case s.state == bfd.StateDown && s.admin:
		m.State = uint8(bfd.StateAdminDown)
	}
	return m
}

// tell puts a state into the queue of a binding. A state that was not sent yet gives way,
// unless it is a Down that an Up would hide.
func (p *Plane) tell(b *binding, m bfddp.State) {
	c := p.conns[b.conn]
	if len(b.queue) == 0 {
		c.dirty = append(c.dirty, b.lid)
	}
	up := uint8(bfd.StateUp)
	down := slices.IndexFunc(b.queue, func(q bfddp.State) bool { return q.State != up })
	if m.State == up && down >= 0 {
		b.queue = append(b.queue[:0], b.queue[down], m)
	} else {
		b.queue = append(b.queue[:0], m)
	}
	b.sent = m
}

// Output returns the octets that are to be sent on a connection next, answers first; the
// caller calls it once those of the last call are sent.
func (p *Plane) Output(id ConnID) []byte {
	c := p.conns[id]
	if c == nil {
		return nil
	}
	out := c.replies
	c.replies = nil
	for _, lid := range c.dirty {
		b := c.bindings[lid]
		if b == nil {
			continue // deleted meanwhile
		}
		for _, state := range b.queue {
			m := bfddp.Message{Version: c.version, Type: bfddp.TypeState, State: state}
			out, _ = m.AppendBinary(out)
		}
		b.queue = nil
	}
	c.dirty = nil
	return out
}

// Info is what is shown of a session.
type Info struct {
	bfd.Status
	IDs    []uint32      // bfdd's ids of it
	Linger time.Duration // for how long it stays although no bfdd wants it; 0: one does
	Note   string        // what bfdd asked for and does not get, or why there is no session
}

// Sessions returns what is shown, in the order of the addresses.
func (p *Plane) Sessions(now time.Time) (list []Info) {
	_ = p.look(now, freshFor)
	for _, s := range p.ordered() {
		info := Info{Status: p.status[s.key], Note: s.note}
		info.Key, info.State = s.key, s.state
		for who := range s.bound {
			info.IDs = append(info.IDs, who.lid)
		}
		if slices.Sort(info.IDs); len(info.IDs) == 0 {
			info.Linger = max(s.until.Sub(now), time.Millisecond)
		}
		list = append(list, info)
	}
	for _, id := range slices.Sorted(maps.Keys(p.conns)) {
		for _, lid := range slices.Sorted(maps.Keys(p.conns[id].bindings)) {
			if b := p.conns[id].bindings[lid]; b.session == nil {
				list = append(list, Info{IDs: []uint32{lid}, Note: b.refused})
			}
		}
	}
	return list
}
