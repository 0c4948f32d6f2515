package conf

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

var update = flag.Bool("update", false, "rewrite testdata")

var timing = Timing{BFD: 100 * time.Millisecond, Multiplier: 5}

// one is a lab with one reflector for both fabrics; in deaf that of fabric A is a
// Quagga: no BFD, no IPv6.
var (
	one  = Timing{BFD: timing.BFD, Multiplier: timing.Multiplier, OneReflector: true}
	deaf = Timing{BFD: timing.BFD, Multiplier: timing.Multiplier, Deaf: plan.Fabrics[:1], IPv4Only: plan.Fabrics[:1], Echo: true}
)

func TestConfigurations(t *testing.T) {
	for name, have := range map[string]string{
		"bird-hv1.conf":         BirdHypervisor(1, timing),
		"bird-internet.conf":    BirdEdge(timing, 2),
		"bird-rr1.public.conf":  BirdReflector(plan.A, false, timing),
		"bird-rr2.private.conf": BirdReflector(plan.B, true, timing),
		"hv1.yaml":              Hypervisor(1, "/run/lab/hv1.sock", timing),
		"hv3.yaml":              Hypervisor(3, "/run/lab/hv3.sock", timing),
		"hv1-netns.yaml":        Hypervisor(1, "/run/lab/hv1.sock", inNetNS(timing)),
		"rr1.one.args":          strings.Join(ReflectorArgs(plan.A, false, one), "\n") + "\n",
		"bird-rr1.one.conf":     BirdReflector(plan.A, true, one),
		"junos-rr2.args":        strings.Join(JunosArgs(plan.B, timing), "\n") + "\n",
		"quagga-rr1.conf":       FrrBgpd(plan.A, false, true, timing),
		"frr-rr1.conf":          FrrBgpd(plan.A, false, false, timing),
		"hv1.communities.yaml":  Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsCommunities)),
		"hv1.single.yaml":       Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsSingle)),
		"hv1.one.yaml":          Hypervisor(1, "/run/lab/hv1.sock", sharing(timing, plan.SessionsOne)),
		"rr2.single.args":       strings.Join(ReflectorArgs(plan.B, false, sharing(timing, plan.SessionsSingle)), "\n") + "\n",
		"hv1.echo.yaml":         Hypervisor(1, "/run/lab/hv1.sock", deaf),
		"rr1.public.args":       strings.Join(ReflectorArgs(plan.A, false, timing), "\n") + "\n",
		"rr2.private.args":      strings.Join(ReflectorArgs(plan.B, true, timing), "\n") + "\n",
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if have != string(want) {
			t.Errorf("%s differs; run with -update and look at the difference", name)
		}
	}
}

// inNetNS is the variant with a namespace per domain.
func inNetNS(t Timing) Timing {
	t.Mode, t.PublicNetNS = plan.ModeNetNS, "/run/lab/ns/hv1-public"
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
		if len(c.Guests) != len(timing.GuestsOf(n)) {
			t.Errorf("hypervisor %d has %d guests, want %d", n, len(c.Guests), len(timing.GuestsOf(n)))
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
