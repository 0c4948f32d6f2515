package bfd

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// seeds are packets of real peers, captured in namespaces.
var seeds = map[string]string{
	"BIRD 2.0.12, Down, first packet": "20400518" + "a1b2c3d4" + "00000000" + "000f4240" + "0000c350" + "00000000",
	"FRR 8.4.4, Up with Poll":         "20e00318" + "1f2e3d4c" + "00000001" + "000493e0" + "000493e0" + "0000c350",
	"BIRD 2.0.12, meticulous SHA1":    "20c40534" + "a1b2c3d4" + "00000001" + "000186a0" + "000186a0" + "00000000" + "051c0100" + "00000010" + "0102030405060708090a0b0c0d0e0f1011121314",
}

func TestParseErrors(t *testing.T) {
	good := Packet{State: StateUp, Multiplier: 3, MyDiscr: 1, YourDiscr: 2}
	cases := []struct {
		name   string
		break_ func(b []byte) []byte
		want   error
	}{
		{"good", func(b []byte) []byte { return b }, nil},
		{"trailing octets, RFC 9764", func(b []byte) []byte { return append(b, make([]byte, 500)...) }, nil},
		{"23 octets", func(b []byte) []byte { return b[:23] }, ErrShort},
		{"empty", func(b []byte) []byte { return nil }, ErrShort},
		{"version 0", func(b []byte) []byte { b[0] = 0; return b }, ErrVersion},
		{"version 2", func(b []byte) []byte { b[0] = 0x40; return b }, ErrVersion},
		{"length 23", func(b []byte) []byte { b[3] = 23; return b }, ErrLength},
		{"length beyond the payload", func(b []byte) []byte { b[3] = 25; return b }, ErrLength},
		{"A bit with length 25", func(b []byte) []byte { b[1] |= 4; b[3] = 25; return append(b, 0) }, ErrLength},
		{"A bit, auth len short", func(b []byte) []byte { b[1] |= 4; b[3] = 28; return append(b, 1, 3, 1, 65) }, ErrAuth},
		{"detect mult 0", func(b []byte) []byte { b[2] = 0; return b }, ErrMultiplier},
		{"multipoint", func(b []byte) []byte { b[1] |= 1; return b }, ErrMultipoint},
		{"my discriminator 0", func(b []byte) []byte { clear(b[4:8]); return b }, ErrMyDiscr},
		{"your discriminator 0 in Up", func(b []byte) []byte { clear(b[8:12]); return b }, ErrYourDiscr},
		{"your discriminator 0 in Init", func(b []byte) []byte { clear(b[8:12]); b[1] = 2 << 6; return b }, ErrYourDiscr},
		{"your discriminator 0 in Down", func(b []byte) []byte { clear(b[8:12]); b[1] = 1 << 6; return b }, nil},
		{"your discriminator 0 in AdminDown", func(b []byte) []byte { clear(b[8:12]); b[1] = 0; return b }, nil},
	}
	for _, c := range cases {
		if _, err := ParsePacket(c.break_(good.append(nil))); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, s := range []string{State(9).String(), Diag(31).String(), Reason(9).String(), AuthType(9).String(),
		StateUp.String(), DiagExpired.String(), ReasonExpired.String(), AuthSHA1.String(), ErrShort.Error(), (&ConfigError{"a", "b"}).Error()} {
		if s == "" {
			t.Error("empty string")
		}
	}
}

// FuzzParse checks that what decodes encodes to the same octets, and that
// gopacket reads the same fields.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err != nil {
			return
		}
		again := p.append(nil)
		want := bytes.Clone(b[:headerLen])
		want[1] &^= 0x04
		want[3] = headerLen
		if !bytes.Equal(again, want) {
			t.Fatalf("encoded %x\nwant    %x", again, want)
		}
		compare(t, &p, b)
	})
}

func compare(t *testing.T, p *Packet, b []byte) {
	var l layers.BFD
	if l.DecodeFromBytes(b[:len(p.raw)], gopacket.NilDecodeFeedback) != nil {
		return // gopacket refuses authentication types it does not know
	}
	us := func(d time.Duration) layers.BFDTimeInterval { return layers.BFDTimeInterval(d / time.Microsecond) }
	if uint8(l.State) != uint8(p.State) || uint8(l.Diagnostic) != uint8(p.Diag) || l.Poll != p.Poll || l.Final != p.Final ||
		l.ControlPlaneIndependent != p.ControlIndependent || l.Demand != p.Demand || uint8(l.DetectMultiplier) != p.Multiplier ||
		uint32(l.MyDiscriminator) != p.MyDiscr || uint32(l.YourDiscriminator) != p.YourDiscr ||
		l.DesiredMinTxInterval != us(p.DesiredMinTx) || l.RequiredMinRxInterval != us(p.RequiredMinRx) ||
		l.RequiredMinEchoRxInterval != us(p.RequiredMinEchoRx) {
		t.Fatalf("gopacket disagrees: %+v\nours: %+v", l, p)
	}
}

// TestGopacketReadsAuth lets gopacket read what we sign.
func TestGopacketReadsAuth(t *testing.T) {
	for typ := AuthSimple; typ <= AuthMeticulousSHA1; typ++ {
		a := authState{Auth: Auth{Type: typ, Keys: []AuthKey{{ID: 3, Secret: "secret"}}}, txSeq: 41}
		p := Packet{State: StateUp, Multiplier: 3, MyDiscr: 1, YourDiscr: 2}
		b := a.sign(p.append(nil), 0)
		var l layers.BFD
		if err := l.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
			t.Fatal(typ, err)
		}
		if uint8(l.AuthHeader.AuthType) != uint8(typ) || l.AuthHeader.KeyID != 3 {
			t.Errorf("%v: %+v", typ, l.AuthHeader)
		}
		if typ != AuthSimple && l.AuthHeader.SequenceNumber != 42 {
			t.Errorf("%v: sequence %d", typ, l.AuthHeader.SequenceNumber)
		}
	}
}

func TestAuthConfig(t *testing.T) {
	long := "123456789012345678901"
	for _, a := range []Auth{
		{Type: 6, Keys: []AuthKey{{1, "x"}}}, {Type: AuthMD5}, {Keys: []AuthKey{{1, "x"}}},
		{Type: AuthMD5, Keys: []AuthKey{{1, long[:17]}}}, {Type: AuthSHA1, Keys: []AuthKey{{1, long}}}, {Type: AuthSimple, Keys: []AuthKey{{1, ""}}},
	} {
		if a.check() == nil {
			t.Errorf("%+v accepted", a)
		}
	}
	if (Auth{Type: AuthSHA1, Keys: []AuthKey{{1, long[:20]}}}).check() != nil {
		t.Error("20 octets refused for SHA1")
	}
}

func TestAllocations(t *testing.T) {
	for typ := AuthNone; typ <= AuthMeticulousSHA1; typ++ {
		cfg := SessionConfig{}
		peer := authState{Auth: Auth{Type: typ}, txSeq: 4}
		if typ != AuthNone {
			peer.Keys = []AuthKey{{ID: 1, Secret: "secret"}}
			cfg.Auth = peer.Auth
		}
		s, err := NewSession(cfg, 1, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		in := Packet{State: StateInit, Multiplier: 3, MyDiscr: 9, YourDiscr: 1, DesiredMinTx: time.Second, RequiredMinRx: time.Second, Poll: true}
		var rx, tx [maxPacketLen]byte
		now := time.Duration(0)
		if n := testing.AllocsPerRun(100, func() {
			now += time.Millisecond
			b := in.append(rx[:0])
			if typ != AuthNone {
				b = peer.sign(b, 0)
			}
			p, err := ParsePacket(b)
			if err != nil {
				t.Fatal(err)
			}
			e := s.Receive(now, &p)
			e |= s.Advance(now)
			s.AppendPacket(tx[:0], now)
			if e&EffectSend == 0 {
				t.Fatal("Poll not answered")
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations a packet", typ, n)
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	s, _ := NewSession(SessionConfig{}, 1, 1, 0)
	in := Packet{State: StateInit, Multiplier: 3, MyDiscr: 9, YourDiscr: 1, DesiredMinTx: time.Second, RequiredMinRx: time.Second}
	raw := in.append(nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p, _ := ParsePacket(raw)
		s.Receive(time.Duration(i), &p)
	}
}
