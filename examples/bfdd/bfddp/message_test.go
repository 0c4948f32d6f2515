package bfddp

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

const captured = "testdata/frr-8.4.txt"

// TestCaptured: what bfdd sends is understood, and what was understood is encoded as bfdd
// does.
func TestCaptured(t *testing.T) {
	seen := map[string]Message{}
	for _, p := range captures.Read(t, captured) {
		m, n, err := Parse(p.Data)
		if err != nil || n != len(p.Data) || m.Type.String() != p.Name {
			t.Fatalf("%s: %+v of %d octets, %v", p.Name, m, n, err)
		}
		again, err := m.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, p.Data) {
			t.Errorf("%s:\n%x\n%x (%v)", p.Name, p.Data, again, err)
		}
		if name := p.Name + " " + m.Session.Peer.String(); seen[name].Version == 0 {
			seen[name] = m // the first: later ones are changes
		}
	}
	// As configured in bfdd: see testdata/bfdd.conf.
	for name, want := range map[string]Session{
		"add 10.9.0.2": {Local: netip.MustParseAddr("10.9.0.1"), MinTx: 100000, MinRx: 100000, Multiplier: 5, TTL: 255},
		"add fd09::2":  {Flags: FlagIPv6 | FlagMultihop, Local: netip.MustParseAddr("fd09::1"), MinTx: 300000, MinRx: 200000, Multiplier: 3, TTL: 250},
		"add 10.9.0.3": {Flags: FlagShutdown, Local: netip.MustParseAddr("10.9.0.1"), MinTx: 300000, MinRx: 300000, Multiplier: 3, TTL: 255},
		"add 10.9.0.4": {Flags: FlagPassive | FlagEcho, MinTx: 300000, MinRx: 300000, Multiplier: 3, TTL: 255},
	} {
		m, ok := seen[name]
		got := m.Session
		want.Peer, want.LID, want.MinEchoTx, want.MinEchoRx = got.Peer, got.LID, got.MinEchoTx, got.MinEchoRx
		want.IfIndex, want.Interface = got.IfIndex, got.Interface
		if !ok || got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// all is a message of each type.
var all = []Message{
	{Version: 1, Type: TypeEchoRequest, ID: 3, Echo: Echo{1, 2}},
	{Version: 1, Type: TypeEchoReply, Echo: Echo{1 << 40, 2}},
	{Version: 1, Type: TypeAdd, Session: Session{Flags: FlagIPv6, Local: netip.MustParseAddr("fe80::1"), Peer: netip.MustParseAddr("fe80::2"), LID: 1, MinTx: 2, MinRx: 3,
		MinEchoTx: 4, MinEchoRx: 5, HoldTime: 6, TTL: 7, Multiplier: 8, IfIndex: 9, Interface: strings.Repeat("x", 63)}},
	{Version: 2, Type: TypeDelete, Session: Session{Peer: netip.MustParseAddr("10.0.0.1"), Mode: 2, Encapsulation: 1}},
	{Version: 1, Type: TypeState, State: State{1, 2, RemoteC | RemoteDemand, 4, 5, 6, 3, 8, 9}},
	{Version: 1, Type: TypeCounterRequest, ID: 9, LID: 77},
	{Version: 1, Type: TypeCounters, ID: 9, Counters: Counters{1, 2, 3, 4, 5, 6, 7, 8, 9}},
	{Version: 2, Type: 99, ID: 1},
}

// TestRoundTrip: the lengths are those of the C structs, every message comes back, and none is
// taken before it is complete.
func TestRoundTrip(t *testing.T) {
	for i, length := range []int{24, 24, 140, 356, 36, 12, 80, 8} {
		b, err := all[i].AppendBinary([]byte("x"))
		if err != nil || len(b) != length+1 {
			t.Fatalf("%v: %d octets, want %d (%v)", all[i].Type, len(b)-1, length, err)
		}
		for n := range length {
			if _, used, err := Parse(b[1 : n+1]); used != 0 || err != nil {
				t.Errorf("%v: %d octets are %d, %v", all[i].Type, n, used, err)
			}
		}
		m, n, err := Parse(append(b[1:], "next"...))
		if err != nil || n != length || !reflect.DeepEqual(m, all[i]) {
			t.Errorf("%+v\n%+v, %d, %v", m, all[i], n, err)
		}
	}
}

// TestRefused: a stream that cannot be followed any further is an error.
func TestRefused(t *testing.T) {
	for text, want := range map[string]error{
		"\x00\x00\x00\x02\x00\x00\x00\x8c": ErrVersion,
		"\x03\x00\x00\x02\x00\x00\x00\x8c": ErrVersion,
		"\x01\x00\x00\x02\x00\x00\x00\x8b": ErrLength, // an octet short
		"\x02\x00\x00\x02\x00\x00\x00\x8c": ErrLength, // of version 1 under version 2
		"\x01\x00\x00\x63\x00\x00\x00\x07": ErrLength,
		"\x01\x00\x00\x63\x00\x00\xff\xff": ErrLength,
	} {
		if _, n, err := Parse([]byte(text)); !errors.Is(err, want) || n != 0 {
			t.Errorf("%x: %d, %v, want %v", text, n, err, want)
		}
	}
	for _, m := range []Message{
		{Version: 3},
		{Version: 1, Type: TypeAdd, Session: Session{Peer: netip.MustParseAddr("fd00::1")}},
		{Version: 1, Type: TypeAdd, Session: Session{Interface: strings.Repeat("x", 64)}},
	} {
		if b, err := m.AppendBinary([]byte("kept")); err == nil || string(b) != "kept" {
			t.Errorf("%+v: %x, %v", m, b, err)
		}
	}
}

// FuzzParse: nothing in a stream does harm, and what was parsed is encoded and parsed the
// same.
func FuzzParse(f *testing.F) {
	for _, p := range captures.Read(f, captured) {
		f.Add(p.Data)
	}
	for i := range all {
		b, _ := all[i].AppendBinary(nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := Parse(b)
		if n < 0 || n > len(b) || err != nil && n != 0 {
			t.Fatal(n, err)
		}
		if n == 0 {
			return
		}
		again, err := m.AppendBinary(nil)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if m2, _, err := Parse(again); err != nil || !reflect.DeepEqual(m, m2) {
			t.Fatalf("%+v\n%+v\n%v", m, m2, err)
		}
	})
}
