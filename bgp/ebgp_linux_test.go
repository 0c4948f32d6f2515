package bgp

import (
	"bytes"
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
	says  bool     // killed, it sends Cease/Administrative Shutdown: its routes go
	// again is what it needs after a restart, to announce its route.
	again func(p *program)
	// leaveIdle is given if it refuses the route refresh that it offers ("AID IPv4 unicast not
	// negotiated"), so that a changed policy takes another session. After our NOTIFICATION it is Idle for
	// more than half a minute, unless it is asked to leave that state.
	leaveIdle func(p *program)
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
	{name: "OpenBGPD", says: true, want: []string{"65001\n", "10.77.0.1", "metric 55"},
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
		route:     func(p *program) string { return (&openbgpd{p}).bgpctl("show", "rib", "detail", "203.0.113.0/24") },
		leaveIdle: func(p *program) { (&openbgpd{p}).bgpctl("neighbor", "10.77.0.1", "up") },
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
	if p.leaveIdle != nil {
		r.must(r.Reset(c.Key(), "for want of a route refresh", false))
		sessions = 2
		nstest.Wait(t, 10*time.Second, "another session", func() bool {
			p.leaveIdle(d)
			st, _ := r.Peer(c.Key())
			return st.Established == sessions
		})
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

// TestEBGPWeRestart: we are killed and come back, and the external peer is our helper: at no moment
// has it lost our route.
func TestEBGPWeRestart(t *testing.T) {
	for _, p := range ebgpPeers {
		if !p.says { // not tried with OpenBGPD
			t.Run(p.name, func(t *testing.T) { p.weRestart(t) })
		}
	}
}

func (p *ebgpPeer) weRestart(t *testing.T) {
	l := newLAN(t)
	c := external(PeerConfig{Addr: netip.MustParseAddr("10.77.0.2"), AS: 65012})
	c.Export = rib.SetMED(55)
	if p.roles {
		c.EBGP.Role = wire.RoleProvider
	}
	gr := GracefulRestart{Enabled: true, RestartTime: 2 * time.Minute}
	r := startReal(t, l.hub, Config{AS: 65001, GracefulRestart: gr})
	r.must(r.AddPeer(c))
	r.originate("203.0.113.0/24", "203.0.113.128/25")
	r.InventoryComplete()
	d := p.start(l, false)
	r.waitState("10.77.0.2", Established)
	if p.again != nil {
		p.again(d)
	}
	r.waitPaths("192.0.2.0/24", 1)
	has := func() bool { return strings.Contains(p.route(d), "10.77.0.1") }
	nstest.Wait(t, 20*time.Second, "our route", has)
	// FRR writes it to its kernel, which says what has happened to it meanwhile.
	inKernel := func() bool {
		out, _ := d.ns.Command("ip", "route", "show", "203.0.113.0/24").Output()
		return len(out) > 0
	}
	var monitored bytes.Buffer
	if p.name == "FRR" {
		nstest.Wait(t, 20*time.Second, "our route in FRR's kernel", inKernel)
		monitor := d.ns.Command("ip", "monitor", "route")
		monitor.Stdout = &monitored
		if err := monitor.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = monitor.Process.Kill()
			_ = monitor.Wait()
			if !strings.Contains(monitored.String(), "Deleted 203.0.113.128/25") || strings.Contains(monitored.String(), "Deleted 203.0.113.0/24") {
				t.Errorf("FRR's kernel: %s", monitored.String())
			}
		}()
	}

	looks, lost, stop, stopped := 0, 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if looks++; !has() {
				lost++
			}
		}
	}()
	r.stop()
	time.Sleep(2 * time.Second) // in which we are away
	gr.Restarting, gr.ForwardingPreserved = true, true
	again := startReal(t, l.hub, Config{AS: 65001, GracefulRestart: gr})
	again.must(again.AddPeer(c))
	again.originate("203.0.113.0/24") // the other one is gone
	again.InventoryComplete()
	again.waitState("10.77.0.2", Established)
	again.waitPaths("192.0.2.0/24", 1)
	nstest.Wait(t, 30*time.Second, "the end of our restart", func() bool { return !again.Restarting() })
	time.Sleep(2 * time.Second) // in which the peer may still take something away
	close(stop)
	<-stopped
	t.Logf("looked %d times", looks)
	if lost > 0 || looks < 5 {
		t.Errorf("of %d looks at the peer's table %d did not find our route", looks, lost)
	}
	if st, _ := again.Peer(c.Key()); st.Established != 1 || !st.Negotiated.Local.GracefulRestart.Restarting {
		t.Errorf("%d sessions, our OPEN has %+v", st.Established, st.Negotiated.Local.GracefulRestart)
	}
}

// TestAnyASTTL: a peer whose AS was not known before its OPEN, and that is external, is sent packets
// with a TTL of 1 from then on, whoever has connected.
func TestAnyASTTL(t *testing.T) {
	for _, passive := range []bool{false, true} {
		t.Run(fmt.Sprintf("passive=%v", passive), func(t *testing.T) {
			l := newLAN(t)
			r := startReal(t, l.hub, Config{AS: 65001})
			c := external(PeerConfig{Addr: netip.MustParseAddr("10.77.0.2"), AS: AnyAS, HoldTime: 3 * time.Second, Passive: passive})
			r.must(r.AddPeer(c))
			b := startBIRD(l, 2, `
protocol bgp hub {
  local 10.77.0.2 as 65012; neighbor 10.77.0.1 as 65001; `+onlyIf(!passive, "passive on;")+`
  connect delay time 1; connect retry time 2; ipv4 { import all; export all; };
}
`)
			r.waitState("10.77.0.2", Established)
			nstest.Need(t, "nft")
			b.ns.Exec("nft", "add table ip far; add chain ip far in { type filter hook input priority 0; }; add rule ip far in tcp sport 179 ip ttl > 1 drop; add rule ip far in tcp dport 179 ip ttl > 1 drop")
			time.Sleep(5 * time.Second) // more than the hold time
			if st, err := r.Peer(c.Key()); err != nil || st.State != Established || st.Established != 1 {
				t.Errorf("%v, %d sessions, %v; last error %v", st.State, st.Established, err, st.LastError)
			}
		})
	}
}
