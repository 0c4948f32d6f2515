package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// ebgpPeer is another implementation as our external peer. It is in AS 65012 at 10.77.0.2, knows
// us as AS 65001, and announces 192.0.2.0/24 with MED 77. The table in docs/ebgp.md says what of
// it works, which is what TestEBGP checks.
type ebgpPeer struct {
	name string
	// start begins it, with GTSM or with a TTL of 1, and as our customer.
	start func(l *lan, gtsm bool) *program
	// route asks it for our route 203.0.113.0/24.
	route func(p *program) string
	want  []string // must be in the answer
	roles bool     // it has the roles of RFC 9234, Section 4.1
	deaf  bool     // it offers route refresh, and refuses it ("AID IPv4 unicast not negotiated")
	says  bool     // killed, it sends Cease/Administrative Shutdown: its routes go
	// again is what it needs after a restart, to announce its route.
	again func(p *program)
}

var ebgpPeers = []ebgpPeer{
	{name: "BIRD", roles: true, want: []string{"BGP.as_path: 65001\n", "BGP.next_hop: 10.77.0.1", "BGP.med: 55", "BGP.otc: 65001"},
		start: func(l *lan, gtsm bool) *program {
			return startBIRD(l, 2, `
protocol static s4 { ipv4; route 192.0.2.0/24 blackhole; }
protocol bgp hub {
  local 10.77.0.2 as 65012; neighbor 10.77.0.1 as 65001;
  connect delay time 1; connect retry time 2; error wait time 1, 2;
  graceful restart on; local role customer; require roles on; enforce first as on;
  `+onlyIf(gtsm, "ttl security on;")+`
  ipv4 { import all; export filter { bgp_med = 77; accept; }; };
}
`).program
		},
		route: func(p *program) string { return (&bird{p}).birdc("show route 203.0.113.0/24 all") },
	},
	{name: "FRR", roles: true, want: []string{"65001\n", "10.77.0.1 from 10.77.0.1", "metric 55", "otc 65001"},
		start: func(l *lan, gtsm bool) *program {
			return startFRR(l, 2, `
router bgp 65012
 bgp router-id ROUTERID
 bgp graceful-restart
 no bgp network import-check
 neighbor 10.77.0.1 remote-as 65001
 neighbor 10.77.0.1 timers connect 1
 neighbor 10.77.0.1 advertisement-interval 0
 neighbor 10.77.0.1 enforce-first-as
 neighbor 10.77.0.1 local-role customer strict-mode
 `+onlyIf(gtsm, "neighbor 10.77.0.1 ttl-security hops 1")+`
 address-family ipv4 unicast
  network 192.0.2.0/24
  neighbor 10.77.0.1 route-map IN in
  neighbor 10.77.0.1 route-map OUT out
 exit-address-family
!
route-map IN permit 10
route-map OUT permit 10
 set metric 77
`).program
		},
		route: func(p *program) string { return (&frr{p}).vtysh("show bgp ipv4 unicast 203.0.113.0/24") },
	},
	{name: "GoBGP", want: []string{"10.77.0.1", "65001 ", "Med: 55"},
		start: func(l *lan, gtsm bool) *program {
			return startGoBGP(l, 2, `[global.config]
 as = 65012
 router-id = "10.77.0.2"
[[neighbors]]
 [neighbors.config]
  peer-as = 65001
  neighbor-address = "10.77.0.1"
 [neighbors.timers.config]
  connect-retry = 1
 [neighbors.graceful-restart.config]
  enabled = true
  restart-time = 120
`+onlyIf(gtsm, " [neighbors.ttl-security.config]\n  enabled = true\n  ttl-min = 255\n")+`
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv4-unicast"
  [neighbors.afi-safis.mp-graceful-restart.config]
   enabled = true
`).program
		},
		route: func(p *program) string { return (&gobgp{p}).gobgp("global", "rib", "203.0.113.0/24") },
		again: func(p *program) {
			waitText(p.tb, "the API", "10.77.0.1", func() string { return (&gobgp{p}).gobgp("neighbor") })
			(&gobgp{p}).gobgp("global", "rib", "add", "192.0.2.0/24", "med", "77")
		},
	},
	{name: "OpenBGPD", deaf: true, says: true, want: []string{"65001\n", "10.77.0.1", "metric 55"},
		start: func(l *lan, gtsm bool) *program {
			return startOpenBGPDWith(l, 2, `AS 65012
network 192.0.2.0/24
neighbor 10.77.0.1 {
  remote-as 65001
  announce IPv4 unicast
  enforce neighbor-as yes
  `+onlyIf(gtsm, "ttl-security yes")+`
}
allow from ebgp
allow to ebgp
match to ebgp set metric 77
`).program
		},
		route: func(p *program) string { return (&openbgpd{p}).bgpctl("show", "rib", "detail", "203.0.113.0/24") },
	},
}

func onlyIf(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// TestEBGP: routes, AS path, next hop and MED both ways, with a TTL of 1 and with GTSM, a
// graceful restart of the peer, BFD strict mode that is offered in vain, roles where the peer has them, and no policy (RFC 8212, Section 3).
func TestEBGP(t *testing.T) {
	for _, p := range ebgpPeers {
		for _, gtsm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s gtsm=%v", p.name, gtsm), func(t *testing.T) { p.test(t, gtsm) })
		}
	}
}

func (p *ebgpPeer) test(t *testing.T, gtsm bool) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{AS: 65001, GracefulRestart: GracefulRestart{Enabled: true, RestartTime: 2 * time.Minute}})
	// BFD strict mode is offered, which none of them knows: an ordinary session.
	c := PeerConfig{Addr: netip.MustParseAddr("10.77.0.2"), AS: 65012, TTLSecurity: gtsm, BFDStrict: fsm.StrictConfig{Enabled: true}}
	if p.roles {
		c.EBGP.Role, c.RoleStrict = wire.RoleProvider, true
	}
	r.must(r.AddPeer(c))
	r.originate("203.0.113.0/24")
	d := p.start(l, gtsm)
	r.waitState("10.77.0.2", Established)
	if p.again != nil {
		p.again(d)
	}

	// Without policies: nothing.
	nstest.Wait(t, 10*time.Second, "refusal for want of a policy", func() bool {
		st, _ := r.Peer(c.Key())
		return st.Families[0].Refused[rib.ReasonNoPolicy] > 0 && st.MissingPolicy == MissingPolicy{true, true}
	})
	if got := r.watchPaths("192.0.2.0/24"); len(got) > 0 || strings.Contains(p.route(d), p.want[0]) {
		t.Errorf("%v; peer: %s", got, p.route(d))
	}
	c.Import, c.Export = rib.AcceptAll, rib.SetMED(55)
	r.must(r.UpdatePeer(c))
	sessions := 1
	if p.deaf {
		r.must(r.Reset(c.Key(), "for want of a route refresh", false))
		r.waitPaths("192.0.2.0/24", 1)
		sessions = 2
	}
	path := r.waitPaths("192.0.2.0/24", 1)[0]
	if med, _ := path.Attrs.MED(); path.Attrs.ASPath().String() != "65012" || med != 77 || path.NextHop.Addr != c.Addr {
		t.Errorf("AS path %v, MED %d, next hop %v", path.Attrs.ASPath(), med, path.NextHop)
	}
	for _, want := range p.want {
		waitText(t, "our route", want, func() string { return p.route(d) })
	}
	st, _ := r.Peer(c.Key())
	if st.Established != sessions || st.Negotiated == nil || !st.Negotiated.GracefulRestart || !st.Negotiated.Local.BFDStrict || st.Negotiated.BFDStrict {
		t.Errorf("%d sessions, negotiated %+v", st.Established, st.Negotiated)
	}

	// The peer restarts.
	d.kill()
	if p.says {
		r.waitPaths("192.0.2.0/24", 0)
	} else {
		nstest.Wait(t, 20*time.Second, "stale", func() bool { x := r.watchPaths("192.0.2.0/24"); return len(x) == 1 && x[0].Stale })
	}
	d.start()
	if p.again != nil {
		p.again(d)
	}
	r.waitState("10.77.0.2", Established)
	nstest.Wait(t, 30*time.Second, "fresh", func() bool { x := r.watchPaths("192.0.2.0/24"); return len(x) == 1 && !x[0].Stale })

	if !p.roles {
		return
	}
	// Another role than it expects.
	c.EBGP.Role = wire.RolePeer
	r.must(r.UpdatePeer(c))
	nstest.Wait(t, 20*time.Second, "role mismatch", func() bool {
		st, _ := r.Peer(c.Key())
		return st.LastError != nil && strings.Contains(st.LastError.Error(), "Role Mismatch (2/11)")
	})
}
