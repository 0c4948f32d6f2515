package bfd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// Takeover replaces the running BFD process whose socket is at path, without any
// session going down, and then does what [Serve] does. If it returns an error
// before ctx ends, the old process goes on.
func Takeover(ctx context.Context, path string, cfg ServeConfig) error {
	return takeover(ctx, path, cfg, systemHost{})
}

func takeover(ctx context.Context, path string, cfg ServeConfig, h host) error {
	for version := uint16(handoverVersion); ; version-- {
		p, err := newProcess(cfg, h)
		if err != nil {
			return err
		}
		t := newTaking(p, version)
		run := p.context(ctx)
		ended, err := t.take(run, path)
		if err == nil {
			return p.run(run, ended)
		}
		p.cancel()
		if !errors.Is(err, errHandover) || version == handoverOldest {
			return fmt.Errorf("bfd: takeover: %w", err)
		}
	}
}

// taking is one handover, seen by the successor.
type taking struct {
	process *process                 // that the sessions come to
	stream  stream                   // the connection to the predecessor
	version uint16                   // of the handover that both speak
	taker   bfdcore.Taker            // decides what comes next
	spaces  map[uint32]*netnsSockets // by number; in version 1 all are number 0, and told apart by path
	fds     []int                    // that have come, and are of no use yet
}

func newTaking(p *process, version uint16) *taking {
	return &taking{process: p, version: version, spaces: map[uint32]*netnsSockets{}, taker: bfdcore.Taker{Confirms: version > 1}}
}

// take takes everything over. The sessions run when it returns.
func (t *taking) take(ctx context.Context, path string) (ended <-chan error, err error) {
	p := t.process
	if t.stream, err = p.server.host.dial(ctx, path); err != nil {
		return nil, err
	}
	defer t.stream.Close()
	stop := context.AfterFunc(ctx, func() { t.stream.Close() })
	defer stop()
	if err = p.server.open(); err != nil {
		return nil, err
	}
	gate := make(chan bool, 1) // holds the owner; false: go on, true: end
	p.server.owner.pause = gate
	ended = p.start(ctx)
	err = t.everything(ctx)
	if gate <- err != nil; err != nil {
		<-ended
		t.discard()
		return nil, err
	}
	if t.version > 1 {
		_ = t.say(2)
	}
	return ended, nil
}

// everything builds all that there is to take over. No other goroutine touches it until it returns:
// the owner waits, and so does the attacher.
func (t *taking) everything(ctx context.Context) error {
	s := t.process.server
	s.attacher.mu.Lock()
	defer s.attacher.mu.Unlock()
	if err := t.receive(); err != nil {
		return err
	}
	if err := s.ready(); err != nil {
		return err
	}
	if err := t.steps(ctx); err != nil {
		return err
	}
	t.settle()
	return nil
}

// discard lets go of what came and was of no use.
func (t *taking) discard() {
	h := t.process.server.host
	for _, fd := range append(t.fds, t.stream.takeFDs()...) {
		h.closeFD(fd)
	}
	for _, sp := range t.spaces {
		if !sp.closed { // else the server has closed it
			sp.descriptors(h.closeFD)
			sp.close()
		}
	}
	if l := t.process.listener; l != nil {
		l.close(true)
	}
}

// receive asks for the state and builds everything from it.
func (t *taking) receive() error {
	t.stream.takeFDs()
	if err := t.request(t.stream); err != nil {
		return err
	}
	return t.parts(t.stream, t.stream.takeFDs)
}

// request asks for everything.
func (t *taking) request(w io.Writer) error {
	e := encoder{version: protocolVersion}
	e.begin(frameHandover, 1)
	e.u32(protocolMagic)
	e.u16(t.version)
	_ = e.end()
	_, err := w.Write(e.b)
	return err
}

// parts takes the state that r yields, up to its end. fds returns the descriptors that have
// come alongside.
func (t *taking) parts(r io.Reader, fds func() []int) error {
	for {
		m, err := readFrame(r)
		if err != nil {
			return err
		}
		t.fds = append(t.fds, fds()...)
		if complete, err := t.frame(m); complete || err != nil {
			return err
		}
	}
}

// frame takes one frame of the state. It reports whether it was the last.
func (t *taking) frame(m message) (complete bool, err error) {
	d := decode(protocolVersion, m.body)
	switch m.typ {
	case frameReply:
		return false, replyError(d.string())
	case frameState:
		kind := d.Uint8()
		err := cmp.Or(t.part(kind, transfer{version: t.version, in: d}), d.err())
		return kind == partEnd, err
	}
	return false, nil
}

// part takes one part of the state.
func (t *taking) part(kind uint8, tr transfer) error {
	switch kind {
	case partSocket:
		if len(t.fds) == 0 {
			return errProtocol
		}
		var id socketID
		tr.socket(&id)
		fd := t.fds[0]
		t.fds = t.fds[1:]
		return t.socket(id, fd)
	case partEntry:
		s := entryState{session: &Session{}}
		tr.entry(&s)
		if tr.in.Short {
			return errProtocol
		}
		return t.entry(&s)
	case partClient:
		var name string
		var c SessionConfig
		tr.client(&name, &c)
		return t.client(name, c)
	case partEnd:
		if t.process.listener == nil {
			return errProtocol
		}
		return nil
	}
	return errProtocol
}

// socket takes a descriptor into use.
func (t *taking) socket(id socketID, fd int) (err error) {
	s := t.process.server
	if id.kind == 3 {
		t.process.listener, err = s.host.listener(fd)
		return err
	}
	sp := t.space(id.space, id.netns)
	if sp == nil {
		ns, err := s.host.namespaceOf(fd, id.netns)
		if err != nil {
			s.host.closeFD(fd)
			return err
		}
		sp = newNetNSSockets(id.netns, ns)
		t.spaces[cmp.Or(id.space, uint32(len(t.spaces)+1))] = sp
		if last := s.attacher.spaces[sp.path]; last == nil {
			s.attacher.spaces[sp.path] = sp
		} else if same, _ := ns.at(sp.path); same {
			s.attacher.spaces[sp.path] = sp
		}
	}
	if id.kind < 2 {
		sp.ns.enlarge(fd) // perhaps the predecessor is of a version with small ones
		sp.addSender(txKey{ipv6: id.kind == 1}, fd)
		return nil
	}
	sp.addReceiver(id.rx, fd)
	return s.core.shell.watch(fd)
}

// space returns a namespace that a socket has come from.
func (t *taking) space(number uint32, path string) *netnsSockets {
	if number != 0 {
		return t.spaces[number]
	}
	for _, sp := range t.spaces {
		if sp.path == path {
			return sp
		}
	}
	return nil
}

// entry builds a session as it was.
func (t *taking) entry(st *entryState) error {
	s := t.process.server
	if err := st.kept.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.freeSlot()
	if slot < 0 || s.entries[st.kept.Key] != nil {
		return errProtocol
	}
	e := &entry{slot: slot, kept: st.kept, place: -1, key: st.kept.Key, minTTL: st.kept.MinTTL, local: st.local, sport: st.sport,
		backoff: bfdcore.Backoff{Min: lookFirst, Max: lookLast}, failed: max(st.failed, st.session.downs)}
	e.Session = *st.session
	if e.auth != nil {
		e.auth.Auth = e.kept.Auth
	}
	e.number.Store(e.discr)
	s.slots[slot], s.entries[e.key] = e, e
	s.ports = max(s.ports, uint32(e.sport)-49152)
	e.cell.write(e.fact())
	s.core.insert(e)
	if at := t.attachment(e, st); at != nil {
		at.space.users++
		s.attacher.use(at)
		e.attached, e.space = at, at.space
		s.core.attach(e, at, at.newFrame(&e.kept, e.sport))
		if e.echo {
			e.setNeighbor(at.link, st.mac[:min(st.halen, uint8(len(st.mac)))])
		}
	}
	s.post(e)
	e.check = e.state != StateUp || e.echo || e.attached == nil
	s.attacher.kick()
	t.process.sharing.RestoreSession(e.key, e.kept)
	return nil
}

// attachment is what a session had; nil: nothing.
func (t *taking) attachment(e *entry, st *entryState) *attachment {
	sp := t.space(st.space, e.key.NetNS)
	if sp == nil {
		return nil
	}
	at := &attachment{space: sp, local: st.local, link: st.by, from: int32(st.from), self: st.self}
	if t.version == 1 {
		t.guess(at, e, st)
	} else if !st.attached {
		return nil
	} else {
		at.rx = sp.rx[st.rx]
	}
	if at.rx == nil {
		return nil
	}
	ipv6 := e.key.Peer.Is6()
	if at.tx = sp.tx[txKey{ipv6: ipv6}]; e.echo {
		at.tx = sp.echo[at.rx.rxKey]
	}
	if at.tx == nil {
		return nil
	}
	if !e.echo {
		at.quiet, _ = t.process.server.attacher.sender(sp, quietKey(ipv6, e.slot)) // else the attacher tries again
	}
	return at
}

// guess finds out what version 1 does not say.
func (t *taking) guess(at *attachment, e *entry, st *entryState) {
	at.self = true
	var on device
	if e.key.Interface != "" {
		var err error
		if on, err = at.space.ns.link(e.key.Interface); err != nil {
			return
		}
		at.link, at.from = on.index, int32(on.index)
	}
	at.self = e.key.Interface == "lo" || at.space.ns.isLocal(e.key.Peer)
	port := uint16(Port)
	switch {
	case e.echo:
		at.link, at.from = st.link, int32(st.link)
		at.rx = at.space.rx[rxKey{ipv6: e.key.Peer.Is6(), port: EchoPort, ifindex: st.link}]
		return
	case e.key.Multihop:
		port = MultihopPort
	}
	for _, local := range []rxKey{{local: st.local, ifindex: on.index}, {local: st.local, ifindex: on.vrf}, {ifindex: on.vrf}} {
		local.ipv6, local.port = e.key.Peer.Is6(), port
		if at.rx = at.space.rx[local]; at.rx != nil {
			return
		}
	}
}

// client notes what a client wants; it is expected to connect again.
func (t *taking) client(name string, c SessionConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	e := encoder{version: protocolVersion}
	e.config(&c)
	if err := t.process.sharing.Restore(name, c.Key, c, len(e.b), t.process.server.clock.time()); err != nil {
		t.process.cfg.Notice(fmt.Errorf("bfd: client %q: %w", name, err))
	}
	return nil
}

// steps is what follows when everything has come. It returns nil when the sessions are
// ours, and run.
func (t *taking) steps(ctx context.Context) error {
	e, why := bfdcore.TakerComplete, errProtocol
	for {
		if runs, err := t.step(e, why); runs || err != nil {
			return err
		}
		m, err := readFrame(t.stream)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e, why = bfdcore.TakerClosed, err; err == nil {
			e, why = takerAnswer(m)
		}
	}
}

// step does what follows from an event, of which why is the error. It reports whether the
// sessions are ours and run from now on.
func (t *taking) step(e bfdcore.TakerEvent, why error) (runs bool, err error) {
	switch t.taker.Step(e) {
	case bfdcore.TakerSayReady:
		return false, t.say(1)
	case bfdcore.TakerRun:
		return true, nil
	case bfdcore.TakerFail:
		return false, why
	}
	return false, nil
}

// say says ready, as 1, or that we run, as 2.
func (t *taking) say(id uint32) error {
	return (&conn{stream: t.stream, version: protocolVersion}).reply(id, nil)
}

// takerAnswer is what the predecessor says when it has sent everything.
func takerAnswer(m message) (bfdcore.TakerEvent, error) {
	if m.typ != frameReply {
		return bfdcore.TakerNo, errProtocol
	}
	if text := decode(protocolVersion, m.body).string(); text != "" {
		return bfdcore.TakerNo, replyError(text)
	}
	return bfdcore.TakerGo, errProtocol
}

// settle closes sockets that no session uses.
func (t *taking) settle() {
	a, h := t.process.server.attacher, t.process.server.host
	for _, sp := range t.spaces {
		for key, r := range sp.rx {
			if r.users == 0 {
				delete(sp.rx, key)
				delete(sp.echo, key)
				h.closeFD(r.fd)
			}
		}
		if sp.users == 0 {
			sp.descriptors(h.closeFD)
			sp.close()
			if a.spaces[sp.path] == sp {
				delete(a.spaces, sp.path)
			}
		}
	}
}

// replyError is the error of a reply.
func replyError(text string) error {
	for _, err := range []error{ErrNoSession, ErrClosed, errHandover, errVersion} {
		if text == err.Error() {
			return err
		}
	}
	return errors.New(text)
}
