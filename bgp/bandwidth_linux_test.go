package bgp

import (
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/rib"
)

// TestLinkBandwidth: FRR and GoBGP understand the bandwidth that we announce over eBGP, and we FRR's:
// a community that is not transitive is for the peer itself. GoBGP 3.10 has no way to announce one but
// its API.
func TestLinkBandwidth(t *testing.T) {
	const gbit = 125e6
	for _, p := range []struct {
		name  string
		start func(l *lan) (route func() string)
		want  string  // what it says of ours, 10 Gbit/s
		sent  float32 // its own, 0 if it has none
	}{
		{name: "FRR", want: "LB:65001:1250000000 (10.000 Gbps)", sent: 25 * gbit, start: func(l *lan) func() string {
			f := startFRR(l, 2, `
router bgp 65012
 bgp router-id ROUTERID
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.77.0.1 remote-as 65001
 neighbor 10.77.0.1 timers connect 1
 neighbor 10.77.0.1 advertisement-interval 0
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor 10.77.0.1 route-map OUT out
 exit-address-family
!
route-map OUT permit 10
 set extcommunity bandwidth 25000
`)
			return func() string { return f.vtysh("show bgp ipv4 unicast 203.0.113.0/24") }
		}},
		{name: "GoBGP", want: "1250000000", start: func(l *lan) func() string {
			g := startGoBGP(l, 2, `[global.config]
 as = 65012
 router-id = "10.77.0.2"
[[neighbors]]
 [neighbors.config]
  peer-as = 65001
  neighbor-address = "10.77.0.1"
 [neighbors.timers.config]
  connect-retry = 1
`)
			waitText(l.tb, "the API", "10.77.0.1", func() string { return g.gobgp("neighbor") })
			g.gobgp("global", "rib", "add", "192.0.2.0/24")
			return func() string { return g.gobgp("global", "rib", "203.0.113.0/24") }
		}},
	} {
		t.Run(p.name, func(t *testing.T) {
			l := newLAN(t)
			r := startReal(t, l.hub, Config{AS: 65001})
			r.must(r.AddPeer(PeerConfig{Addr: netip.MustParseAddr("10.77.0.2"), AS: 65012, Import: rib.AcceptAll, Export: rib.SetLinkBandwidth(10 * gbit)}))
			r.originate("203.0.113.0/24")
			route := p.start(l)
			r.waitState("10.77.0.2", Established)
			if got := r.waitPaths("192.0.2.0/24", 1)[0]; got.Weight != p.sent {
				t.Errorf("it asks for %v octets a second, want %v", got.Weight, p.sent)
			}
			waitText(t, "our bandwidth", p.want, route)
		})
	}
}
