package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

func params(edit func(*openParams)) openParams {
	c, err := PeerConfig{Addr: addr2, Families: bothFamilies, AddPathReceive: bothFamilies, IPv6NextHop: true}.withDefaults(false)
	if err != nil {
		panic(err)
	}
	p := openParams{as: 65000, id: addr1, peer: &c, restart: GracefulRestart{Enabled: true, LongLivedTime: time.Hour}.withDefaults()}
	if edit != nil {
		edit(&p)
	}
	return p
}

// remoteOpen is the peer's OPEN with everything.
func remoteOpen(edit func(*wire.Open)) *wire.Open {
	p := params(func(p *openParams) { p.id = addr2; p.peer.AddPathSend = bothFamilies })
	o := localOpen(p)
	if edit != nil {
		edit(&o)
	}
	// Over the wire and back, as in life.
	b := o.Append(nil)
	back, err := wire.ParseOpen(b[wire.HeaderLen:])
	if err != nil {
		panic(err)
	}
	return &back
}

func TestNegotiate(t *testing.T) {
	p := params(nil)
	local := localOpen(p)
	n, err := negotiate(&local, remoteOpen(nil), p.peer)
	if err != nil {
		t.Fatal(err)
	}
	all := wire.Families(bothFamilies...)
	if n.Families != all || n.AddPathReceive != all || n.AddPathSend != 0 || !n.IPv6NextHop || !n.AS4 || !n.GracefulRestart ||
		!n.Notification || !n.ExtendedMessage || !n.EnhancedRefresh || n.HoldTime != 90*time.Second {
		t.Errorf("%+v", n)
	}
	if n.longLived(wire.IPv4Unicast) != time.Hour || n.longLived(wire.Family{AFI: 25, SAFI: 65}) != 0 {
		t.Error("long-lived times")
	}
	if kept, listed := n.restartFamily(wire.IPv6Unicast); kept || !listed {
		t.Error("restart family")
	}
}

// TestNegotiateLess takes one thing away at a time.
func TestNegotiateLess(t *testing.T) {
	all := wire.Families(bothFamilies...)
	for _, c := range []struct {
		name   string
		remote func(*wire.Open)
		want   func(*Negotiated) bool
	}{
		{"hold time 0", func(o *wire.Open) { o.HoldTime = 0 }, func(n *Negotiated) bool { return n.HoldTime == 0 }},
		{"lower hold time", func(o *wire.Open) { o.HoldTime = 9 * time.Second }, func(n *Negotiated) bool { return n.HoldTime == 9*time.Second }},
		{"no capabilities", func(o *wire.Open) { o.Capabilities = wire.Capabilities{} }, func(n *Negotiated) bool {
			return n.Families == wire.Families(wire.IPv4Unicast) && !n.AS4 && !n.GracefulRestart && !n.RouteRefresh && n.AddPathReceive == 0
		}},
		{"IPv6 only", func(o *wire.Open) { o.Capabilities.Families = bothFamilies[1:] }, func(n *Negotiated) bool {
			return n.Families == wire.Families(wire.IPv6Unicast) && n.AddPathReceive == n.Families
		}},
		{"no sending of paths", func(o *wire.Open) { o.Capabilities.AddPath = nil }, func(n *Negotiated) bool { return n.AddPathReceive == 0 && n.Families == all }},
		{"no N bit", func(o *wire.Open) { o.Capabilities.GracefulRestart.Notification = false }, func(n *Negotiated) bool { return n.GracefulRestart && !n.Notification }},
		{"no graceful restart", func(o *wire.Open) { o.Capabilities.GracefulRestart = nil }, func(n *Negotiated) bool {
			_, listed := n.restartFamily(wire.IPv4Unicast)
			return !n.GracefulRestart && !n.Notification && !listed
		}},
	} {
		p := params(nil)
		local := localOpen(p)
		if n, err := negotiate(&local, remoteOpen(c.remote), p.peer); err != nil || !c.want(&n) {
			t.Errorf("%s: %+v, %v", c.name, n, err)
		}
	}
}

func TestNegotiateRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		remote  func(*wire.Open)
		subcode uint8
	}{
		{"AS", func(o *wire.Open) { o.AS = 65001 }, wire.SubBadPeerAS},
		{"own identifier", func(o *wire.Open) { o.ID = addr1 }, wire.SubBadID},
		{"no common family", func(o *wire.Open) { o.Capabilities.Families = []wire.Family{{AFI: 25, SAFI: 70}} }, wire.SubUnsupportedCapability},
	} {
		p := params(nil)
		local := localOpen(p)
		_, err := negotiate(&local, remoteOpen(c.remote), p.peer)
		if err == nil || err.Code != wire.CodeOpen || err.Subcode != c.subcode || err.Disposition != wire.SessionReset {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	p := params(func(p *openParams) { p.peer.AS = AnyAS })
	local := localOpen(p)
	if _, err := negotiate(&local, remoteOpen(func(o *wire.Open) { o.AS = 4200000000 }), p.peer); err != nil {
		t.Errorf("any AS: %v", err)
	}
}

// TestOpenRestart looks at the bits of graceful restart in our OPEN.
func TestOpenRestart(t *testing.T) {
	o := localOpen(params(func(p *openParams) { p.starting, p.kept = true, wire.Families(bothFamilies...) }))
	g := o.Capabilities.GracefulRestart
	if !g.Restarting || !g.Notification || len(g.Families) != 2 || !g.Families[0].ForwardingPreserved {
		t.Errorf("%+v", g)
	}
	if ll := o.Capabilities.LongLived; len(ll) != 2 || ll[0].StaleTime != time.Hour || !ll[1].ForwardingPreserved {
		t.Errorf("%+v", ll)
	}
	o = localOpen(params(func(p *openParams) { p.kept = wire.Families(wire.IPv6Unicast) }))
	if g, ll := o.Capabilities.GracefulRestart.Families, o.Capabilities.LongLived; g[0].ForwardingPreserved || !g[1].ForwardingPreserved || ll[0].ForwardingPreserved || !ll[1].ForwardingPreserved {
		t.Errorf("IPv6 alone: %+v, %+v", g, ll)
	}
	o = localOpen(params(func(p *openParams) { p.plain = true }))
	if c := o.Capabilities; c.AS4 || c.Families != nil || c.GracefulRestart != nil {
		t.Errorf("a plain OPEN has %+v", c)
	}
	if got := (&Negotiated{RemoteAS: 65000}).internal(65000); !got {
		t.Error("internal")
	}
}

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
	if err != nil || s.cfg.Listen[0].Port() != Port || s.cfg.ClusterID != addr1 {
		t.Errorf("%+v, %v", s.cfg, err)
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
	if err != nil || c.Addr.Zone() != "eth0" || c.HoldTime != 0 || !slices.Equal(c.Families, bothFamilies[:1]) || c.GracefulRestart.RestartTime == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := (PeerConfig{Addr: addr1}).withDefaults(true); err == nil {
		t.Error("a template with an address")
	}
}

// The F bits are those of the families whose state is in place; after the first session
// it is this process's own, whatever it found.
func TestKept(t *testing.T) {
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
		p := &peer{s: &Speaker{cfg: Config{GracefulRestart: c.g}}, up: c.up}
		if got := p.kept(bothFamilies); got != c.want {
			t.Errorf("%+v: %b, want %b", c, got, c.want)
		}
	}
}
