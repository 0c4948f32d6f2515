package arp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

var (
	hostMAC  = MAC{2, 0, 0, 0, 0, 0xfe}
	otherMAC = MAC{2, 0, 0, 0, 0, 0x99}
)

func TestParseErrors(t *testing.T) {
	good := NewRequest(guestMAC, vm1, vm3).append(nil)
	if _, err := ParsePacket(good[:Len-1]); !errors.Is(err, ErrShort) {
		t.Error(err)
	}
	for i := range 6 { // every octet of the fixed part
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := ParsePacket(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("octet %d: %v", i, err)
		}
	}
	frame := NewRequest(guestMAC, vm1, vm3).On(1).append(nil)
	for _, tc := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrShort},
		{"header only", frame[:14], ErrShort},
		{"one octet missing", frame[:FrameLen-1], ErrShort},
		{"another EtherType", append(append(bytes.Clone(frame[:12]), 8, 0), frame[14:]...), ErrEtherType},
		{"VLAN tag", append(append(bytes.Clone(frame[:12]), 0x81, 0, 0, 90), frame[12:]...), ErrEtherType},
	} {
		if _, err := ParseFrame(tc.data); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestAppend(t *testing.T) {
	got := hex.EncodeToString(NewRequest(guestMAC, vm1, vm3).On(1).append(nil))
	if want := "ffffffffffff50543300000708060001080006040001505433000007cb007101000000000000cb007103"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// What is not IPv4 becomes 0.0.0.0 instead of a panic.
	p := NewRequest(guestMAC, netip.MustParseAddr("::1"), netip.Addr{})
	if q, err := ParsePacket(p.append(nil)); err != nil || !q.SenderIP.IsUnspecified() || !q.TargetIP.IsUnspecified() {
		t.Error(q, err)
	}
}

func TestKinds(t *testing.T) {
	for _, tc := range []struct {
		p                   Packet
		probe, announcement bool
		text                string
	}{
		{NewRequest(guestMAC, vm1, vm3), false, false, "who-has 203.0.113.3 tell 203.0.113.1 (50:54:33:00:00:07)"},
		{NewProbe(guestMAC, vm1), true, false, "probe 203.0.113.1 by 50:54:33:00:00:07"},
		{NewAnnouncement(guestMAC, vm1), false, true, "announcement 203.0.113.1 is-at 50:54:33:00:00:07"},
		{Packet{Op: OpReply, SenderMAC: guestMAC, SenderIP: IPFrom(vm1), TargetIP: IPFrom(vm1)}, false, true, "announcement 203.0.113.1 is-at 50:54:33:00:00:07"},
		{NewRequest(guestMAC, vm1, vm3).Answer(hostMAC), false, false, "203.0.113.3 is-at 02:00:00:00:00:fe, to 203.0.113.1 (50:54:33:00:00:07)"},
		{Packet{Op: OpRequest, SenderMAC: guestMAC}, true, false, "probe 0.0.0.0 by 50:54:33:00:00:07"},
		{Packet{Op: 9, SenderMAC: guestMAC, SenderIP: IPFrom(vm1)}, false, false, "Operation(9) from 203.0.113.1 (50:54:33:00:00:07)"},
	} {
		if tc.p.IsProbe() != tc.probe || tc.p.IsAnnouncement() != tc.announcement || tc.p.String() != tc.text {
			t.Errorf("%v: probe %v, announcement %v, want %q %v %v", tc.p, tc.p.IsProbe(), tc.p.IsAnnouncement(), tc.text, tc.probe, tc.announcement)
		}
	}
}

func TestOn(t *testing.T) {
	p := NewRequest(guestMAC, vm1, vm3)
	if f := p.On(3); f.Dst != Broadcast || f.Src != guestMAC || f.IfIndex != 3 {
		t.Error(f)
	}
	if f := p.Answer(hostMAC).On(3); f.Dst != guestMAC || f.Src != hostMAC {
		t.Error(f)
	}
}

func TestNoAllocation(t *testing.T) {
	frame := NewRequest(guestMAC, vm1, vm3).On(1).append(nil)
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(1000, func() {
		f, _ := ParseFrame(frame)
		buf = f.append(buf[:0])
		_, _ = ParseFrame(frame[:20])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzFrame checks that what is parsed survives encoding, and that gopacket sees the
// same.
func FuzzFrame(f *testing.F) {
	for _, c := range captures.Read(f, "testdata/captures.txt") {
		f.Add(c.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fr, err := ParseFrame(data)
		if err != nil {
			return
		}
		_ = fr.String()
		again, err := ParseFrame(fr.append(nil))
		if err != nil || again != fr {
			t.Fatalf("%+v, then %+v, %v", fr, again, err)
		}
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if !ok {
			t.Fatal("gopacket finds no ARP")
		}
		if uint16(fr.Op) != a.Operation || !bytes.Equal(a.SourceHwAddress, fr.SenderMAC[:]) || !bytes.Equal(a.DstHwAddress, fr.TargetMAC[:]) ||
			!bytes.Equal(a.SourceProtAddress, fr.SenderIP[:]) || !bytes.Equal(a.DstProtAddress, fr.TargetIP[:]) {
			t.Fatalf("%+v, gopacket %+v", fr, a)
		}
	})
}

func TestCaptures(t *testing.T) {
	for _, c := range captures.Read(t, "testdata/captures.txt") {
		f, err := ParseFrame(c.Data)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if got := f.append(nil); !bytes.HasPrefix(c.Data, got) {
			t.Errorf("%s: encoded as %x", c.Name, got)
		}
	}
}
