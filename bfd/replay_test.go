package bfd

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorded reads frames of version 1, see TestRecord.
func recorded(t *testing.T, name string) (frames [][]byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/v1/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		_, octets, _ := strings.Cut(strings.TrimSpace(line), " ")
		f, err := hex.DecodeString(octets)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	return frames
}

// read1 reads a frame.
func read1(t *testing.T, s stream) (message, *decoder) {
	t.Helper()
	m, err := readFrame(s)
	if err != nil {
		t.Fatal(err)
	}
	return m, decode(1, m.body)
}

// sample is the state of every socket and session of the recording: what the process of
// version 1 had. The namespace is made for it.
type sample struct {
	path    string
	sockets []socketID
	entries []entryState
	clients map[string][]SessionConfig
	last    time.Duration // the latest time in it
}

func readSample(t *testing.T, frames [][]byte) (s sample) {
	t.Helper()
	s.clients = map[string][]SessionConfig{}
	for _, f := range frames {
		m, err := readFrame(bytes.NewReader(f))
		if err != nil || m.typ != frameState {
			continue
		}
		d := decode(1, m.body)
		tr := transfer{version: 1, in: d}
		switch d.Uint8() {
		case partSocket:
			var id socketID
			tr.socket(&id)
			s.sockets = append(s.sockets, id)
			if id.netns != "" {
				s.path = id.netns
			}
		case partEntry:
			e := entryState{session: &Session{}}
			tr.entry(&e)
			s.entries = append(s.entries, e)
			s.last = max(s.last, e.session.lastRx, e.session.lastTx)
		case partClient:
			var name string
			var c SessionConfig
			tr.client(&name, &c)
			s.clients[name] = append(s.clients[name], c)
		}
		if err := d.err(); err != nil {
			t.Fatalf("%x: %v", f, err)
		}
	}
	return s
}

// network makes the namespace of the recording, with a remote system that is deaf.
func (s *sample) network(w *world) *fakeNS {
	n := w.net
	n.mu.Lock()
	a, b := n.namespace("a"), n.namespace("b")
	n.paths[s.path] = a
	n.mu.Unlock()
	n.cable(a, b, "v0")
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range s.sockets {
		if id.rx.ifindex != 0 {
			a.links["v0"].index = id.rx.ifindex
		}
	}
	for _, e := range s.entries {
		a.links["v0"].addrs = append(a.links["v0"].addrs, e.local)
		b.links["v0"].addrs = append(b.links["v0"].addrs, e.kept.Peer)
	}
	return a
}

// TestReplayClient: a client of version 1 says what it said then, and hears what it
// understands: every request has its reply, the same one.
func TestReplayClient(t *testing.T) {
	replies := map[uint32]string{}
	for _, f := range recorded(t, "server") {
		if m, _ := readFrame(bytes.NewReader(f)); m.typ == frameReply {
			replies[m.id] = decode(1, m.body).string()
		}
	}
	state := readSample(t, recorded(t, "predecessor"))
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		defer w.over()
		state.network(w)
		w.start("p", false, nil)
		synctest.Wait()
		other := w.net.process("other", 1)
		add := func(name string) stream { // as the second client of the recording did
			s, err := other.dial(t.Context(), socketPath)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := add("daemon")
		events, statuses, snapshots := 0, 0, 0
		for _, f := range recorded(t, "client") {
			sent, _ := readFrame(bytes.NewReader(f))
			if _, err := s.Write(f); err != nil {
				t.Fatal(err)
			}
			for answered := false; !answered; {
				m, d := read1(t, s)
				switch m.typ {
				case frameEvent:
					d.event()
					events++
				case frameStatus:
					d.status()
					statuses++
				case frameSnapshot:
					snapshots++
				case frameReply:
					answered = true
					if got := d.string(); m.id != sent.id || (got == "") != (replies[sent.id] == "") && sent.id != conflict {
						t.Errorf("request %d, type %d: %q, was %q", sent.id, sent.typ, got, replies[sent.id])
					}
				default:
					t.Errorf("a frame of type %d", m.typ)
				}
				if err := d.err(); err != nil {
					t.Errorf("frame of type %d: %v", m.typ, err)
				}
			}
		}
		// What version 1 does not know is refused, and the connection goes on.
		for i, typ := range []frameType{9, 127, 200, frameHandover} {
			e := encoder{version: 1}
			e.begin(typ, uint32(1000+i))
			e.string("of a later version")
			_ = e.end()
			if _, err := s.Write(e.b); err != nil {
				t.Fatal(err)
			}
			for {
				m, d := read1(t, s)
				if m.typ != frameReply {
					continue
				}
				if text := d.string(); m.id != uint32(1000+i) || text != errUnknown.Error() {
					t.Errorf("frame of type %d: reply %d %q", typ, m.id, text)
				}
				break
			}
		}
		if events < len(state.entries)-1 || statuses < 10 || snapshots != 1 {
			t.Errorf("%d events, %d statuses, %d snapshots", events, statuses, snapshots)
		}
		s.Close()
	})
}

// conflict is the request of the recording that another client's wish stood against; that
// client is not in it.
const conflict = 19

// TestReplayServer: a process of version 1, which refuses version 2, says what it said then,
// and a client understands it.
func TestReplayServer(t *testing.T) {
	for _, closes := range []bool{false, true} { // a refused hello ends the connection
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			defer w.over()
			old := &oldServer{closes: closes, events: map[Key]Event{}}
			for _, f := range recorded(t, "server") {
				m, _ := readFrame(bytes.NewReader(f))
				switch d := decode(1, m.body); m.typ {
				case frameEvent:
					e := d.event()
					old.events[e.Key] = e
					old.says = append(old.says, f)
				case frameSnapshot:
					old.says = append(old.says, f)
				case frameStatus:
					old.list = append(old.list, m.body)
				}
			}
			p := w.net.process("old", 1)
			l, err := p.listen(socketPath)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan bool)
			go func() { old.serve(l); close(ended) }()
			if err := w.client("daemon"); err != nil {
				t.Fatal(err)
			}
			c := w.clients["daemon"]
			k := Key{Peer: netip.MustParseAddr("192.0.2.1")}
			if err := c.Add(SessionConfig{Key: k, DesiredMinTx: ms(100), RequiredMinRx: ms(100), Multiplier: 3}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if len(old.added) != 1 || old.added[0] != k {
				t.Errorf("the process was asked for %v", old.added)
			}
			if list, err := c.Sessions(); err != nil || len(list) != len(old.list) {
				t.Errorf("%d sessions of %d: %v", len(list), len(old.list), err)
			}
			w.mu.Lock()
			for k, e := range old.events {
				if got, ok := c.states[k]; ok != !e.Removed || ok && (got.State != e.State || got.Downs != e.Downs) {
					t.Errorf("%v, said was %v", brief(got), brief(e))
				}
			}
			w.mu.Unlock()
			l.close(false)
			p.kill()
			<-ended
		})
	}
}

// oldServer is a BFD process of version 1.
type oldServer struct {
	closes bool
	says   [][]byte
	list   [][]byte
	events map[Key]Event
	added  []Key
}

func (o *oldServer) serve(l listener) {
	for {
		s, err := l.Accept()
		if err != nil {
			return
		}
		o.client(s)
	}
}

func (o *oldServer) client(s stream) {
	defer s.Close()
	reply := func(id uint32, text string) {
		var e encoder
		e.begin(frameReply, id)
		e.string(text)
		_ = e.end()
		_, _ = s.Write(e.b)
	}
	for {
		m, err := readFrame(s)
		if err != nil {
			return
		}
		d := decode(1, m.body)
		switch m.typ {
		case frameHello:
			d.Uint32()
			if d.Uint16() != 1 {
				reply(m.id, errVersion.Error())
				if o.closes {
					return
				}
				continue
			}
			reply(m.id, "")
			for _, f := range o.says {
				_, _ = s.Write(f)
			}
			continue
		case frameAdd:
			o.added = append(o.added, d.config().Key)
		case frameList:
			var e encoder
			for _, body := range o.list {
				e.begin(frameStatus, m.id)
				e.b = append(e.b, body...)
				_ = e.end()
			}
			_, _ = s.Write(e.b)
		}
		reply(m.id, "")
	}
}

// TestReplaySuccessor: a successor of version 1 gets everything from a process of ours, in
// frames that it understands.
func TestReplaySuccessor(t *testing.T) {
	state := readSample(t, recorded(t, "predecessor"))
	frames := recorded(t, "successor")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		defer w.over()
		state.network(w)
		w.start("p", false, nil)
		synctest.Wait()
		if err := w.client("daemon"); err != nil {
			t.Fatal(err)
		}
		for _, c := range state.clients["daemon"] {
			if err := w.clients["daemon"].Add(c); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		s, err := w.net.process("successor", 1).dial(t.Context(), socketPath)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.takeFDs()
		_, _ = s.Write(frames[0])
		var heard [][]byte
		for {
			m, _ := read1(t, s)
			if m.typ != frameState {
				t.Fatalf("%+v", m)
			}
			var e encoder
			e.begin(m.typ, m.id)
			e.b = append(e.b, m.body...)
			_ = e.end()
			if heard = append(heard, e.b); m.body[0] == partEnd {
				break
			}
		}
		got := readSample(t, heard)
		if len(got.entries) != len(state.entries) || len(got.clients["daemon"]) != len(state.clients["daemon"]) {
			t.Errorf("%d sessions and %d wishes, were %d and %d", len(got.entries), len(got.clients["daemon"]), len(state.entries), len(state.clients["daemon"]))
		}
		if fds := s.takeFDs(); len(fds) != len(got.sockets) || len(fds) != len(state.sockets) {
			t.Errorf("%d descriptors for %d sockets, were %d", len(fds), len(got.sockets), len(state.sockets))
		}
		_, _ = s.Write(frames[1])
		if m, d := read1(t, s); m.typ != frameReply || d.string() != "" {
			t.Errorf("%+v", m)
		}
		if err := <-w.procs["p"].done; err != nil {
			t.Error(err)
		}
	})
}

// TestReplayPredecessor: a process of version 1, which refuses version 2, hands over what it
// handed over then; sessions go on as they were.
func TestReplayPredecessor(t *testing.T) {
	frames := recorded(t, "predecessor")
	state := readSample(t, frames)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		defer w.over()
		w.net.mono = state.last
		ns := state.network(w)
		old := w.net.process("old", 1)
		l, err := old.listen(socketPath)
		if err != nil {
			t.Fatal(err)
		}
		fds := make([]int, 0, len(state.sockets))
		for _, id := range state.sockets {
			if id.kind == 3 {
				fds = append(fds, l.(*fakeAcceptor).fd)
				continue
			}
			ns.net.mu.Lock()
			s := &fakeSocket{ns: ns, to: id.rx, sender: id.kind < 2, polled: map[*fakePoller]bool{}}
			ns.sockets[s] = true
			fd, err := old.install(s)
			ns.net.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
		gave := make(chan error, 1)
		go func() { gave <- oldGiver(l, frames, fds) }()
		w.start("p", true, nil)
		if err := <-gave; err != nil {
			t.Fatal(err)
		}
		old.kill()
		synctest.Wait()
		if err := w.client("daemon"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		list, err := w.clients["daemon"].Sessions()
		if err != nil || len(list) != len(state.entries) {
			t.Fatalf("%d sessions of %d: %v", len(list), len(state.entries), err)
		}
		for _, e := range state.entries {
			i := 0
			for list[i].Key != e.kept.Key {
				i++
			}
			if s := list[i]; s.State != e.session.state || s.Discr != e.session.discr || s.Downs != e.session.downs || s.Err != "" {
				t.Errorf("%+v, was %v", s, e.session.state)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if text := strings.Join(w.out, "\n"); !strings.Contains(text, "p is ready") || strings.Contains(text, "notices") {
			t.Error(text)
		}
	})
}

// oldGiver is the giving side of a process of version 1.
func oldGiver(l listener, frames [][]byte, fds []int) error {
	for {
		s, err := l.Accept()
		if err != nil {
			return err
		}
		m, err := readFrame(s)
		d := decode(1, m.body)
		d.Uint32()
		if err != nil || m.typ != frameHandover {
			return fmt.Errorf("%+v %v", m, err)
		}
		if d.Uint16() != 1 {
			_ = (&conn{stream: s}).reply(m.id, errHandover)
			s.Close()
			continue
		}
		if err := s.sendFDs(frames[0], fds); err != nil {
			return err
		}
		for _, f := range frames[1 : len(frames)-1] {
			if _, err := s.Write(f); err != nil {
				return err
			}
		}
		if m, err := readFrame(s); err != nil || m.typ != frameReply {
			return fmt.Errorf("%+v %v", m, err)
		}
		_, err = s.Write(frames[len(frames)-1])
		s.Close()
		return err
	}
}
