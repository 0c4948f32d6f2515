package edge

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// TestSettings: what is written of each setting is what is read, and the differences are those of what is wanted and known.
func TestSettings(t *testing.T) {
	o := &config.Overlay{VNI: 7, Local: config.Addr{Addr: netip.MustParseAddr("172.22.2.1")}}
	plain := bridgeSettings(o)
	o.EVPN = &config.EVPN{}
	routed := *o
	routed.Gateway = &config.Gateway{MAC: config.MAC{0, 0, 0x5e, 0, 1, 0xfe}}
	o6 := &config.Overlay{VNI: 7, MTU: 1450, Local: config.Addr{Addr: netip.MustParseAddr("2001:db8::1")}}
	for _, want := range []settings{{}, plain, deviceSettings(o6), bridgeSettings(o), deviceSettings(o), bridgeSettings(&routed), guestSettings(&standing{config: routed}, true), memberSettings(true), memberSettings(false)} {
		b, err := encodeSettings(7, want)
		if err != nil {
			t.Fatal(err)
		}
		binary.NativeEndian.PutUint32(b[8:], binary.NativeEndian.Uint32(b[8:])|unix.IFF_RUNNING)
		got, err := parseInterface(b)
		if _, flag := want[answersARP]; !flag {
			delete(got.settings, answersARP)
		}
		if err != nil || got.index != 7 || !maps.Equal(got.settings, want) {
			t.Errorf("%v is read as %v, %v", want, got, err)
		}
		for n := range len(b) { // whatever is cut off, it is no panic
			_, _ = parseInterface(b[:n])
		}
	}
	for _, test := range []struct{ want, have, out settings }{
		{settings{learns: off, suppresses: on}, settings{learns: on, suppresses: on, isolated: on}, settings{learns: off}},
		{settings{learns: off}, settings{}, settings{}}, // the kernel does not know it
		{settings{learns: off}, settings{learns: off}, settings{}},
		{settings{answersARP: on, learnsAtMost: {low: 4096}}, settings{answersARP: off, learnsAtMost: off}, settings{answersARP: on, learnsAtMost: {low: 4096}}},
	} {
		if out := test.want.differ(test.have); !maps.Equal(out, test.out) {
			t.Errorf("%v instead of %v: %v, want %v", test.have, test.want, out, test.out)
		}
	}
	text := settings{learns: off, mtu: {low: 1450}, hasAddress: number([]byte{2, 0, 0, 0, 0, 9}), local: number([]byte{192, 0, 2, 1}), local6: number(o6.Local.Addr.AsSlice())}.String()
	if want := "address 02:00:00:00:00:09 learning 0 mtu 1450 local 192.0.2.1 local 2001:db8::1"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if s := bridgeSettings(o)[hasAddress].low; s>>40&3 != 2 {
		t.Errorf("the bridge's MAC %012x is not a locally administered one of a station", s)
	}
}

// TestGatewaySettings: with a gateway the bridge has its MAC, and the ports of guests are locked as soon as their entries are there; without
// one they are not.
func TestGatewaySettings(t *testing.T) {
	o := standing{config: config.Overlay{VNI: 7, EVPN: &config.EVPN{}}}
	if s := guestSettings(&o, true); s[locked] != off || s[learns] != off {
		t.Errorf("without a gateway: %v", s)
	}
	o.config.Gateway = &config.Gateway{MAC: config.MAC{0, 0, 0x5e, 0, 1, 0xfe}}
	if s := bridgeSettings(&o.config); s[hasAddress].low != 0x5e0001fe || s[answersARP] != on {
		t.Errorf("the bridge: %v", s)
	}
	if s := guestSettings(&o, true); s[locked] != on {
		t.Errorf("with a gateway: %v", s)
	}
	if _, set := guestSettings(&o, false)[locked]; set {
		t.Error("a port is locked before the bridge knows whose it is")
	}
}

// TestPlacing: only a static entry at the port that no frame moves is a guest's.
func TestPlacing(t *testing.T) {
	for _, test := range []struct {
		port  byte
		state uint16
		flags byte
		want  bool
	}{
		{7, unix.NUD_NOARP, ntfSticky, true},
		{8, unix.NUD_NOARP, ntfSticky, false},
		{7, unix.NUD_NOARP, 0, false},
		{7, unix.NUD_PERMANENT, ntfSticky, false},
		{7, unix.NUD_REACHABLE, 0, false},
	} {
		b := make([]byte, unix.SizeofNdMsg)
		b[4], b[8], b[10] = test.port, byte(test.state), test.flags
		if got := parsePlacing(b).places(7); got != test.want {
			t.Errorf("port %d, state %#x, flags %#x: %v", test.port, test.state, test.flags, got)
		}
	}
}
