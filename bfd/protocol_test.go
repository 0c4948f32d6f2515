package bfd

import (
	"bytes"
	"io"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func sampleConfig() SessionConfig {
	k := Key{Peer: netip.MustParseAddr("fe80::2"), Local: netip.MustParseAddr("fe80::1"), Interface: "eth0", NetNS: "/run/netns/x"}
	other := Key{Peer: netip.MustParseAddr("192.0.2.2"), Multihop: true}
	return SessionConfig{
		Key: k, DesiredMinTx: ms(50), RequiredMinRx: -1, Multiplier: 3, Passive: true, AdminDown: true, MinTTL: 250, Echo: true,
		Auth:     Auth{Type: AuthSHA1, Keys: []AuthKey{{1, "a"}, {2, "bc"}}},
		Failover: []NextHop{{ID: 0x48460001, IfIndex: 7, Gateway: netip.MustParseAddr("192.0.2.9"), Guards: []Key{other, k}}, {ID: 2, IfIndex: 8}},
	}
}

func sampleEvent() Event {
	return Event{
		Key: sampleConfig().Key, State: StateUp, Diag: 1, RemoteDiag: 2, Reason: ReasonExpired, RemoteC: true, Time: time.Unix(1, 2), Downs: 3, Removed: true, Err: "why",
		Failover: []FailoverResult{{ID: 5, Deleted: true, Took: 4}, {ID: 6, Err: "no"}},
	}
}

func sampleStatus() Status {
	return Status{
		Key: sampleConfig().Key, State: StateUp, RemoteState: StateInit, Diag: 1, RemoteDiag: 2, Reason: 3, RemoteC: true, Discr: 4, RemoteDiscr: 5,
		DesiredMinTx: 6, RequiredMinRx: 7, Multiplier: 8, RemoteMinTx: 9, RemoteMinRx: 10, RemoteMultiplier: 11, TxInterval: 12, DetectTime: 13,
		Since: time.Unix(14, 15), Downs: 16, Sent: 17, Received: 18, Refused: 19, Err: "why",
	}
}

// TestRoundTrip sends every kind of value through the protocol.
func TestRoundTrip(t *testing.T) {
	c, ev, st := sampleConfig(), sampleEvent(), sampleStatus()
	e := encoder{version: protocolVersion}
	e.config(&c)
	e.event(&ev)
	e.status(&st)
	d := decode(protocolVersion, e.b)
	for i, pair := range [][2]any{{d.config(), c}, {d.event(), ev}, {d.status(), st}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%d: got %+v\nwant %+v", i, pair[0], pair[1])
		}
	}
	if err := d.err(); err != nil {
		t.Error(err)
	}
}

func TestFrames(t *testing.T) {
	var e encoder
	e.begin(frameAdd, 77)
	e.string("body")
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	m, err := readFrame(bytes.NewReader(e.b))
	if err != nil || m.typ != frameAdd || m.id != 77 || decode(protocolVersion, m.body).string() != "body" {
		t.Errorf("%+v %v", m, err)
	}
	e.begin(frameAdd, 78)
	e.b = append(e.b, make([]byte, maxFrame)...)
	if e.end() == nil {
		t.Error("a frame too long was accepted")
	}
	for _, bad := range []string{"\x00\x00\x00\x04\x01\x00\x00\x00\x00", "\x00\x04\x00\x01\x01\x00\x00\x00\x00", "\xff\xff\xff\xff\x01\x00\x00\x00\x00"} {
		if _, err := readFrame(bytes.NewReader([]byte(bad))); err != errProtocol {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := readFrame(bytes.NewReader(e.b[:12])); err != io.ErrUnexpectedEOF {
		t.Error("cut short:", err)
	}
}

// FuzzDecode feeds bodies to every decoder: none may panic, and what decodes
// exactly encodes to the same octets.
func FuzzDecode(f *testing.F) {
	c, ev, st := sampleConfig(), sampleEvent(), sampleStatus()
	for i, enc := range []func(*encoder){func(e *encoder) { e.config(&c) }, func(e *encoder) { e.event(&ev) }, func(e *encoder) { e.status(&st) }} {
		e := encoder{version: protocolVersion}
		enc(&e)
		f.Add(uint8(i), e.b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		d, e := decode(protocolVersion, b), encoder{version: protocolVersion}
		switch kind % 3 {
		case 0:
			c := d.config()
			e.config(&c)
		case 1:
			v := d.event()
			e.event(&v)
		case 2:
			v := d.status()
			e.status(&v)
		}
		if d.err() == nil && len(e.b) > len(b) {
			t.Errorf("%x\nbecame %x", b, e.b)
		}
	})
}

func TestMerge(t *testing.T) {
	a := SessionConfig{DesiredMinTx: ms(100), RequiredMinRx: -1, Multiplier: 5, Passive: true, MinTTL: 3, Failover: []NextHop{{ID: 1}}}
	b := SessionConfig{DesiredMinTx: ms(200), RequiredMinRx: ms(50), Multiplier: 3, AdminDown: true, Failover: []NextHop{{ID: 2}}}
	want := SessionConfig{DesiredMinTx: ms(100), RequiredMinRx: ms(50), Multiplier: 3, MinTTL: 3, Failover: []NextHop{{ID: 1}, {ID: 2}}}
	if got, err := merge(a, b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	b.Auth = Auth{Type: AuthMD5, Keys: []AuthKey{{1, "x"}}}
	if _, err := merge(a, b); err == nil {
		t.Error("two authentications at once")
	}
}

// TestWatcher: a reader that sleeps gets the latest event of each session, and
// never misses a Down between two Ups.
func TestWatcher(t *testing.T) {
	var b board
	k := Key{Peer: netip.MustParseAddr("192.0.2.1")}
	b.post(Event{Key: k, State: StateDown}, nil)
	w := b.watch()
	next := func() Event {
		t.Helper()
		e := make([]Event, 1)
		if n, err := w.Next(t.Context(), e); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		return e[0]
	}
	if e := next(); e.State != StateDown || e.Downs != 0 {
		t.Errorf("%+v", e)
	}
	b.post(Event{Key: k, State: StateInit}, nil)
	b.post(Event{Key: k, State: StateUp}, nil)
	b.post(Event{Key: k, State: StateDown, Downs: 1, Reason: ReasonExpired}, nil)
	b.post(Event{Key: k, State: StateUp, Downs: 1}, nil)
	if e := next(); e.State != StateDown || e.Reason != ReasonExpired {
		t.Errorf("the Down was hidden: %+v", e)
	}
	if e := next(); e.State != StateUp {
		t.Errorf("%+v", e)
	}
	b.post(Event{Key: k, State: StateUp, Downs: 2}, &Event{Key: k, State: StateDown, Downs: 2, Reason: ReasonNeighborDown})
	if e := next(); e.Reason != ReasonNeighborDown {
		t.Errorf("the Down was hidden: %+v", e)
	}
	next()
	b.post(Event{Key: k, State: StateUp, Downs: 2, Failover: []FailoverResult{{ID: 1}}}, &Event{Key: k, State: StateDown, Downs: 2})
	if e := next(); e.State != StateUp || len(e.Failover) != 1 {
		t.Errorf("%+v", e)
	}
	b.post(Event{Key: k, Removed: true, Downs: 2}, nil)
	b.close()
	if e := next(); !e.Removed {
		t.Errorf("%+v", e)
	}
	if _, err := w.Next(t.Context(), make([]Event, 1)); err != ErrClosed {
		t.Error(err)
	}
	w.Close()
	if len(b.watchers) != 0 || len(b.events()) != 0 {
		t.Error("something is left over")
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
