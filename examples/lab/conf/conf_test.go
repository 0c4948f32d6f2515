package conf

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

var timing = Timing{BFD: 100 * time.Millisecond, Multiplier: 5}

// one is a lab with one reflector for both fabrics; in noBFD that of fabric A is a
// Quagga: no BFD, no IPv6; in keepStale it is FRR.
var (
	one       = Timing{BFD: timing.BFD, Multiplier: timing.Multiplier, OneReflector: true}
	keepStale = Timing{BFD: timing.BFD, Multiplier: timing.Multiplier, KeepStale: plan.Fabrics[:1]}
	noBFD     = Timing{BFD: timing.BFD, Multiplier: timing.Multiplier, NoBFD: plan.Fabrics[:1], IPv4Only: plan.Fabrics[:1], Echo: true}
)

func TestConfigurations(t *testing.T) {
	for name, have := range map[string]string{
		"bird-hv1.conf":               BirdHypervisor(1, timing),
		"bird-internet.conf":          BirdEdge(timing, 2),
		"bird-rr1.public.conf":        BirdReflector(plan.A, false, timing),
		"bird-rr2.private.conf":       BirdReflector(plan.B, true, timing),
		"hv1.evpn.yaml":               Hypervisor(1, "/run/lab/hv1.sock", evpn(timing)),
		"rr1.private.evpn.args":       strings.Join(ReflectorArgs(plan.A, true, evpn(timing)), "\n") + "\n",
		"frr-rr1.private.evpn.conf":   FrrBgpd(plan.A, true, false, evpn(timing)),
		"gobgp-rr1.private.evpn.toml": Gobgp(plan.A, true, false, evpn(timing)),
		"hv1.yaml":                    Hypervisor(1, "/run/lab/hv1.sock", timing),
		"hv3.yaml":                    Hypervisor(3, "/run/lab/hv3.sock", timing),
		"hv1-netns.yaml":              Hypervisor(1, "/run/lab/hv1.sock", inNetNS(timing)),
		"rr1.one.args":                strings.Join(ReflectorArgs(plan.A, false, one), "\n") + "\n",
		"bird-rr1.one.conf":           BirdReflector(plan.A, true, one),
		"junos-rr2.args":              strings.Join(JunosArgs(plan.B, timing), "\n") + "\n",
		"quagga-rr1.conf":             FrrBgpd(plan.A, false, true, timing),
		"frr-rr1.conf":                FrrBgpd(plan.A, false, false, timing),
		"bird1-rr1.public6.conf":      Bird1Reflector(plan.A, false, 6, timing),
		"bird-rr2.single.conf":        BirdReflector(plan.B, true, sharing(timing, plan.SessionsSingle)),
		"bird-rr2.one.conf":           BirdReflector(plan.B, false, sharing(timing, plan.SessionsOne)),
		"frr-rr2.one.bfdd.conf":       FrrBfdd(plan.B, false, sharing(timing, plan.SessionsOne)),
		"frr-rr1.private.conf":        FrrBgpd(plan.A, true, false, timing),
		"hv1.mp-bgp.yaml":             Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsMP)),
		"internet.one.args":           strings.Join(EdgeArgs("/run/lab/internet.sock", sharing(timing, plan.SessionsOne), 7), "\n") + "\n",
		"rr1.communities.args":        strings.Join(ReflectorArgs(plan.A, false, sharing(timing, plan.SessionsCommunities)), "\n") + "\n",
		"gobgp-rr1.toml":              Gobgp(plan.A, false, false, timing),
		"gobgp-rr2.named.toml":        Gobgp(plan.B, true, true, timing),
		"openbgpd-rr1.conf":           Openbgpd(plan.A, false, "/run/lab/rr1.ctl"),
		"hv1.communities.yaml":        Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsCommunities)),
		"hv1.single.yaml":             Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsSingle)),
		"hv1.one.yaml":                Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsOne)),
		"rr2.single.args":             strings.Join(ReflectorArgs(plan.B, false, sharing(timing, plan.SessionsSingle)), "\n") + "\n",
		"hv1.frr.yaml":                Hypervisor(1, "/run/lab/hv1.sock", keepStale),
		"internet.frr.args":           strings.Join(EdgeArgs("/run/lab/internet.sock", keepStale, 0), "\n") + "\n",
		"hv1.echo.yaml":               Hypervisor(1, "/run/lab/hv1.sock", noBFD),
		"hv1.ebgp-tor.yaml":           Hypervisor(1, "/run/lab/hv1.sock", routed(timing)),
		"hv1.ebgp-tor.frr.yaml":       Hypervisor(1, "/run/lab/hv1.sock", routed(keepStale)),
		"internet.ebgp-tor.args":      strings.Join(EdgeArgs("/run/lab/internet.sock", routed(timing), 0), "\n") + "\n",
		"tor1a.args":                  strings.Join(UnderlayArgs(routed(timing).UnderlayRouters()[0], "/run/lab/tor1a.sock", routed(timing)), "\n") + "\n",
		"bird-tor2a.conf":             BirdTor(routed(timing).UnderlayRouters()[4], false, routed(timing)),
		"frr-tor1b.private.conf":      FrrTor(routed(timing).UnderlayRouters()[3], routed(timing)),
		"hv2.mixed.yaml":              Hypervisor(2, "/run/lab/hv2.sock", mixed(timing)),
		"spinea.mixed.args":           strings.Join(UnderlayArgs(mixed(timing).UnderlayRouters()[8], "/run/lab/spinea.sock", mixed(timing)), "\n") + "\n",
		"spinebp.mixed.args":          strings.Join(UnderlayArgs(mixed(timing).UnderlayRouters()[11], "/run/lab/spinebp.sock", mixed(timing)), "\n") + "\n",
		"bird-rr1.mixed.conf":         BirdReflector(plan.A, false, mixed(timing)),
		"rr1.public.args":             strings.Join(ReflectorArgs(plan.A, false, timing), "\n") + "\n",
		"rr2.private.args":            strings.Join(ReflectorArgs(plan.B, true, timing), "\n") + "\n",
	} {
		t.Run(name, func(t *testing.T) { scenario.Golden(t, filepath.Join("testdata", name), have) })
	}
}

// evpn is the variant with EVPN on the overlay.
func evpn(t Timing) Timing {
	t.Overlay = plan.OverlayEVPN
	return t
}

// inNetNS is the variant with a namespace per domain.
func inNetNS(t Timing) Timing {
	t.Mode, t.PublicNetNS = plan.ModeNetNS, "/run/lab/ns/hv1-public"
	return t
}

// routed is the variant with top-of-rack routers.
func routed(t Timing) Timing {
	t.Mode = plan.ModeEBGPToR
	return t
}

// mixed is the same with reflectors for hypervisor 2.
func mixed(t Timing) Timing {
	t = routed(t)
	t.Stay = []int{2}
	return t
}

// hvrouter itself must like what is written for it.
func TestHypervisorIsValid(t *testing.T) {
	for n := 1; n <= plan.HVs; n++ {
		if _, err := config.Parse("hv.yaml", []byte(Hypervisor(n, "/run/lab/hv.sock", inNetNS(timing))), config.TableNames{}); err != nil {
			t.Fatalf("hypervisor %d with namespaces: %v", n, err)
		}
		c, err := config.Parse("hv.yaml", []byte(Hypervisor(n, "/run/lab/hv.sock", timing)), config.TableNames{})
		if err != nil {
			t.Fatalf("hypervisor %d: %v", n, err)
		}
		for _, other := range []Timing{keepStale, noBFD, routed(timing), mixed(timing), evpn(timing)} {
			if _, err := config.Parse("hv.yaml", []byte(Hypervisor(n, "/run/lab/hv.sock", other)), config.TableNames{}); err != nil {
				t.Fatalf("hypervisor %d: %v", n, err)
			}
		}
		if len(c.Guests) != len(timing.GuestsOf(n)) {
			t.Errorf("hypervisor %d has %d guests, want %d", n, len(c.Guests), len(timing.GuestsOf(n)))
		}
	}
}

// A restart time is short where it alone ends the routes of a host that died during a
// restart, and so is the hold time where it is what notices.
func TestTimes(t *testing.T) {
	with := func(change func(*Timing)) Timing { t := timing; change(&t); return t }
	for name, c := range map[string]struct {
		t                 Timing
		hold, restartA, b time.Duration
	}{
		"all flush":             {timing, 90, 120, 120},
		"one keeps stale paths": {keepStale, 90, 10, 120},
		"one without BFD":       {noBFD, 9, 10, 120},
		"no BFD at all":         {with(func(t *Timing) { t.Resilience = plan.ResilienceGR }), 9, 10, 10},
		"as told":               {with(func(t *Timing) { t.Hold, t.Restart, t.NoBFD = 30*time.Second, 7*time.Second, plan.Fabrics }), 30, 7, 7},
	} {
		if h, a, b := c.t.HoldTime(), c.t.RestartTime(plan.A), c.t.RestartTime(plan.B); h != c.hold*time.Second || a != c.restartA*time.Second || b != c.b*time.Second {
			t.Errorf("%s: hold time %v, restart times %v and %v", name, h, a, b)
		}
	}
}

func TestDetection(t *testing.T) {
	if d := timing.Detection(); d != 500*time.Millisecond {
		t.Errorf("detection %v, want 500ms", d)
	}
}

// sharing is a timing with fewer sessions.
func sharing(t Timing, sessions string) Timing {
	t.Sessions = sessions
	return t
}
