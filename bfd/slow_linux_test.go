package bfd

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

// TestSlowClient: a client that never reads blocks nobody, costs one event a
// session, and is served again as soon as it reads. A malformed request ends its
// own connection only.
func TestSlowClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcess(ServeConfig{Config: Config{RealTime: RealTimeOff}, RestartTime: time.Minute}, systemHost{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.server.open(); err != nil {
		t.Fatal(err)
	}
	p.listener = unixListener{l}
	ctx := p.context(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.run(ctx, p.start(ctx)) }()
	dial := func(name string, version uint16) net.Conn {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		var e encoder
		e.begin(frameHello, 1)
		e.u32(protocolMagic)
		e.u16(version)
		e.string(name)
		_ = e.end()
		if _, err := c.Write(e.b); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answer := func(c net.Conn) string {
		t.Helper()
		m, err := readFrame(c)
		if err != nil || m.typ != frameReply {
			t.Fatal(m, err)
		}
		return decode(protocolVersion, m.body).string()
	}
	slow := dial("slow", protocolVersion)
	defer slow.Close()
	if text := answer(slow); text != "" {
		t.Fatal(text)
	}
	if m, err := readFrame(slow); err != nil || m.typ != frameSnapshot {
		t.Fatal(m, err)
	}
	const keys, flaps = 10, 20000
	for i := range flaps {
		k := Key{Peer: netip.AddrFrom4([4]byte{192, 0, 2, byte(i % keys)})}
		p.server.board.post(Event{Key: k, State: StateUp, Downs: uint64(i), Time: time.Unix(0, 1)}, nil)
	}
	p.server.board.mu.Lock()
	for w := range p.server.board.watchers {
		if len(w.todo) > keys {
			t.Errorf("%d sessions pending", len(w.todo))
		}
	}
	p.server.board.mu.Unlock()
	last := map[Key]uint64{}
	for len(last) < keys || sum64(last) != keys*(flaps-keys)+keys*(keys-1)/2 { // the latest event of each
		m, err := readFrame(slow)
		if err != nil {
			t.Fatal(err)
		}
		e := decode(protocolVersion, m.body).event()
		last[e.Key] = e.Downs
	}

	if text := answer(dial("slow", protocolVersion)); text == "" {
		t.Error("a second client of the same name was let in")
	}
	if text := answer(dial("new", protocolVersion+1)); text == "" {
		t.Error("an unknown version was let in")
	}
	bad := dial("bad", protocolVersion)
	answer(bad)
	var e encoder
	e.begin(frameAdd, 2)
	e.string("no config")
	_ = e.end()
	e.begin(99, 3)
	_ = e.end()
	if _, err := bad.Write(e.b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{errProtocol, errUnknown} {
		m, err := readFrame(bad)
		for err == nil && m.typ != frameReply {
			m, err = readFrame(bad)
		}
		if text := decode(protocolVersion, m.body).string(); err != nil || text != want.Error() {
			t.Errorf("%q %v, want %v", text, err, want)
		}
	}
	p.cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func sum64(m map[Key]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}
