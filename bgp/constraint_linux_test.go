package bgp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// With graceful restart GoBGP says when it has told all memberships, which ends our wait for them.
const gobgpRTC = gobgpEVPN + `
  [neighbors.afi-safis.mp-graceful-restart.config]
   enabled = true
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "rtc"
  [neighbors.afi-safis.mp-graceful-restart.config]
   enabled = true
 [neighbors.graceful-restart.config]
  enabled = true
  restart-time = 120
`

// tenants has GoBGP originate routes of two tenants.
func tenants(t *testing.T, g *gobgp, addr string) {
	t.Helper()
	for _, c := range []string{
		"macadv 52:54:00:00:00:0a 0.0.0.0 etag 0 label 100 rd ADDR:100 rt 65000:100 encap vxlan",
		"macadv 52:54:00:00:00:0b 0.0.0.0 etag 0 label 200 rd ADDR:200 rt 65000:200 encap vxlan",
		"multicast ADDR etag 0 rd ADDR:100 rt 65000:100 encap vxlan pmsi ingress-repl 100 ADDR",
		"multicast ADDR etag 0 rd ADDR:200 rt 65000:200 encap vxlan pmsi ingress-repl 200 ADDR",
	} {
		c = strings.ReplaceAll(c, "ADDR", addr)
		if out := g.gobgp(append(strings.Fields("global rib add -a evpn"), strings.Fields(c)...)...); strings.TrimSpace(out) != "" {
			t.Fatal(c, out)
		}
	}
}

// TestConstrainGoBGP: GoBGP, which asks for the route targets that its VRFs import, is sent the routes that have them.
// Another GoBGP and FRR 8.4 do not speak the family, and are sent everything. We ask for everything, so that all are
// sent what they want: with memberships the one that does not ask would get nothing from the one that heeds them.
// (GoBGP 3.10 does not survive that one of its VRFs is deleted while it has the default route target from us: a nil
// pointer in deleteRTCPathsByVrf.)
func TestConstrainGoBGP(t *testing.T) {
	t.Run("default", func(t *testing.T) { constrainGoBGP(t, true) })
	t.Run("memberships", func(t *testing.T) { constrainGoBGP(t, false) })
}

func constrainGoBGP(t *testing.T, mixed bool) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{Enabled: true}})
	clients(r, func(c *PeerConfig) {
		c.Families, c.AddPathSend, c.AddPathReceive, c.IPv6NextHop = []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}, nil, nil, false
		c.DefaultMembership = mixed
	})
	if mixed {
		r.must(r.Table().Originate(rib.LocalPath{Membership: &wire.Membership{}}))
	}
	plain, asks := startGoBGP(l, 3, gobgpEVPN), startGoBGP(l, 4, gobgpRTC)
	r.waitState("10.77.0.3", Established)
	r.waitState("10.77.0.4", Established)
	st, err := r.Peer(PeerKey{Addr: netip.MustParseAddr("10.77.0.4")})
	if err != nil || !st.Negotiated.Families.Has(wire.RTConstrain) {
		t.Fatal(st.Negotiated, err)
	}
	tenants(t, plain, "10.77.0.3")
	ribOf := func(g *gobgp) func() string {
		return func() string { return g.gobgp("global", "rib", "-a", "evpn") }
	}
	has := func(what string, red, blue bool) {
		t.Helper()
		nstest.Wait(t, nstest.Patience, what, func() bool {
			s := ribOf(asks)()
			return strings.Contains(s, "52:54:00:00:00:0a") == red && strings.Contains(s, "[rd:10.77.0.3:100][etag:0][ip:10.77.0.3]") == red &&
				strings.Contains(s, "52:54:00:00:00:0b") == blue && strings.Contains(s, "[rd:10.77.0.3:200][etag:0][ip:10.77.0.3]") == blue
		})
	}
	nstest.Wait(t, nstest.Patience, "GoBGP's routes in our table", func() bool { return len(routesFrom(r.Table(), "10.77.0.3")) == 4 })
	asks.gobgp("vrf", "add", "red", "rd", "10.77.0.4:100", "rt", "both", "65000:100")
	has("the routes of one tenant", true, false)
	asks.gobgp("vrf", "add", "blue", "rd", "10.77.0.4:200", "rt", "both", "65000:200")
	has("the routes of two tenants", true, true)
	if !mixed {
		asks.gobgp("vrf", "del", "red")
		has("the routes of the other tenant", false, true)
		if n := len(r.advertised("10.77.0.4", wire.L2VPNEVPN)); n != 2 {
			t.Errorf("%d routes advertised", n)
		}
		return
	}
	f := startFRR(l, 5, frrEVPN)
	vtep(f.program, "10.77.0.5")
	r.waitState("10.77.0.5", Established)
	tenants(t, asks, "10.77.0.4")
	asks.gobgp("vrf", "add", "green", "rd", "10.77.0.4:300", "rt", "both", "65000:300") // memberships may change beside our default
	nstest.Wait(t, nstest.Patience, "routes of the one that asks at the one that does not", func() bool {
		s := ribOf(plain)()
		return strings.Count(s, "[rd:10.77.0.4:") == 4 && strings.Contains(s, "[rd:10.77.0.5:2][etag:0][ip:10.77.0.5]")
	})
	for _, x := range append(routesFrom(r.Table(), "10.77.0.3"), routesFrom(r.Table(), "10.77.0.4")...) {
		f.waitFor("GoBGP's route at FRR", "show bgp l2vpn evpn", x.String())
	}
	waitText(t, "FRR's end of the tunnel at the one that asks", "[type:multicast][rd:10.77.0.5:2][etag:0][ip:10.77.0.5]", ribOf(asks))
	for _, m := range r.advertised("10.77.0.4", wire.RTConstrain) {
		if m, _ := wire.MembershipOfKey(m.Key); m != (wire.Membership{}) {
			t.Errorf("membership %v advertised", m)
		}
	}
}

// TestConstrainedByGoBGP: we ask GoBGP for route targets, and it sends the routes that have them.
func TestConstrainedByGoBGP(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{})
	const red, blue = wire.ExtCommunity(0x0002fde800000064), wire.ExtCommunity(0x0002fde8000000c8)
	want := func(target wire.ExtCommunity) {
		m := wire.NewMembership(65000, target)
		r.must(r.Table().Originate(rib.LocalPath{Membership: &m}))
	}
	want(red)
	g := startGoBGP(l, 4, strings.Replace(gobgpRTC, "[[neighbors.afi-safis]]", "[neighbors.route-reflector.config]\n  route-reflector-client = true\n [[neighbors.afi-safis]]", 1))
	r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.77.0.4"), Passive: true, Families: []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}}))
	r.waitState("10.77.0.4", Established)
	tenants(t, g, "10.77.0.4")
	has := func(what string, names ...string) {
		t.Helper()
		nstest.Wait(t, nstest.Patience, what, func() bool {
			list := routesFrom(r.Table(), "10.77.0.4")
			for _, x := range list {
				if !strings.HasSuffix(x.RD.String(), names[0]) && !strings.HasSuffix(x.RD.String(), names[len(names)-1]) {
					return false
				}
			}
			return len(list) == 2*len(names)
		})
	}
	has("the routes of one tenant", ":100")
	want(blue)
	has("the routes of two tenants", ":100", ":200")
	r.Table().WithdrawMembership(wire.NewMembership(65000, red), 0)
	has("the routes of the other tenant", ":200")
}
