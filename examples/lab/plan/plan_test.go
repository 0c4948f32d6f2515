package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What each choice means to the rest of the lab.
func TestVariant(t *testing.T) {
	for _, c := range []struct {
		name, value                                                     string
		shared, oneSided, apart, watched, graceful, localOut, published bool
		hvSessions, edgeSessions                                        int
	}{
		{"mode", ModeRules, false, false, false, true, true, true, true, 6, 4},
		{"mode", ModeBlackholeRules, false, false, false, true, true, true, false, 6, 4},
		{"mode", ModeNoLocalOut, false, false, false, true, true, false, false, 6, 4},
		{"mode", ModeNetNS, false, false, true, true, true, false, false, 6, 4},
		{"mode", ModeVRF, false, false, false, true, true, false, false, 6, 4},
		{"mode", ModeFwmark, false, false, false, true, true, true, false, 6, 4},
		{"mode", ModeEBGPToR, false, false, false, true, true, true, false, 4, 2},
		{"sessions", SessionsMP, false, false, false, true, true, true, false, 4, 4},
		{"sessions", SessionsCommunities, true, false, false, true, true, true, false, 2, 4},
		{"sessions", SessionsSingle, false, true, false, true, true, true, false, 3, 2},
		{"sessions", SessionsOne, true, true, false, true, true, true, false, 1, 2},
		{"resilience", ResilienceBFD, false, false, false, true, false, true, false, 6, 4},
		{"resilience", ResilienceGR, false, false, false, false, true, true, false, 6, 4},
		{"resilience", ResilienceLL, false, false, false, false, true, true, false, 6, 4},
	} {
		var v Lab
		if err := v.Set(c.name, c.value); err != nil {
			t.Fatal(err)
		}
		is := []bool{v.Shared(), v.OneSided(), v.Apart(), v.Watched(), v.Graceful(), v.LocalOut(), v.Published()}
		want := []bool{c.shared, c.oneSided, c.apart, c.watched, c.graceful, c.localOut, c.published}
		if !slices.Equal(is, want) || v.HVSessions(1) != c.hvSessions || v.EdgeSessions() != c.edgeSessions {
			t.Errorf("-%s %s: %v, %d and %d sessions", c.name, c.value, is, v.HVSessions(1), v.EdgeSessions())
		}
		if (v.PublicVRF() == "") == (c.value == ModeVRF) {
			t.Errorf("-%s %s: VRF %q", c.name, c.value, v.PublicVRF())
		}
	}
	if err := new(Variant).Set("mode", "vlan"); err == nil {
		t.Error("-mode vlan is taken")
	}
	if a, b := PrivateGateway(A), PrivateGateway(B); a.String() != "172.22.15.1" || b.String() != "172.22.15.254" {
		t.Errorf("private gateways %v and %v", a, b)
	}
}

// The addresses as the lab's description lists them.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		have fmt.Stringer
		want string
	}{
		{HVPublic4(1, A), "198.51.100.101"}, {HVPublic4(3, B), "198.51.100.203"},
		{HVPrivate4(2, A), "172.22.15.102"}, {HVPrivate4(2, B), "172.22.15.202"},
		{HVPublic6(1, A), "2001:db8:c633:6400::1"}, {HVPublic6(3, B), "2001:db8:c633:6401::3"},
		{Loopback(2), "172.22.2.2"}, {RouterID(3), "0.0.1.3"},
		{RRPublic4(A), "198.51.100.126"}, {RRPublic4(B), "198.51.100.226"},
		{RRPrivate4(A), "172.22.15.126"}, {RRPrivate4(B), "172.22.15.226"},
		{RRPublic6(A), "2001:db8:c633:6400::26"}, {RRPublic6(B), "2001:db8:c633:6401::26"},
		{EdgePublic4(A), "198.51.100.1"}, {EdgePublic4(B), "198.51.100.254"},
		{EdgePublic6(A), "2001:db8:c633:6400::ff"}, {EdgePublic6(B), "2001:db8:c633:6401::ff"},
		{Public4(A), "198.51.100.0/25"}, {Public4(B), "198.51.100.128/25"},
		{Private4(A), "172.22.15.0/25"}, {Private4(B), "172.22.15.128/25"},
		{Public6(B), "2001:db8:c633:6401::/120"},
		{Bulk(0), "10.0.0.0/28"}, {Bulk(17), "10.0.1.16/28"}, {Bulk(1<<20 - 1), "10.255.255.240/28"},
	} {
		if c.have.String() != c.want {
			t.Errorf("%s, want %s", c.have, c.want)
		}
	}
}

// The cables of the routed fabrics: each hypervisor has two routers in each domain, no two ends
// share an address, and no interface has two cables.
func TestCables(t *testing.T) {
	seen := map[string]bool{}
	once := func(what string) {
		if seen[what] {
			t.Errorf("%s twice", what)
		}
		seen[what] = true
	}
	l := Lab{Variant: Variant{Mode: ModeEBGPToR}}
	for _, c := range l.Cables() {
		once(c.MAC(false).String())
		once(c.MAC(true).String())
		once(c.Low.Node + " " + c.Low.Link)
		once(c.Up.Node + " " + c.Up.Link)
	}
	var b strings.Builder
	for _, node := range []string{HVName(1), HVName(3), EdgeName, TorName(2, B, true), SpineName(A, false)} {
		for _, a := range l.Adjacencies(node) {
			fmt.Fprintln(&b, node, a.Link, a.Local, a.Peer, a.Node, a.AS)
		}
	}
	const want = `hv1 a.public fe80::ff:fe00:1101 fe80::ff:fe00:1102 tor1a 65011
hv1 a.private fe80::ff:fe00:2101 fe80::ff:fe00:2102 tor1ap 65011
hv1 b.public fe80::ff:fe00:3101 fe80::ff:fe00:3102 tor1b 65012
hv1 b.private fe80::ff:fe00:4101 fe80::ff:fe00:4102 tor1bp 65012
hv3 a.public fe80::ff:fe00:1301 fe80::ff:fe00:1302 tor2a 65021
hv3 a.private fe80::ff:fe00:2301 fe80::ff:fe00:2302 tor2ap 65021
hv3 b.public fe80::ff:fe00:3301 fe80::ff:fe00:3302 tor2b 65022
hv3 b.private fe80::ff:fe00:4301 fe80::ff:fe00:4302 tor2bp 65022
internet a.public fe80::ff:fe00:1f01 fe80::ff:fe00:1f02 spinea 65100
internet b.public fe80::ff:fe00:3f01 fe80::ff:fe00:3f02 spineb 65100
tor2bp hv2 fe80::ff:fe00:4202 fe80::ff:fe00:4201 hv2 65002
tor2bp hv3 fe80::ff:fe00:4302 fe80::ff:fe00:4301 hv3 65003
tor2bp spine fe80::ff:fe00:4a01 fe80::ff:fe00:4a02 spinebp 65100
spinea tor1 fe80::ff:fe00:1902 fe80::ff:fe00:1901 tor1a 65011
spinea tor2 fe80::ff:fe00:1a02 fe80::ff:fe00:1a01 tor2a 65021
spinea internet fe80::ff:fe00:1f02 fe80::ff:fe00:1f01 internet 65200
`
	if b.String() != want {
		t.Errorf("have\n%swant\n%s", b.String(), want)
	}
	if a := l.Upstream(HVName(2), B, false); a.String() != "fe80::ff:fe00:3202" {
		t.Errorf("hypervisor 2 has %v on fabric B", a)
	}
	for _, r := range l.UnderlayRouters() {
		once(r.ID.String())
		once(r.Name)
	}
}

// Which hypervisors have what where some stay with reflectors, and how they are joined.
func TestMixed(t *testing.T) {
	l := Lab{Variant: Variant{Mode: ModeEBGPToR}, Stay: []int{2}}
	var b strings.Builder
	for n := 1; n <= HVs; n++ {
		fmt.Fprintln(&b, HVName(n), l.Routed(n), l.HVAS(n), l.HVSessions(n), l.Uplinks(n, A), l.Hops(n, A), l.PrivateHop(n, B))
	}
	for _, r := range l.UnderlayRouters() {
		if r.Rack == 0 {
			fmt.Fprintln(&b, r.Name, r.AS, l.Border(r), len(l.Adjacencies(r.Name)))
		} else if len(l.Border(r)) > 0 || len(l.Adjacencies(r.Name)) != 2 {
			fmt.Fprintln(&b, r.Name, l.Adjacencies(r.Name))
		}
	}
	fmt.Fprintln(&b, l.Exit(A, 4), l.Exit(B, 6), Lab{}.Exit(A, 4), Lab{}.Exit(B, 6))
	const want = `hv1 true 65001 4 [fe80::ff:fe00:1101 fe80::ff:fe00:2101] [fe80::ff:fe00:1102] 172.22.15.210
hv2 false 65000 6 [198.51.100.102 2001:db8:c633:6400::2 172.22.15.102] [198.51.100.110 2001:db8:c633:6400::10] 172.22.15.202
hv3 true 65003 4 [fe80::ff:fe00:1301 fe80::ff:fe00:2301] [fe80::ff:fe00:1302] 172.22.15.210
spinea 65000 [{198.51.100.110 198.51.100.126} {2001:db8:c633:6400::10 2001:db8:c633:6400::26}] 3
spineap 65000 [{172.22.15.110 172.22.15.126}] 2
spineb 65000 [{198.51.100.210 198.51.100.226} {2001:db8:c633:6401::10 2001:db8:c633:6401::26}] 3
spinebp 65000 [{172.22.15.210 172.22.15.226}] 2
198.51.100.110 2001:db8:c633:6401::10 198.51.100.1 2001:db8:c633:6401::ff
`
	if b.String() != want {
		t.Errorf("have\n%swant\n%s", b.String(), want)
	}
	for _, stay := range [][]int{nil, {1}, {1, 3}} {
		l.Stay = stay
		if !slices.Equal(l.Reflected(), stay) || l.Mixed() != (len(stay) > 0) {
			t.Errorf("hypervisors %v stay: %v have reflectors, mixed %v", stay, l.Reflected(), l.Mixed())
		}
	}
	if l := (Lab{}); l.Mixed() || l.Routed(1) || len(l.Reflected()) != HVs {
		t.Error("the published lab has top-of-rack routers")
	}
}

func TestGuests(t *testing.T) {
	var b strings.Builder
	for _, g := range (Lab{}).Guests() {
		fmt.Fprintln(&b, g.Name, HVName(g.HV), g.MAC, g.IPv4, g.Prefix6, g.IPv6(), g.LinkLocal(), g.Overlay(), g.OverlayTap(), g.Anycast, g.Transparent)
	}
	const want = `vm1 hv1 50:54:33:00:00:07 203.0.113.1 2001:db8:cb00:7100::/64 2001:db8:cb00:7100:5254:33ff:fe00:7 fe80::5254:33ff:fe00:7 192.168.5.1/24 vm1.vx true false
vm2 hv1 50:54:33:00:00:09 203.0.113.2 2001:db8:cb00:7101::/64 2001:db8:cb00:7101:5254:33ff:fe00:9 fe80::5254:33ff:fe00:9 192.168.5.2/24 vm2.vx false false
vm3 hv2 50:54:33:00:00:0f 203.0.113.3 2001:db8:cb00:7102::/64 2001:db8:cb00:7102:5254:33ff:fe00:f fe80::5254:33ff:fe00:f 192.168.5.3/24 vm3.vx true false
vm4 hv3 50:54:33:00:00:15 203.0.113.4 2001:db8:cb00:7103::/64 2001:db8:cb00:7103:5254:33ff:fe00:15 fe80::5254:33ff:fe00:15 192.168.5.4/24 vm4.vx false true
`
	if b.String() != want {
		t.Errorf("have\n%swant\n%s", b.String(), want)
	}
}

func TestGuestsHost(t *testing.T) {
	for i, g := range (Lab{Variant: Variant{Guests: GuestsHost}}).Guests() {
		want := fmt.Sprintf("2001:db8:cb00:7100::%d", i+1)
		if g.Prefix6.String() != want+"/128" || g.IPv6().String() != want || g.OnLink6().String() != want+"/64" {
			t.Errorf("%s has %s, %s, %s", g.Name, g.Prefix6, g.IPv6(), g.OnLink6())
		}
	}
}

// No two guests share anything, and the further guests' addresses are where they are
// expected.
func TestLoad(t *testing.T) {
	for _, kind := range []string{GuestsSLAAC, GuestsHost} {
		l := Lab{Variant: Variant{Guests: kind}, PerHV: MaxPerHV}
		seen := map[string]string{}
		for n := 1; n <= HVs; n++ {
			for _, g := range l.AllOf(n) {
				for _, has := range []string{g.Name, g.MAC.String(), g.IPv4.String(), g.Prefix6.String()} {
					if other, ok := seen[has]; ok {
						t.Fatalf("%s and %s both have %s", g.Name, other, has)
					}
					seen[has] = g.Name
				}
				if !LoadRange.Contains(g.IPv4) || g.HV != n || len(g.Name) > 15 {
					t.Errorf("%+v", g)
				}
			}
		}
	}
	if l := (Lab{}); len(l.AllOf(1)) != 2 || len(l.Unreachable()) != 1 {
		t.Error("the published lab has further guests")
	}
}
