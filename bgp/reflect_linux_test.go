package bgp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// clients lets everybody on the network be a route reflector client.
func clients(r *real, edit func(*PeerConfig)) {
	r.tb.Helper()
	for _, prefix := range []string{"10.77.0.0/24", "fd77::/64"} {
		c := PeerConfig{
			Families: bothFamilies, RouteReflectorClient: true, IPv6NextHop: true,
			AddPathSend: bothFamilies, AddPathReceive: bothFamilies,
		}
		if edit != nil {
			edit(&c)
		}
		r.must(r.AddRange(RangeConfig{Prefix: netip.MustParsePrefix(prefix), Template: c}))
	}
}

const frrClient = `
router bgp 65000
 bgp router-id ROUTERID
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 10.77.0.1 remote-as 65000
 neighbor 10.77.0.1 timers connect 1
 neighbor 10.77.0.1 timers delayopen 1
 neighbor 10.77.0.1 capability extended-nexthop
 address-family ipv4 unicast
  network 198.18.0.0/24
  neighbor 10.77.0.1 activate
  neighbor 10.77.0.1 addpath-tx-all-paths
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:3::/48
  neighbor 10.77.0.1 activate
 exit-address-family
`

const gobgpClient = `
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "10.77.0.1"
 [neighbors.timers.config]
  connect-retry = 1
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv4-unicast"
  [neighbors.afi-safis.add-paths.config]
   receive = true
   send-max = 8
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv6-unicast"
`

// TestReflect reflects routes between BIRD, FRR and GoBGP, which connect as
// dynamic peers, with ADD-PATH.
func TestReflect(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{})
	clients(r, nil)
	b := startBIRD(l, 2, birdStatic+birdPeer(""))
	f := startFRR(l, 3, frrClient)
	g := startGoBGP(l, 4, gobgpClient)
	for _, addr := range []string{"10.77.0.2", "10.77.0.3", "10.77.0.4"} {
		r.waitState(addr, Established)
	}
	g.gobgp("global", "rib", "add", "198.19.0.0/24", "nexthop", "10.77.0.4")
	g.gobgp("global", "rib", "add", "192.0.2.0/24", "nexthop", "10.77.0.4", "origin", "igp")
	// Each hears of the others, with the next hop kept and the originator named.
	b.waitFor("FRR's route at BIRD", "show route 198.18.0.0/24 all", "BGP.next_hop: 10.77.0.3")
	b.waitFor("FRR's originator at BIRD", "show route 198.18.0.0/24 all", "BGP.originator_id: 10.77.0.3")
	b.waitFor("cluster list at BIRD", "show route 198.18.0.0/24 all", "BGP.cluster_list: 10.77.0.1")
	b.waitFor("FRR's IPv6 route at BIRD", "show route 2001:db8:3::/48 all", "BGP.originator_id: 10.77.0.3")
	f.waitFor("BIRD's route at FRR", "show bgp ipv4 unicast 198.51.100.7/32", "10.77.0.2 from 10.77.0.1")
	f.waitFor("BIRD's IPv6 route at FRR", "show bgp ipv6 unicast 2001:db8:2::/48", "fd77::2 from 10.77.0.1")
	waitText(t, "BIRD's route at GoBGP", "10.77.0.2", func() string { return g.gobgp("global", "rib", "198.51.100.7/32") })
	// Two ways to one prefix: FRR, which takes ADD-PATH, gets both.
	f.waitFor("two paths at FRR", "show bgp ipv4 unicast 192.0.2.0/24", "2 available")
	r.waitPaths("192.0.2.0/24", 2)
	// One goes.
	b.birdc("disable s4")
	f.waitFor("one path at FRR", "show bgp ipv4 unicast 192.0.2.0/24", "1 available")
	st, err := r.Peer(PeerKey{Addr: netip.MustParseAddr("10.77.0.3")})
	if err != nil || !st.Negotiated.AddPathSend.Has(wire.IPv4Unicast) {
		t.Errorf("%+v %v", st.Negotiated, err)
	}
}

// TestReflectMore adds OpenBGPD, ExaBGP and BIRD 1.6 as clients.
func TestReflectMore(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{Enabled: true}})
	clients(r, nil)
	openbgpd := startOpenBGPD(l, 5)
	exabgp := startExaBGP(l, 6)
	b := startBIRD(l, 2, birdStatic+birdPeer(""))
	for _, addr := range []string{"10.77.0.5", "10.77.0.6", "10.77.0.2"} {
		r.waitState(addr, Established)
	}
	b.waitFor("OpenBGPD's route at BIRD", "show route 198.18.5.0/24 all", "BGP.originator_id: 10.77.0.5")
	b.waitFor("ExaBGP's route at BIRD", "show route 198.18.6.0/24 all", "BGP.originator_id: 10.77.0.6")
	b.waitFor("ExaBGP's communities at BIRD", "show route 198.18.6.0/24 all", "(65000,90)")
	b.waitFor("ExaBGP's large community at BIRD", "show route 198.18.6.0/24 all", "(65000, 1, 2)")
	b.waitFor("ExaBGP's IPv6 route at BIRD", "show route 2001:db8:6::/48 all", "BGP.next_hop: fd77::6")
	waitText(t, "BIRD's route at OpenBGPD", "192.0.2.0/24", func() string { return openbgpd.bgpctl("show", "rib") })
	waitText(t, "ExaBGP's IPv6 route at OpenBGPD", "2001:db8:6::/48", func() string { return openbgpd.bgpctl("show", "rib") })
	_ = exabgp
	startBIRD1(l, 7)
	r.waitState("10.77.0.7", Established)
	b.waitFor("BIRD 1.6's route at BIRD 2", "show route 198.18.7.0/24 all", "BGP.originator_id: 10.77.0.7")
}

// TestStrictCapabilities: FRR refuses us for a family that we do not know (2/7), until it
// is told otherwise. The session that comes then has all that both know.
func TestStrictCapabilities(t *testing.T) {
	l := newLAN(t)
	f := startFRR(l, 2, `
router bgp 65000
 bgp router-id ROUTERID
 no bgp default ipv4-unicast
 bgp graceful-restart
 neighbor 10.77.0.1 remote-as 65000
 neighbor 10.77.0.1 passive
 neighbor 10.77.0.1 strict-capability-match
 address-family ipv4 unicast
  neighbor 10.77.0.1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.77.0.1 activate
 exit-address-family
 address-family ipv4 multicast
  neighbor 10.77.0.1 activate
 exit-address-family
`)
	r := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{Enabled: true, LongLivedTime: time.Hour}})
	key := PeerKey{Addr: netip.MustParseAddr("10.77.0.2")}
	r.must(r.AddPeer(PeerConfig{Addr: key.Addr, Families: bothFamilies, IdleHold: 2 * time.Second}))
	var first time.Time
	for _, which := range []string{"the refusal", "another refusal"} {
		nstest.Wait(t, 15*time.Second, which, func() bool {
			st, err := r.Peer(key)
			if err != nil || st.LastReceived == nil || st.LastReceived.Received.Subcode != wire.SubUnsupportedCapability || !st.LastReceived.Time.After(first) {
				return false
			}
			first = st.LastReceived.Time
			return true
		})
	}
	if st, _ := r.Peer(key); st.Established != 0 || st.Plain != nil {
		t.Errorf("%d sessions, plain %v", st.Established, st.Plain)
	}
	f.vtysh("configure\nrouter bgp 65000\nno neighbor 10.77.0.1 strict-capability-match")
	r.waitState("10.77.0.2", Established)
	st, _ := r.Peer(key)
	if n := st.Negotiated; n == nil || n.Families != wire.Families(bothFamilies...) || !n.AS4 || !n.GracefulRestart || !n.ExtendedMessage {
		t.Errorf("%+v", n)
	}
}
