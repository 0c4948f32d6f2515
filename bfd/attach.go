package bfd

import (
	"fmt"
	"time"
)

// attacher gives each session what it needs of the host: a network namespace, an
// interface, an address, sockets. Interfaces and namespaces come and go, ports are taken
// and descriptors run out; so a session that is not Up is looked at again and again, and
// is attached to what its key names at the moment. A session that is Up is left alone,
// unless the kernel refuses its packets or it was added again. The attacher is a goroutine
// of Run, as all this may have to wait for the kernel.
type attacher struct {
	server *Server       // whose sessions they are
	wake   chan struct{} // there are sessions to look at

	mu     lock                     // held while sockets come and go, and by who hands them over
	spaces map[string]*netnsSockets // the latest at each path
}

// How soon a session that is not Up is looked at again: at first, and at last. An echo
// session's next hop may change its link-layer address at any time.
const (
	lookFirst = 250 * time.Millisecond
	lookLast  = 2 * time.Second
	lookEcho  = 500 * time.Millisecond
)

// Packets that found a send buffer full are reported together: those of so long, and not again for a while.
const (
	reportGather = 5 * time.Second
	reportPause  = time.Minute
)

func newAttacher(s *Server) *attacher {
	return &attacher{mu: newLock(), server: s, wake: make(chan struct{}, 1), spaces: map[string]*netnsSockets{}}
}

func (a *attacher) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// woken takes the token of kick, and reports whether there was one. Nobody else takes it.
func (a *attacher) woken() bool {
	if len(a.wake) == 0 {
		return false
	}
	<-a.wake
	return true
}

// run attaches sessions until the server ends.
func (a *attacher) run() {
	failing := a.server.core.failing
	full, report, reported := a.server.owner.full, (<-chan time.Time)(nil), time.Time{}
	for {
		if a.server.independent {
			a.server.owner.poller.quiet()
		}
		next := a.pass(a.server.clock.time())
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(next.Sub(a.server.clock.time()))
		}
		select {
		case <-timer:
		case <-a.wake:
		case <-failing.ready:
			a.server.recheck(failing)
		case <-full:
			full, report = nil, time.After(max(reportGather, reportPause-a.server.clock.time().Sub(reported)))
		case <-report:
			full, report, reported = a.server.owner.full, nil, a.server.clock.time()
			if n := a.server.owner.unsent.Swap(0); n > 0 {
				a.server.cfg.Notice(fmt.Errorf("bfd: %d packets not sent: the send buffer is full of packets for neighbours that do not resolve; CAP_NET_ADMIN or a larger net.core.wmem_max gives it more room", n))
			}
		case <-a.server.owner.ended:
			return
		}
	}
}

// pass looks at every session whose time has come, and returns when the next one's comes;
// zero: never.
func (a *attacher) pass(now time.Time) (next time.Time) {
	for _, l := range a.server.toLookAt(now) {
		a.mu.Lock()
		a.look(l)
		a.mu.Unlock()
	}
	return a.server.nextLook()
}

// toLook is a session to look at, as it was when the pass began.
type toLook struct {
	*entry
	config SessionConfig // as last added
	state  State         // as last posted
	again  bool          // it was added again
	gone   bool          // it is no more
}

// look brings one session's attachment up to date. What a session has it keeps until
// there is something better, or its namespace is another one.
func (a *attacher) look(l toLook) {
	e := l.entry
	if l.gone {
		a.release(e)
		return
	}
	want, err := a.find(&l)
	switch {
	case err != nil && a.elsewhere(&l):
		discr := a.server.newDiscr()
		a.release(e)
		_ = a.server.do(func(c *core) { c.renumber(e, discr) }) // ErrClosed: then it does not matter
	case err != nil:
	case want.same(e.attached):
		a.unuse(want)
	default:
		a.replace(e, &l.config, want)
	}
	if l.config.Echo && e.attached != nil {
		a.resolve(e)
	}
	a.server.looked(e, err)
}

// elsewhere reports whether the path of a session's namespace leads to another one by
// now, and the session is to follow it: one that is Up stays unless it was added again.
func (a *attacher) elsewhere(l *toLook) bool {
	if l.attached == nil || l.state == StateUp && !l.again {
		return false
	}
	same, exists := l.attached.space.ns.at(l.config.NetNS)
	return exists && !same
}

// find opens everything that a session needs. What it returns is in use once more.
func (a *attacher) find(l *toLook) (*attachment, error) {
	sp, err := a.space(l)
	if err != nil {
		return nil, err
	}
	at := &attachment{space: sp, local: l.config.Local}
	sp.users++
	if err = a.fill(at, &l.config, l.slot); err != nil {
		a.leave(sp)
		return nil, err
	}
	return at, nil
}

// space returns the namespace of a session: the one that its path leads to, or the one
// that it is in if the path leads nowhere.
func (a *attacher) space(l *toLook) (*netnsSockets, error) {
	path := l.config.NetNS
	if l.attached != nil && !a.elsewhere(l) {
		return l.attached.space, nil
	}
	if sp := a.spaces[path]; sp != nil {
		if same, _ := sp.ns.at(path); same {
			return sp, nil
		}
	}
	ns, err := a.server.host.namespace(path)
	if err != nil {
		return nil, err
	}
	sp := newNetNSSockets(path, ns)
	a.spaces[path] = sp
	return sp, nil
}

// fill finds the interface, the address and the sockets of a session in its namespace.
func (a *attacher) fill(at *attachment, c *SessionConfig, slot int) (err error) {
	sp := at.space
	var on device
	if c.Interface != "" {
		if on, err = sp.ns.link(c.Interface); err != nil {
			return err
		}
		at.link = on.index
		if !on.isVRF { // which receives from any of its interfaces
			at.from = int32(on.index)
		}
	}
	if !at.local.IsValid() {
		if at.local, err = sp.ns.source(c.Key); err != nil {
			return fmt.Errorf("no local address towards %v: %w", c.Peer, err)
		}
	}
	key := rxKey{ipv6: c.Peer.Is6(), port: Port, ifindex: on.vrf}
	switch {
	case c.Echo:
		key.port, key.ifindex = EchoPort, on.index
	case c.Multihop:
		key.port = MultihopPort
	}
	if a.server.cfg.Coexist && !c.Echo {
		key.local = at.local
		if at.local.IsLinkLocalUnicast() && key.ipv6 {
			key.ifindex = on.index
		}
	}
	if err := a.open(at, key, slot); err != nil {
		return err
	}
	at.self = c.Interface == "lo" || sp.ns.isLocal(c.Peer)
	a.use(at)
	return nil
}

// open makes the sockets of an attachment, of the session in a slot, unless they are there.
func (a *attacher) open(at *attachment, key rxKey, slot int) (err error) {
	sp := at.space
	var fd int
	if at.rx = sp.rx[key]; at.rx == nil {
		if key.port == EchoPort {
			fd, err = sp.ns.echo(key.ipv6, key.ifindex)
		} else {
			fd, err = sp.ns.receiver(key)
		}
		if err != nil {
			return err
		}
		at.rx = sp.addReceiver(key, fd)
		if err = a.watch(fd); err != nil {
			a.close(at.rx)
			return err
		}
	}
	if at.tx = sp.echo[key]; at.tx != nil {
		return nil
	}
	if at.tx, err = a.sender(sp, txKey{ipv6: key.ipv6}); err == nil {
		at.quiet, err = a.sender(sp, quietKey(key.ipv6, slot))
	}
	if err != nil {
		a.tidy(at.rx)
	}
	return err
}

// sender returns a raw socket, which it opens unless it is there.
func (a *attacher) sender(sp *netnsSockets, key txKey) (*txSocket, error) {
	if t := sp.tx[key]; t != nil {
		return t, nil
	}
	fd, lacks, err := sp.ns.sender(key.ipv6)
	if err != nil {
		return nil, err
	}
	if lacks != nil && key.quiet == 0 { // else it has been said
		a.server.cfg.Notice(fmt.Errorf("bfd: packets without priority: %w", lacks))
	}
	return sp.addSender(key, fd), nil
}

// watch has the owner's poller report the descriptor.
func (a *attacher) watch(fd int) (err error) {
	if e := a.server.do(func(c *core) { err = c.shell.watch(fd) }); e != nil {
		return e
	}
	return err
}

// use counts an attachment in.
func (a *attacher) use(at *attachment) {
	at.rx.users++
	if at.quiet != nil {
		at.quiet.users++
	}
	if at.self {
		at.rx.self++
	}
	a.filter(at.rx)
}

// unuse is the end of an attachment: what no session uses any more is closed.
func (a *attacher) unuse(at *attachment) {
	at.rx.users--
	if at.self {
		at.rx.self--
		a.filter(at.rx)
	}
	a.tidy(at.rx)
	if q := at.quiet; q != nil {
		if q.users--; q.users == 0 {
			delete(at.space.tx, q.key)
			a.closeFD(q.fd)
		}
	}
	a.leave(at.space)
}

// filter has a socket refuse packets of this host unless a session wants them: the kernel
// reports the interface of such a packet as its sender likes. Echo packets come from
// outside by their nature.
func (a *attacher) filter(r *rxSocket) {
	if r.port == EchoPort || r.open == (r.self > 0) {
		return
	}
	r.open = r.self > 0
	if err := r.space.ns.fromSelf(r.fd, r.open); err != nil {
		a.server.cfg.Notice(fmt.Errorf("bfd: programs on this host can end sessions: %w", err))
	}
}

// tidy closes a receiver without users.
func (a *attacher) tidy(r *rxSocket) {
	if r.users == 0 {
		a.close(r)
	}
}

func (a *attacher) close(r *rxSocket) {
	delete(r.space.rx, r.rxKey)
	delete(r.space.echo, r.rxKey)
	a.closeFD(r.fd)
}

// closeFD closes a socket after the owner has forgotten it.
func (a *attacher) closeFD(fd int) {
	_ = a.server.do(func(c *core) { c.shell.drop(fd) }) // ErrClosed: there is no owner any more
	a.server.host.closeFD(fd)
}

// leave is the end of one use of a namespace.
func (a *attacher) leave(sp *netnsSockets) {
	if sp.users--; sp.users > 0 {
		return
	}
	for _, t := range sp.tx {
		a.closeFD(t.fd)
	}
	clear(sp.tx)
	sp.close()
	if a.spaces[sp.path] == sp {
		delete(a.spaces, sp.path)
	}
}

// replace sets another attachment of a session.
func (a *attacher) replace(e *entry, c *SessionConfig, want *attachment) {
	old, s := e.attached, a.server
	moved := old != nil && old.space != want.space
	f, discr := want.newFrame(c, e.sport), uint32(0)
	if moved {
		discr = s.newDiscr()
	}
	s.attach(e, want)
	_ = s.do(func(c *core) { // ErrClosed: then it does not matter
		if e.done.Load() {
			return
		}
		c.attach(e, want, f)
		if moved {
			c.renumber(e, discr)
		}
		c.effects(e, e.soon(c.now))
		c.requeue(e)
	})
	e.attached = want
	if old != nil {
		a.unuse(old)
	}
}

// release takes away what a session has.
func (a *attacher) release(e *entry) {
	if e.attached == nil {
		return
	}
	a.server.attach(e, nil)
	_ = a.server.do(func(c *core) { c.detach(e) })
	a.unuse(e.attached)
	e.attached = nil
}

// resolve sets the link-layer address of an echo session's next hop, and asks the kernel to
// find out what it does not know.
func (a *attacher) resolve(e *entry) {
	at, key := e.attached, e.key
	mac := at.space.ns.neighbor(at.link, key.Peer)
	if len(mac) == 0 || e.cell.read().state != StateUp {
		at.space.ns.poke(key)
	}
	if len(mac) == 0 {
		return
	}
	_ = a.server.do(func(c *core) { // ErrClosed: then it does not matter
		if e.tx == nil || string(e.toLink.addr[:e.toLink.halen]) == string(mac) {
			return
		}
		e.setNeighbor(at.link, mac)
		c.effects(e, e.soon(c.now))
		c.requeue(e)
	})
}

// finish closes everything; the owner has ended.
func (a *attacher) finish(entries []*entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	spaces := map[*netnsSockets]bool{}
	for _, sp := range a.spaces {
		spaces[sp] = true
	}
	for _, e := range entries {
		if e != nil && e.attached != nil {
			spaces[e.attached.space] = true
		}
	}
	for sp := range spaces {
		sp.descriptors(a.server.host.closeFD)
		sp.close()
	}
	clear(a.spaces)
}
