package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// external gives a peer the policies without which RFC 8212, Section 3, lets nothing through.
func external(c PeerConfig) PeerConfig {
	c.Import, c.Export = rib.AcceptAll, rib.AcceptAll
	return c
}

// TestNoPolicy: an eBGP session without policies comes up, exchanges nothing, and says so, until
// there are some (RFC 8212, Section 3). iBGP needs none.
func TestNoPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b, c := run(t, n, addr1, Config{AS: 65001}), run(t, n, addr2, Config{AS: 65002}), run(t, n, addr3, Config{AS: 65001})
		toB := PeerConfig{Addr: addr2, AS: ExternalAS}
		a.peer(toB)
		b.peer(external(PeerConfig{Addr: addr1, AS: AnyAS, Passive: true}))
		a.peer(PeerConfig{Addr: addr3})
		c.peer(PeerConfig{Addr: addr1, Passive: true})
		a.originate("192.0.2.0/24")
		b.originate("198.51.100.0/24")
		settle(2 * time.Second)
		c.has("192.0.2.0/24", 1)
		expect := func(want MissingPolicy, in, out int) {
			t.Helper()
			a.has("198.51.100.0/24", in)
			b.has("192.0.2.0/24", out)
			st, err := a.Peer(PeerKey{Addr: addr2})
			if err != nil || st.State != Established || st.Established != 1 || st.MissingPolicy != want {
				t.Errorf("%v, %v, %v", st.State, st.MissingPolicy, err)
			}
			// What has just been published, and what a new reader is told.
			var of []MissingPolicy
			for _, e := range slices.Concat(drain(t, a.events), drain(t, a.Watch())) {
				if e.Kind == EventNoPolicy && e.Peer.Addr == addr2 {
					of = append(of, e.MissingPolicy)
				}
			}
			said := []MissingPolicy{want, want}
			if want == (MissingPolicy{}) {
				said = said[:1]
			}
			if !slices.Equal(of, said) {
				t.Errorf("events say %v", of)
			}
		}
		expect(MissingPolicy{Import: true, Export: true}, 0, 0)
		if st, _ := a.Peer(PeerKey{Addr: addr2}); st.Families[0].Refused[rib.ReasonNoPolicy] != 1 {
			t.Errorf("%+v", st.Families[0].Counters)
		}
		if st, _ := b.Peer(PeerKey{Addr: addr1}); st.MissingPolicy != (MissingPolicy{}) {
			t.Error(st.MissingPolicy)
		}
		toB.Import = rib.AcceptAll
		for _, want := range []MissingPolicy{{Export: true}, {}} {
			if err := a.UpdatePeer(toB); err != nil {
				t.Fatal(err)
			}
			settle(time.Second)
			expect(want, 1, map[bool]int{true: 0, false: 1}[want.Export])
			toB.Export = rib.AcceptAll
		}
		toB.Import = nil
		if err := a.UpdatePeer(toB); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		expect(MissingPolicy{Import: true}, 0, 1)
	})
}

// TestDefaultRoute: a default route for one peer, which is all that it is announced without an export policy. It
// comes, changes and goes within the session.
func TestDefaultRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b, c := run(t, n, addr1, Config{AS: 65001}), run(t, n, addr2, Config{AS: 65002}), run(t, n, addr3, Config{AS: 65001})
		toB := PeerConfig{Addr: addr2, AS: 65002, Import: rib.AcceptAll}
		a.peer(toB)
		b.peer(external(PeerConfig{Addr: addr1, AS: 65001, Passive: true}))
		a.peer(PeerConfig{Addr: addr3})
		c.peer(PeerConfig{Addr: addr1, Passive: true})
		a.originate("192.0.2.0/24")
		settle(2 * time.Second)
		expect := func(d rib.DefaultRoute, paths int, missing bool) {
			t.Helper()
			if toB.Default = d; a.UpdatePeer(toB) != nil {
				t.Fatal("not updated")
			}
			settle(time.Second)
			b.has("0.0.0.0/0", paths)
			b.has("192.0.2.0/24", 0)
			a.has("0.0.0.0/0", 0)
			c.has("0.0.0.0/0", 0)
			st, err := a.Peer(PeerKey{Addr: addr2})
			if err != nil || st.Established != 1 || st.MissingPolicy.Export != missing {
				t.Errorf("%+v, %v", st, err)
			}
		}
		v4 := wire.Families(wire.IPv4Unicast)
		expect(rib.DefaultRoute{}, 0, true)
		expect(rib.DefaultRoute{Families: v4}, 1, false)
		expect(rib.DefaultRoute{Families: v4, Policy: rib.SetMED(7)}, 1, false)
		if med, ok := b.Table().Lookup(netip.MustParsePrefix("0.0.0.0/0"))[0].Attrs.MED(); !ok || med != 7 {
			t.Errorf("MED %d", med)
		}
		expect(rib.DefaultRoute{Families: v4, When: rib.RejectAll}, 0, false)
		expect(rib.DefaultRoute{Families: v4, When: rib.AcceptAll}, 1, false)
		expect(rib.DefaultRoute{Families: wire.Families(wire.IPv6Unicast)}, 0, false)
		expect(rib.DefaultRoute{}, 0, true)
	})
}

// TestRoleMismatch: the session does not come up, and both sides say why.
func TestRoleMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{AS: 65001}), run(t, n, addr2, Config{AS: 65002})
		toB := external(PeerConfig{Addr: addr2, AS: 65002, EBGP: rib.EBGP{Role: wire.RoleProvider}, RoleStrict: true})
		a.peer(toB)
		b.peer(external(PeerConfig{Addr: addr1, AS: 65001, Passive: true, EBGP: rib.EBGP{Role: wire.RolePeer}}))
		settle(time.Second)
		for _, nd := range []*node{a, b} {
			st := nd.Peers()[0]
			if st.Established != 0 || st.LastError == nil || !strings.Contains(st.LastError.Error(), "Role Mismatch (2/11)") {
				t.Errorf("%v: %d sessions, %v", st.Key, st.Established, st.LastError)
			}
		}
		toB.EBGP.Role = wire.RolePeer
		if err := a.UpdatePeer(toB); err != nil {
			t.Fatal(err)
		}
		a.originate("192.0.2.0/24")
		settle(2 * time.Minute)
		b.has("192.0.2.0/24", 1)
		if as, ok := b.paths("192.0.2.0/24")[0].Attrs.OnlyToCustomer(); !ok || as != 65001 {
			t.Errorf("OTC %d", as)
		}
	})
}

// TestLocalAS: a peer that still knows us by another AS number, one of two octets, with a path
// of four (RFC 6793, Section 4.2.2).
func TestLocalAS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{AS: 4200000001}), run(t, n, addr2, Config{AS: 65002})
		toB := external(PeerConfig{Addr: addr2, AS: 65002, EBGP: rib.EBGP{LocalAS: 64999}})
		a.peer(toB)
		b.peer(external(PeerConfig{Addr: addr1, AS: 64999, Passive: true}))
		a.originate("192.0.2.0/24")
		b.originate("198.51.100.0/24")
		for _, want := range []struct {
			edit func(*rib.EBGP)
			a, b string
		}{
			{func(*rib.EBGP) {}, "64999 65002", "64999 4200000001"},
			{func(e *rib.EBGP) { e.LocalASNoPrepend = true }, "65002", "64999 4200000001"},
			{func(e *rib.EBGP) { e.LocalASReplaceAS = true }, "65002", "64999"},
		} {
			if want.edit(&toB.EBGP); a.UpdatePeer(toB) != nil {
				t.Fatal("refused")
			}
			settle(time.Second)
			a.has("198.51.100.0/24", 1)
			b.has("192.0.2.0/24", 1)
			if got := a.paths("198.51.100.0/24")[0].Attrs.ASPath().String(); got != want.a {
				t.Errorf("AS path %q, want %q", got, want.a)
			}
			if got := b.paths("192.0.2.0/24")[0].Attrs.ASPath().String(); got != want.b {
				t.Errorf("AS path %q, want %q", got, want.b)
			}
		}
		if st := a.Peers()[0]; st.Established != 1 {
			t.Errorf("%d sessions: all of that is soft", st.Established)
		}
	})
}

// TestExternalConfig: what makes no sense is refused.
func TestExternalConfig(t *testing.T) {
	s, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]PeerConfig{
		"multihop":           {AS: 65001, Multihop: 256},
		"negative multihop":  {AS: 65001, Multihop: -1},
		"role of iBGP":       {EBGP: rib.EBGP{Role: wire.RolePeer}},
		"role of own AS":     {AS: 65000, EBGP: rib.EBGP{Role: wire.RolePeer}},
		"unknown role":       {AS: 65001, EBGP: rib.EBGP{Role: 6}},
		"strict":             {AS: 65001, RoleStrict: true},
		"local AS of iBGP":   {EBGP: rib.EBGP{LocalAS: 64999}},
		"local AS is ours":   {AS: 65001, EBGP: rib.EBGP{LocalAS: 65000}},
		"local AS is theirs": {AS: 65001, EBGP: rib.EBGP{LocalAS: 65001}},
		"local AS is any":    {AS: 65001, EBGP: rib.EBGP{LocalAS: AnyAS}},
		"no local AS":        {AS: 65001, EBGP: rib.EBGP{LocalASReplaceAS: true}},
		"private":            {AS: 65001, EBGP: rib.EBGP{RemovePrivateAS: 4}},
		"third party":        {AS: 65001, EBGP: rib.EBGP{ThirdParty: make([]netip.Prefix, 1)}},
	} {
		c.Addr = addr2
		if err := s.AddPeer(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
		c.Addr = netip.Addr{}
		if err := s.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: c}); err == nil {
			t.Errorf("%s: accepted for a range", name)
		}
	}
}

// TestTTL: with which TTL a peer is sent packets, and which is let in.
func TestTTL(t *testing.T) {
	s := &Config{AS: 65000}
	for _, c := range []struct {
		peer        PeerConfig
		send, least int
	}{
		{PeerConfig{}, 0, 0}, {PeerConfig{AS: 65000, Multihop: 5}, 0, 0}, {PeerConfig{AS: AnyAS}, 0, 0},
		{PeerConfig{AS: 65001}, 1, 0}, {PeerConfig{AS: ExternalAS}, 1, 0}, {PeerConfig{AS: 65001, Multihop: 5}, 5, 0},
		{PeerConfig{TTLSecurity: true}, 255, 255}, {PeerConfig{AS: 65001, TTLSecurity: true}, 255, 255},
		{PeerConfig{AS: 65001, TTLSecurity: true, Multihop: 2}, 255, 254}, {PeerConfig{TTLSecurity: true, Multihop: 255}, 255, 1},
	} {
		if send, least := s.ttl(&c.peer); send != c.send || least != c.least {
			t.Errorf("%+v: %d, %d", c, send, least)
		}
	}
}
