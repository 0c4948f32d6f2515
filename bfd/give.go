package bfd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// A planned restart of the BFD process: the successor, already running, asks its
// predecessor over the unix socket for everything. The predecessor stops its owner and
// sends state frames: sockets, with their descriptors alongside (SCM_RIGHTS), sessions
// with their timers and sequence numbers, and what clients want. Then both go through the
// steps of [bfdcore.Giver] and [bfdcore.Taker]; if one dies meanwhile, the other one has
// the sessions. Packets that arrive in between wait in the sockets, which both have open.
// Clients reconnect to the listener, which is handed over as well, and take over their
// sessions by key.

// handoverVersion is the version of the state frames' content and of the steps. The one
// before it is spoken, too.
const (
	handoverVersion = 2
	handoverOldest  = 1
)

// handoverTimeout is how long the predecessor waits for its successor to be ready: less
// than the detection time of 100 ms x 5, with room for going on.
const handoverTimeout = 250 * time.Millisecond

// Parts of the state, the first octet of a state frame.
const (
	partSocket uint8 = iota + 1 // a socketID; its descriptor comes alongside
	partEntry                   // a session
	partClient                  // a client and one session it wants
	partEnd
)

var (
	errHandover        = errors.New("bfd: handover version not supported")
	errHandoverOngoing = errors.New("bfd: another successor is being served")
	errHandoverOver    = errors.New("bfd: the successor was not ready in time")
)

// give hands everything over to the successor on c. On success the process ends.
func (p *process) give(c *conn, m message) {
	g := p.newGiving(c, m)
	if g == nil {
		return
	}
	err := g.run()
	if err == nil {
		p.cancel()
		return
	}
	if g.goOn(err) {
		for range g.answers {
		}
	}
}

// newGiving begins the handover that m asks for. It returns nil, and tells the successor why,
// if there is none.
func (p *process) newGiving(c *conn, m message) *giving {
	d := decode(protocolVersion, m.body)
	magic, version := d.Uint32(), d.Uint16()
	switch {
	case magic != protocolMagic || version < handoverOldest || version > handoverVersion || d.err() != nil:
		_ = c.reply(m.id, errHandover)
	case !p.claim():
		_ = c.reply(m.id, errHandoverOngoing)
	default:
		return &giving{process: p, conn: c, id: m.id, version: version, giver: bfdcore.Giver{Confirms: version > 1}}
	}
	return nil
}

// claim notes that a successor is being served. There is one at a time.
func (p *process) claim() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handing || p.closed {
		return false
	}
	p.handing = true
	return true
}

func (p *process) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handing = false
}

// giving is one handover.
type giving struct {
	process *process                // that gives its sessions
	conn    *conn                   // the successor's connection
	id      uint32                  // of the request
	version uint16                  // of the handover that both speak
	giver   bfdcore.Giver           // decides what comes next
	answers chan bfdcore.GiverEvent // of the successor; closed with the connection
	refused bool                    // it is to be told no
}

// goOn is the end of a handover that has failed. It reports whether the connection stays open
// until the successor closes it: one that is alive must read that it is refused, and takes the
// end of the connection for our death.
func (g *giving) goOn(err error) (stays bool) {
	g.process.release()
	g.process.cfg.Notice(fmt.Errorf("bfd: handover failed, going on: %w", err))
	if !g.refused || g.version == 1 {
		return false
	}
	_ = g.conn.SetWriteDeadline(time.Time{})
	_ = g.conn.reply(g.id, err)
	return true
}

// run hands over. While it does nothing else changes: no session, no socket, nothing that
// clients want. It returns why the process goes on; nil: the successor has everything.
func (g *giving) run() error {
	p, s := g.process, g.process.server
	s.attacher.mu.Lock()
	defer s.attacher.mu.Unlock()
	p.shareMu.Lock()
	defer p.shareMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	verdict := make(chan bool, 1)
	st := newState(p, g.version)
	// What is due is sent first: one handover after the other may fail, each in its time.
	if err := s.do(func(*core) { s.owner.expire(); s.owner.flush(); st.encode(); s.owner.pause = verdict }); err != nil {
		return err
	}
	err := g.persuade(st)
	if err == nil {
		p.mu.Lock()
		p.handed = true
		p.mu.Unlock()
	}
	verdict <- err == nil
	return err
}

// persuade sends the state and goes through the steps. It returns nil if the sessions are
// the successor's.
func (g *giving) persuade(st *state) error {
	limit := time.Now().Add(handoverTimeout)
	_ = g.conn.SetWriteDeadline(limit)
	if err := st.send(g.conn); err != nil {
		return err
	}
	g.answers = make(chan bfdcore.GiverEvent, 3)
	go g.listen()
	timer := time.NewTimer(time.Until(limit))
	defer timer.Stop()
	for {
		var e bfdcore.GiverEvent
		select {
		case e = <-g.answers:
		case <-timer.C:
			e = bfdcore.GiverTimedOut
		case <-g.process.ending:
			e = bfdcore.GiverStopped
		}
		if over, err := g.step(e); over {
			return err
		}
	}
}

// step does what follows from an event. It reports whether that decides who has the sessions:
// the successor, or this process for the reason that err says.
func (g *giving) step(e bfdcore.GiverEvent) (over bool, err error) {
	action := g.giver.Step(e)
	if action == bfdcore.GiverSayGo {
		switch err := g.conn.reply(g.id, nil); {
		case err != nil:
			action = g.giver.Step(bfdcore.GiverClosed)
		case g.giver.Said():
			return true, nil
		}
	}
	switch action {
	case bfdcore.GiverEnd:
		return true, nil
	case bfdcore.GiverSayNo:
		g.refused = true
		return true, errHandoverOver
	case bfdcore.GiverResume:
		return true, errors.New("the successor is gone")
	}
	return false, nil
}

// giverAnswers are the successor's answers, in their order.
var giverAnswers = [...]bfdcore.GiverEvent{bfdcore.GiverReady, bfdcore.GiverRuns}

// listen takes the successor's answers.
func (g *giving) listen() {
	defer close(g.answers)
	for _, e := range giverAnswers {
		if m, err := readFrame(g.conn); err != nil || m.typ != frameReply {
			break
		}
		g.answers <- e
	}
	g.answers <- bfdcore.GiverClosed
}

// state is what is handed over, encoded.
type state struct {
	process  *process                 // whose state it is
	version  uint16                   // of the handover
	out      encoder                  // what was encoded so far
	spaces   map[*netnsSockets]uint32 // numbered, from 1
	sessions []byte                   // encoded, in their own part
	fds      []int                    // of sockets, in the order of their parts
}

func newState(p *process, version uint16) *state {
	return &state{process: p, version: version, out: encoder{version: protocolVersion}, spaces: map[*netnsSockets]uint32{}}
}

func (st *state) part(kind uint8, f func(t transfer)) {
	st.out.begin(frameState, 0)
	st.out.u8(kind)
	f(transfer{version: st.version, out: &st.out})
	_ = st.out.end() // the config in it has been in a frame before, see maxConfig
}

// number returns the number of a namespace. In version 1 a path stands for the namespace
// that it led to last, and there is no other: then ok is false.
func (st *state) number(sp *netnsSockets) (n uint32, ok bool) {
	if st.version == 1 && st.process.server.attacher.spaces[sp.path] != sp {
		return 0, false
	}
	if n, ok = st.spaces[sp]; !ok {
		n = uint32(len(st.spaces) + 1)
		st.spaces[sp] = n
	}
	return n, true
}

// encode encodes the sessions; it runs on the owner's thread.
func (st *state) encode() {
	for _, e := range st.process.server.slots {
		if e == nil || e.removed || e.done.Load() {
			continue
		}
		s := entryState{kept: e.kept, local: e.local, sport: e.sport, session: &e.Session, failed: e.failed}
		if a := e.attached; a != nil {
			n, ok := st.number(a.space)
			s.attached, s.space, s.rx, s.by, s.from, s.self = ok, n, a.rx.rxKey, a.link, int(a.from), a.self
			if e.echo {
				s.link, s.halen, s.mac = a.link, e.toLink.halen, e.toLink.addr
			}
		}
		if st.version == 1 && !s.attached {
			continue // the client adds it again
		}
		st.part(partEntry, func(t transfer) { t.entry(&s) })
	}
	st.sessions, st.out.b = st.out.b, nil
}

// sockets encodes what the descriptors are, and collects them.
func (st *state) sockets(listener int) {
	add := func(id socketID, fd int) {
		st.part(partSocket, func(t transfer) { t.socket(&id) })
		st.fds = append(st.fds, fd)
	}
	add(socketID{kind: 3}, listener)
	for _, sp := range slices.SortedFunc(maps.Keys(st.spaces), func(a, b *netnsSockets) int { return int(st.spaces[a]) - int(st.spaces[b]) }) {
		n := st.spaces[sp]
		for kind, ipv6 := range []bool{false, true} { // the successor opens those of quiet sessions itself
			if tx := sp.tx[txKey{ipv6: ipv6}]; tx != nil {
				add(socketID{netns: sp.path, kind: uint8(kind), space: n}, tx.fd)
			}
		}
		for _, rx := range slices.SortedFunc(maps.Values(sp.rx), func(a, b *rxSocket) int { return a.fd - b.fd }) {
			add(socketID{netns: sp.path, kind: 2, rx: rx.rxKey, space: n}, rx.fd)
		}
	}
}

// complete encodes what is around the sessions, once they are encoded. The descriptors in fds go
// alongside sockets, which come first, then the sessions, then the rest.
func (st *state) complete(listener int) (sockets, rest []byte) {
	st.sockets(listener)
	sockets, st.out.b = st.out.b, nil
	sharing := st.process.sharing
	for _, name := range sharing.Names() {
		sharing.Wants(name, func(_ Key, c SessionConfig) {
			st.part(partClient, func(t transfer) { t.client(&name, &c) })
		})
	}
	st.part(partEnd, func(transfer) {})
	return sockets, st.out.b
}

// send sends the state.
func (st *state) send(c *conn) error {
	return st.process.listener.control(func(fd int) error {
		sockets, rest := st.complete(fd)
		if err := c.sendFDs(sockets, st.fds); err != nil {
			return err
		}
		for _, b := range [][]byte{st.sessions, rest} {
			if _, err := c.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}
