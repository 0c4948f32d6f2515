package fsm

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

var (
	addr1        = netip.MustParseAddr("10.0.0.1")
	addr2        = netip.MustParseAddr("10.0.0.2")
	bothFamilies = []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
)

// params is our configuration with everything.
func params(edit func(*OpenConfig)) *OpenConfig {
	c := &OpenConfig{
		AS: 65000, RouterID: addr1, HoldTime: 90 * time.Second,
		Families: bothFamilies, AddPathReceive: bothFamilies, IPv6NextHop: true,
		GracefulRestart: true, RestartTime: 120 * time.Second, LongLivedTime: time.Hour,
	}
	if edit != nil {
		edit(c)
	}
	return c
}

// theirOpen is the peer's OPEN with everything.
func theirOpen(edit func(*wire.Open)) *wire.Open {
	o := params(func(c *OpenConfig) { c.RouterID, c.AddPathSend = addr2, bothFamilies }).Open()
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
	local := p.Open()
	n, err := p.Negotiate(&local, theirOpen(nil))
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
	if forwarding, listed := n.restartFamily(wire.IPv6Unicast); forwarding || !listed {
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
		local := p.Open()
		if n, err := p.Negotiate(&local, theirOpen(c.remote)); err != nil || !c.want(&n) {
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
		local := p.Open()
		_, err := p.Negotiate(&local, theirOpen(c.remote))
		if err == nil || err.Code != wire.CodeOpen || err.Subcode != c.subcode || err.Disposition != wire.SessionReset {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	p := params(func(c *OpenConfig) { c.PeerAS = AnyAS })
	local := p.Open()
	if _, err := p.Negotiate(&local, theirOpen(func(o *wire.Open) { o.AS = 4200000000 })); err != nil {
		t.Errorf("any AS: %v", err)
	}
}

// TestOpenRestart looks at the bits of graceful restart in our OPEN.
func TestOpenRestart(t *testing.T) {
	o := params(func(c *OpenConfig) { c.Restarting, c.ForwardingPreserved = true, wire.Families(bothFamilies...) }).Open()
	g := o.Capabilities.GracefulRestart
	if !g.Restarting || !g.Notification || len(g.Families) != 2 || !g.Families[0].ForwardingPreserved {
		t.Errorf("%+v", g)
	}
	if ll := o.Capabilities.LongLived; len(ll) != 2 || ll[0].StaleTime != time.Hour || !ll[1].ForwardingPreserved {
		t.Errorf("%+v", ll)
	}
	o = params(func(c *OpenConfig) { c.ForwardingPreserved = wire.Families(wire.IPv6Unicast) }).Open()
	if g, ll := o.Capabilities.GracefulRestart.Families, o.Capabilities.LongLived; g[0].ForwardingPreserved || !g[1].ForwardingPreserved || ll[0].ForwardingPreserved || !ll[1].ForwardingPreserved {
		t.Errorf("IPv6 alone: %+v, %+v", g, ll)
	}
	o = params(func(c *OpenConfig) { c.Restarting = true }).Open() // the host has booted
	if g, ll := o.Capabilities.GracefulRestart, o.Capabilities.LongLived; !g.Restarting || g.Families[0].ForwardingPreserved || g.Families[1].ForwardingPreserved || ll[0].ForwardingPreserved {
		t.Errorf("nothing preserved: %+v, %+v", g, ll)
	}
	o = params(func(c *OpenConfig) { c.NoCapabilities = true }).Open()
	if c := o.Capabilities; c.AS4 || c.Families != nil || c.GracefulRestart != nil {
		t.Errorf("an OPEN without capabilities has %+v", c)
	}
	n := Negotiated{RemoteAS: 65000}
	if !n.UpdateOptions(65000).IBGP || n.UpdateOptions(65001).IBGP {
		t.Error("IBGP")
	}
}

// TestRoles: RFC 9234, Section 4.2, Table 2, and what is a mismatch.
func TestRoles(t *testing.T) {
	const provider, rs, client, customer, peer = wire.RoleProvider, wire.RoleRS, wire.RoleRSClient, wire.RoleCustomer, wire.RolePeer
	negotiate := func(ours wire.Role, strict bool, theirs ...wire.Role) *wire.Error {
		p := params(func(c *OpenConfig) { c.PeerAS, c.Role, c.RoleStrict = 65001, ours, strict })
		local := p.Open()
		_, err := p.Negotiate(&local, theirOpen(func(o *wire.Open) { o.AS, o.Capabilities.Roles = 65001, theirs }))
		return err
	}
	pairs := map[[2]wire.Role]bool{{provider, customer}: true, {customer, provider}: true, {rs, client}: true, {client, rs}: true, {peer, peer}: true}
	for ours := provider; ours <= peer; ours++ {
		for theirs := provider; theirs <= peer+1; theirs++ {
			if err := negotiate(ours, false, theirs); (err == nil) != pairs[[2]wire.Role{ours, theirs}] {
				t.Errorf("we are %v, the peer is %v: %v", ours, theirs, err)
			}
		}
	}
	for name, err := range map[string]*wire.Error{
		"strict": negotiate(peer, true), "several": negotiate(peer, false, peer, customer), "unknown": negotiate(peer, false, 255),
	} {
		if err == nil || err.Code != wire.CodeOpen || err.Subcode != wire.SubRoleMismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]*wire.Error{
		"theirs is missing": negotiate(peer, false), "ours is missing": negotiate(wire.RoleNone, false, peer, customer), "the same twice": negotiate(peer, true, peer, peer),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Roles are for external peers: an iBGP peer is neither told nor asked.
	p := params(func(c *OpenConfig) { c.Role, c.PeerAS = provider, AnyAS })
	local := p.Open()
	if _, err := p.Negotiate(&local, theirOpen(func(o *wire.Open) { o.Capabilities.Roles = []wire.Role{provider} })); err != nil {
		t.Error(err)
	}
	if o := params(func(c *OpenConfig) { c.Role = provider }).Open(); o.Capabilities.Roles != nil {
		t.Errorf("roles %v to an iBGP peer", o.Capabilities.Roles)
	}
}

// TestLocalAS: our OPEN has it, and the peer may be in neither AS of ours. ExternalAS is any other.
func TestLocalAS(t *testing.T) {
	for _, c := range []struct {
		local, want, as uint32
		ok              bool
	}{
		{64999, 65001, 65001, true}, {64999, AnyAS, 65001, true}, {64999, AnyAS, 64999, false}, {64999, AnyAS, 65000, false},
		{0, ExternalAS, 65001, true}, {0, ExternalAS, 65000, false}, {64999, ExternalAS, 64999, false}, {0, 65001, 65002, false},
	} {
		p := params(func(o *OpenConfig) { o.LocalAS, o.PeerAS = c.local, c.want })
		local := p.Open()
		if c.local != 0 && local.AS != c.local {
			t.Errorf("our OPEN has AS %d", local.AS)
		}
		_, err := p.Negotiate(&local, theirOpen(func(o *wire.Open) { o.AS = c.as }))
		if (err == nil) != c.ok || err != nil && err.Subcode != wire.SubBadPeerAS {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
