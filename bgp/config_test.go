package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

func TestConfigDefaults(t *testing.T) {
	for name, c := range map[string]Config{
		"no AS":        {RouterID: addr1},
		"no router id": {AS: 1},
		"cluster id":   {AS: 1, RouterID: addr1, ClusterID: netip.MustParseAddr("fd00::1")},
		"restart time": {AS: 1, RouterID: addr1, GracefulRestart: GracefulRestart{RestartTime: 4096 * time.Second}},
		"long-lived":   {AS: 1, RouterID: addr1, GracefulRestart: GracefulRestart{LongLivedTime: time.Second}},
		"long time":    {AS: 1, RouterID: addr1, GracefulRestart: GracefulRestart{Enabled: true, LongLivedTime: 1 << 24 * time.Second}},
		"listen":       {AS: 1, RouterID: addr1, Listen: make([]netip.AddrPort, 1)},
		"multipath":    {AS: 1, RouterID: addr1, Multipath: 300},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s, err := New(Config{AS: 1, RouterID: addr1, Listen: []netip.AddrPort{netip.AddrPortFrom(addr1, 0)}})
	if err != nil || s.env.cfg.Listen[0].Port() != Port || s.env.cfg.ClusterID != addr1 {
		t.Errorf("%+v, %v", s.env.cfg, err)
	}
}

func TestPeerConfigDefaults(t *testing.T) {
	link := netip.MustParseAddr("fe80::1")
	for name, c := range map[string]PeerConfig{
		"no address":        {},
		"link-local":        {Addr: link},
		"families of local": {Addr: addr1, LocalAddr: link},
		"hold time":         {Addr: addr1, HoldTime: 2 * time.Second},
		"key":               {Addr: addr1, MD5Key: string(make([]byte, 81))},
		"path of no family": {Addr: addr1, AddPathSend: bothFamilies},
		"restart":           {Addr: addr1, GracefulRestart: &GracefulRestart{RestartTime: time.Hour * 2}},
	} {
		if _, err := c.withDefaults(false); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := PeerConfig{Addr: link, Interface: "eth0", HoldTime: -1, GracefulRestart: &GracefulRestart{}}.withDefaults(false)
	if err != nil || c.Addr.Zone() != "eth0" || c.HoldTime != 0 || !slices.Equal(c.Families, bothFamilies[1:]) || c.GracefulRestart.RestartTime == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := (PeerConfig{Addr: addr1}).withDefaults(true); err == nil {
		t.Error("a template with an address")
	}
}

// Unless told otherwise a session has the family of its addresses.
func TestFamiliesDefault(t *testing.T) {
	six := netip.MustParseAddr("2001:db8::1")
	for _, tc := range []struct {
		peer PeerConfig
		want []wire.Family
	}{
		{PeerConfig{Addr: addr1}, bothFamilies[:1]},
		{PeerConfig{Addr: netip.AddrFrom16(addr1.As16())}, bothFamilies[:1]},
		{PeerConfig{Addr: addr1, IPv6NextHop: true}, bothFamilies[:1]},
		{PeerConfig{Addr: six}, bothFamilies[1:]},
		{PeerConfig{Addr: six, IPv6NextHop: true}, bothFamilies},
		{PeerConfig{Addr: six, Families: bothFamilies[:1]}, bothFamilies[:1]},
	} {
		c, err := tc.peer.withDefaults(false)
		if err != nil || !slices.Equal(c.Families, tc.want) {
			t.Errorf("%v: %v, %v, want %v", tc.peer.Addr, c.Families, err, tc.want)
		}
		addr := tc.peer.Addr
		tc.peer.Addr = netip.Addr{}
		r, err := (&peerTable{cfg: &Config{}}).newRange(RangeConfig{Prefix: netip.PrefixFrom(addr.Unmap(), 20), Template: tc.peer})
		if err != nil || !slices.Equal(r.template.Families, tc.want) {
			t.Errorf("range of %v: %v, want %v", addr, err, tc.want)
		}
	}
}

// The F bits are those of the families whose state is in place; after the first session
// it is this process's own, whatever it found.
func TestForwardingPreserved(t *testing.T) {
	v4, v6 := wire.Families(wire.IPv4Unicast), wire.Families(wire.IPv6Unicast)
	for _, c := range []struct {
		up   bool
		g    GracefulRestart
		want wire.FamilySet
	}{
		{want: 0},
		{g: GracefulRestart{PreservedFamilies: bothFamilies}, want: 0},
		{g: GracefulRestart{ForwardingPreserved: true}, want: v4 | v6},
		{g: GracefulRestart{ForwardingPreserved: true, PreservedFamilies: []wire.Family{wire.IPv6Unicast}}, want: v6},
		{g: GracefulRestart{ForwardingPreserved: true, PreservedFamilies: []wire.Family{}}, want: 0},
		{up: true, want: v4 | v6},
	} {
		s := &Config{GracefulRestart: c.g}
		if got := s.preserved(c.up, bothFamilies); got != c.want {
			t.Errorf("%+v: %b, want %b", c, got, c.want)
		}
	}
}
