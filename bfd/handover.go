package bfd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A planned restart of the BFD process: the successor, already running, asks its
// predecessor over the unix socket for everything. The predecessor stops its
// owner, sends state frames (sockets, sessions with their timers and sequence
// numbers, what clients want) with the descriptors alongside (SCM_RIGHTS), and
// waits for the successor's reply. Only when it has answered that in turn may the
// successor send packets; if it does not come to that in time, the predecessor
// goes on as if nothing had been. Packets that arrive meanwhile wait in the
// sockets, which both have open. Clients reconnect to the listener, which is
// handed over as well, and take over their sessions by key.

// handoverVersion is the version of the state frames' content.
const handoverVersion = 1

// handoverTimeout is how long the predecessor waits: less than the detection
// time of 100 ms x 5, with room for going on.
const handoverTimeout = 250 * time.Millisecond

// Parts of the state, the first octet of a state frame.
const (
	partSocket uint8 = iota + 1 // a socketID; its descriptor comes alongside
	partEntry                   // a session
	partHolder                  // a client and one session it wants
	partEnd
)

// fdsAtOnce is how many descriptors go with one frame; the kernel takes 253.
const fdsAtOnce = 100

// give hands everything over to the successor on c. On success the process ends.
func (p *process) give(c *conn, m message) error {
	d := decode(m.body)
	if d.Uint32() != protocolMagic || d.Uint16() != handoverVersion || d.err() != nil {
		return c.reply(m.id, errors.New("bfd: handover version not supported"))
	}
	p.reg.mu.Lock()
	defer p.reg.mu.Unlock()
	s := p.server
	s.mu.Lock()
	defer s.mu.Unlock()
	verdict := make(chan bool, 1)
	st := state{process: p}
	if err := s.do(func(o *owner) { o.flush(); st.sessions(); o.pause = verdict }); err != nil {
		return err
	}
	err := st.send(c)
	if err == nil {
		err = c.reply(m.id, nil) // go: our owner stands still either way
	}
	verdict <- err == nil
	if err != nil {
		p.cfg.Notice(fmt.Errorf("bfd: handover failed, going on: %w", err))
		return err
	}
	p.listener.SetUnlinkOnClose(false)
	p.cancel()
	return nil
}

// state is what is handed over, encoded.
type state struct {
	process *process
	e       encoder
	fds     []int // of sockets, in the order of their parts
}

func (st *state) part(kind uint8, f func(t transfer)) {
	st.e.begin(frameState, 0)
	st.e.u8(kind)
	f(transfer{out: &st.e})
	_ = st.e.end() // configs were in frames before
}

// sessions encodes the sessions; it runs on the owner's thread.
func (st *state) sessions() {
	for k, e := range st.process.server.entries {
		if e.removed || e.done.Load() {
			continue
		}
		st.part(partEntry, func(t transfer) {
			c := e.kept
			c.Key = k
			t.config(&c)
			t.addr(&e.local)
			t.u16(&e.sport)
			t.echo(e)
			t.session(&e.Session)
		})
	}
}

// sockets encodes what the descriptors are, and collects them.
func (st *state) sockets(listener int) {
	add := func(id socketID, fd int) {
		st.part(partSocket, func(t transfer) { t.socket(&id) })
		st.fds = append(st.fds, fd)
	}
	add(socketID{kind: 3}, listener)
	for ns, sp := range st.process.server.spaces {
		for i, tx := range sp.tx {
			if tx != nil {
				add(socketID{netns: ns, kind: uint8(i)}, tx.fd)
			}
		}
		for key, rx := range sp.rx {
			add(socketID{netns: ns, kind: 2, rx: key}, rx.fd)
		}
	}
}

// send sends the state, and returns nil once the successor has confirmed it.
func (st *state) send(c *conn) error {
	l, err := st.process.listener.File()
	if err != nil {
		return err
	}
	defer l.Close()
	sessions := st.e.b
	st.e.b = nil
	st.sockets(int(l.Fd()))
	sockets := st.e.b
	st.e.b = nil
	for name, h := range st.process.reg.holders {
		for _, cfg := range h.configs {
			st.part(partHolder, func(t transfer) { t.string(&name); t.config(&cfg) })
		}
	}
	st.part(partEnd, func(transfer) {})
	_ = c.SetDeadline(time.Now().Add(handoverTimeout))
	defer c.SetDeadline(time.Time{})
	if err := sendWithFDs(c.UnixConn, sockets, st.fds); err != nil {
		return err
	}
	for _, b := range [][]byte{sessions, st.e.b} {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	m, err := readFrame(c)
	if err == nil && m.typ != frameReply {
		err = errProtocol
	}
	return err
}

// sendWithFDs sends b with descriptors alongside its first octets, a portion with
// one octet each, since a stream keeps them apart only so.
func sendWithFDs(c *net.UnixConn, b []byte, fds []int) error {
	for len(fds) > 0 {
		n := min(len(fds), fdsAtOnce)
		if _, _, err := c.WriteMsgUnix(b[:1], unix.UnixRights(fds[:n]...), nil); err != nil {
			return err
		}
		b, fds = b[1:], fds[n:]
	}
	_, err := c.Write(b)
	return err
}

// fdReader reads a stream and collects the descriptors that come with it.
type fdReader struct {
	*net.UnixConn
	fds []int
}

// Read implements io.Reader.
func (r *fdReader) Read(b []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*fdsAtOnce))
	n, oobn, _, _, err := r.ReadMsgUnix(b, oob)
	if oobn > 0 {
		if list, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
			for i := range list {
				fds, _ := unix.ParseUnixRights(&list[i])
				r.fds = append(r.fds, fds...)
			}
		}
	}
	if n == 0 && err == nil {
		err = net.ErrClosed
	}
	return n, err
}

// Takeover replaces the running BFD process whose socket is at path, without any
// session going down, and then does what [Serve] does. If it returns an error
// before ctx ends, the old process goes on.
func Takeover(ctx context.Context, path string, cfg ServeConfig) error {
	p, err := newProcess(nil, cfg)
	if err != nil {
		return err
	}
	uc, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	if err := p.take(&fdReader{UnixConn: uc}); err != nil {
		uc.Close()
		return fmt.Errorf("bfd: takeover: %w", err)
	}
	uc.Close()
	return p.run(ctx)
}

// take asks for the state and builds everything from it.
func (p *process) take(r *fdReader) error {
	var e encoder
	e.begin(frameHandover, 1)
	e.u32(protocolMagic)
	e.u16(handoverVersion)
	_ = e.end()
	if _, err := r.Write(e.b); err != nil {
		return err
	}
	if err := p.parts(r); err != nil {
		return err
	}
	c := &conn{UnixConn: r.UnixConn}
	if err := c.reply(1, nil); err != nil { // ready ...
		return err
	}
	_, err := readFrame(r) // ... and go
	return err
}

// parts reads the state frames.
func (p *process) parts(r *fdReader) error {
	for sockets := 0; ; {
		m, err := readFrame(r)
		if err != nil {
			return err
		}
		d := decode(m.body)
		if m.typ == frameReply {
			return errors.New(d.string())
		}
		kind := d.Uint8()
		t := transfer{in: d}
		switch {
		case m.typ != frameState:
			err = errProtocol
		case kind == partSocket && sockets < len(r.fds):
			var id socketID
			t.socket(&id)
			err = p.socket(id, r.fds[sockets])
			sockets++
		case kind == partEntry:
			err = p.entry(t)
		case kind == partHolder:
			p.holder(t)
		case kind == partEnd && p.listener != nil:
			return nil
		default:
			err = errProtocol
		}
		if err = cmp.Or(err, d.err()); err != nil {
			return err
		}
	}
}

// socket takes a descriptor into use.
func (p *process) socket(id socketID, fd int) error {
	if id.kind == 3 {
		f := os.NewFile(uintptr(fd), "listener")
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		ul, ok := l.(*net.UnixListener)
		if !ok {
			return errProtocol
		}
		ul.SetUnlinkOnClose(true)
		p.listener = ul
		return nil
	}
	s := p.server
	sp := s.spaces[id.netns]
	if sp == nil {
		sp = &space{netns: id.netns, rx: map[rxKey]*rxSocket{}}
		s.spaces[id.netns] = sp
	}
	if id.kind < 2 {
		sp.tx[id.kind] = newSender(fd, id.kind == 1)
		s.owner.sender(sp.tx[id.kind])
		return nil
	}
	rx := &rxSocket{fd: fd, space: sp, rxKey: id.rx}
	if id.rx.port == EchoPort {
		rx = sp.addEcho(id.rx, fd)
		s.owner.sender(sp.echo[id.rx])
	}
	sp.rx[id.rx] = rx
	s.owner.sockets[int32(fd)] = rx
	return s.owner.poll(fd)
}

// entry builds a session as it was.
func (p *process) entry(t transfer) error {
	s := p.server
	e := &entry{place: -1}
	t.config(&e.kept)
	t.addr(&e.local)
	t.u16(&e.sport)
	t.echo(e)
	t.session(&e.Session)
	if err := e.kept.check(); err != nil {
		return err
	}
	if e.auth != nil {
		e.auth.Auth = e.kept.Auth
	}
	e.key, e.minTTL = e.kept.Key, e.kept.MinTTL
	e.space = s.spaces[e.key.NetNS]
	if e.space == nil || e.socket() == nil {
		return errProtocol
	}
	e.tx = e.socket()
	e.space.users++
	e.slot, e.failed = s.freeSlot(), e.downs
	s.slots[e.slot], s.entries[e.key] = e, e
	s.ports = max(s.ports, uint32(e.sport)-49152)
	neighbor := e.toLink
	e.build()
	if e.echo {
		e.setNeighbor(e.echoLink, neighbor.Addr[:neighbor.Halen])
	}
	e.cell.write(e.fact())
	s.post(e)
	s.owner.insert(e)
	p.reg.active[e.key] = e.kept
	return nil
}

// holder notes what a client wants; it is expected to connect again.
func (p *process) holder(t transfer) {
	var name string
	var cfg SessionConfig
	t.string(&name)
	t.config(&cfg)
	h := p.reg.holders[name]
	if h == nil {
		h = &holder{since: time.Now(), configs: map[Key]SessionConfig{}}
		p.reg.holders[name] = h
	}
	h.configs[cfg.Key] = cfg
}

// socket finds the sending socket of an entry that was handed over.
func (e *entry) socket() *txSocket {
	if e.echo {
		return e.space.echo[rxKey{ipv6: e.key.Peer.Is6(), port: EchoPort, ifindex: e.echoLink}]
	}
	return e.space.tx[index(e.key.Peer.Is6())]
}
