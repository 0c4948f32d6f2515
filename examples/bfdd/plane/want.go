package plane

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
)

// Errors of Receive: the connection is to be closed.
var (
	errSlow = errors.New("bfdd asks and does not read the answers")
	errMany = errors.New("bfdd has added too many sessions")
)

// Receive takes a message of bfdd. After an error the connection is to be closed.
func (p *Plane) Receive(id ConnID, m *bfddp.Message, now time.Time) error {
	c := p.conns[id]
	if c == nil {
		return nil
	}
	c.version = m.Version
	if len(c.replies) > maxReplies || len(c.dirty) > maxBindings {
		return errSlow
	}
	switch m.Type {
	case bfddp.TypeAdd:
		return p.add(c, binder{id, m.Session.LID}, m, now)
	case bfddp.TypeDelete:
		if b := c.bindings[m.Session.LID]; b != nil {
			p.unbind(b, now)
		}
	case bfddp.TypeEchoRequest:
		c.reply(&bfddp.Message{Type: bfddp.TypeEchoReply, ID: m.ID, Echo: bfddp.Echo{PlaneTime: uint64(now.UnixMicro()), BFDdTime: m.Echo.BFDdTime}})
	case bfddp.TypeCounterRequest:
		p.counters(c, m, now)
	}
	return nil
}

// add adds a session, or changes one, and answers with its present state.
func (p *Plane) add(c *conn, who binder, m *bfddp.Message, now time.Time) error {
	want := &m.Session
	config, note, err := convert(want)
	if err != nil {
		p.cfg.Notice(fmt.Errorf("session %v -> %v: %w", want.Local, want.Peer, err))
	}
	_ = p.look(now, freshFor)
	config.Key = p.find(config.Key)
	b := c.bindings[who.lid]
	if b != nil && (err != nil || b.session == nil || b.session.key != config.Key) {
		p.unbind(b, now)
		b = nil
	}
	if b == nil {
		if p.bindings >= maxBindings {
			return errMany
		}
		b = &binding{binder: who}
		c.bindings[who.lid] = b
		p.bindings++
	}
	b.wanted = *m
	if err == nil {
		if err = p.want(b, config, note, now); err != nil {
			p.cfg.Notice(err)
		}
	}
	if err != nil {
		b.refused = err.Error()
		p.tell(b, bfddp.State{LID: who.lid, State: uint8(bfd.StateDown)})
		return nil
	}
	p.tell(b, p.describe(b.session, who.lid))
	return nil
}

// want has the Service have a session as bfdd wants it.
func (p *Plane) want(b *binding, config bfd.SessionConfig, note string, now time.Time) error {
	s := p.sessions[config.Key]
	if s == nil {
		s = &session{key: config.Key, bound: map[binder]*binding{}, state: bfd.StateDown}
		if st, ok := p.status[config.Key]; ok { // an earlier process of ours has left it
			s.state, s.admin = st.State, st.Reason == bfd.ReasonRemoteAdminDown
		}
	}
	_, there := p.sessions[config.Key]
	if !there || !same(s.config, config) {
		if err := p.cfg.Service.Add(config); err != nil {
			return err
		}
	}
	if !there {
		p.sessions[config.Key] = s
		p.alike[loose(config.Key)] = append(p.alike[loose(config.Key)], config.Key)
	}
	if note != s.note && note != "" {
		p.cfg.Notice(fmt.Errorf("session %v: %s", config.Key, note))
	}
	switch {
	case config.AdminDown:
		s.state = bfd.StateAdminDown
	case s.config.AdminDown:
		s.state, s.admin = bfd.StateDown, false
	}
	s.config, s.note, s.until = config, note, time.Time{}
	s.bound[b.binder] = b
	b.session, b.refused = s, ""
	return nil
}

// find returns the key of the session that bfdd means, which may have no interface where
// bfdd names one, or the other way round: bfdd names the interface of a session only if
// it knew it when the session was attached, so a restarted bfdd may or may not.
func (p *Plane) find(k bfd.Key) bfd.Key {
	if p.sessions[k] != nil || p.known(k) || k.Peer.IsLinkLocalUnicast() {
		return k
	}
	for _, other := range slices.Concat(p.alike[loose(k)], p.left[loose(k)]) {
		if k.Interface == "" || other.Interface == "" {
			return other
		}
	}
	return k
}

// known reports whether the Service has a session.
func (p *Plane) known(k bfd.Key) bool {
	_, ok := p.status[k]
	return ok
}

// loose returns a key without its interface.
func loose(k bfd.Key) bfd.Key {
	k.Interface = ""
	return k
}

func same(a, b bfd.SessionConfig) bool {
	return a.DesiredMinTx == b.DesiredMinTx && a.RequiredMinRx == b.RequiredMinRx && a.Multiplier == b.Multiplier && a.Passive == b.Passive && a.AdminDown == b.AdminDown && a.MinTTL == b.MinTTL
}

// unbind takes an id off its session, which lingers if it was the last.
func (p *Plane) unbind(b *binding, now time.Time) {
	delete(p.conns[b.conn].bindings, b.lid)
	p.bindings--
	s := b.session
	if s == nil {
		return
	}
	delete(s.bound, b.binder)
	if len(s.bound) == 0 {
		s.until = now.Add(p.cfg.Linger)
	}
}

// convert makes a session of what bfdd wants. The note says what it does not get.
func convert(want *bfddp.Session) (c bfd.SessionConfig, note string, err error) {
	c = bfd.SessionConfig{
		Key:           bfd.Key{Peer: want.Peer, Local: want.Local, Interface: want.Interface, Multihop: want.Flags&bfddp.FlagMultihop != 0},
		DesiredMinTx:  time.Duration(want.MinTx) * time.Microsecond,
		RequiredMinRx: time.Duration(want.MinRx) * time.Microsecond,
		Multiplier:    want.Multiplier,
		Passive:       want.Flags&bfddp.FlagPassive != 0,
		AdminDown:     want.Flags&bfddp.FlagShutdown != 0,
	}
	c.Key = c.Key.Normal()
	if want.MinRx == 0 {
		c.RequiredMinRx = -1 // zero means the default there
	}
	if c.Multihop {
		c.MinTTL = want.TTL
	}
	switch {
	case want.Mode != 0 || want.Encapsulation != 0:
		return c, "", errors.New("seamless BFD and SRv6 are not supported")
	case want.MinTx == 0 || want.Multiplier == 0:
		return c, "", errors.New("interval or multiplier is zero")
	}
	if want.Flags&bfddp.FlagEcho != 0 {
		note = "the echo function is not supported: control packets alone watch the path"
	}
	return c, note, c.Check()
}
