package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// mixed reports whether some hypervisors have reflectors and others top-of-rack routers.
func mixed(l plan.Lab) bool { return l.Mixed() }

// unlike reports whether HV1 and HV2 are of different kinds.
func unlike(l plan.Lab) bool { return l.Mixed() && l.Routed(1) != l.Routed(2) }

// killed kills daemons of fabric A and starts them again.
func (run *Run) killed(daemons []*topology.Daemon) error {
	run.involved = []string{daemons[0].Name, "hv1", "hv2"}
	return run.watched([]int{1, 2}, true, run.Linger, func() error { return run.restart(daemons...) })
}

// reflectorRestart kills the reflector of fabric A, and spineRestart the spine.
func reflectorRestart(run *Run) error { return run.killed(run.Topology.Reflector(plan.A)) }

func spineRestart(run *Run) error { return run.killed(run.Topology.Spine(plan.A)) }

// spineCut makes the spine of fabric A silent: the top-of-rack routers notice by BFD, and so does
// the reflector.
func spineCut(run *Run) error {
	if run.unnoticed(plan.A) {
		return nil
	}
	spine := run.Topology.Spine(plan.A)
	run.involved = []string{spine[0].Name, "hv1", "hv2"}
	return run.silenced(1, run.passedOn(), func(cut bool) error { return run.Topology.CutRouters(plan.A, cut, spine...) })
}

// passedOn is the longest gap that a cut may cause of which some hear from others.
func (run *Run) passedOn() float64 {
	if !run.familiar() {
		return -1 // how long they keep a change to themselves is theirs
	}
	return run.cutLimit()
}

// netCut makes the two networks of fabric A silent: those with reflectors notice by BFD, and so
// does the spine, which has no other way to them.
func netCut(run *Run) error {
	if run.unnoticed(plan.A) {
		return nil
	}
	run.involved = []string{plan.SpineName(plan.A, false), "hv1", "hv2"}
	return run.silenced(run.Topology.Timing.Reflected()[0], run.passedOn(), func(cut bool) error { return run.Topology.CutNetworks(plan.A, cut) })
}

// drains drains HV1 and HV2 in turn, which both have a copy of the anycast address, and looks which one
// VM4's flows come to. One of them has reflectors.
func drains(run *Run) error {
	run.involved = []string{"hv1", "hv2", plan.SpineName(plan.A, false)}
	near, far := 1, 2 // near is where the spines lead to if nobody is drained
	if run.Topology.Timing.Routed(1) {
		near, far = far, near
	}
	drain := func(n int, on bool) error {
		c := api.NewClient(run.Topology.API(n))
		if !on {
			_, err := c.Undrain(run.Ctx)
			return err
		}
		_, err := c.Drain(run.Ctx, api.DrainOptions{UntilStop: true})
		return err
	}
	var wrong []string
	var longest time.Duration
	results, err := run.during(time.Second, func(*flow.Traffic) error {
		for _, step := range []struct {
			drained, served, at int
		}{{near, 0, far}, {far, near, near}, {0, far, near}} {
			start := time.Now()
			for n, on := range map[int]bool{step.served: false, step.drained: true} {
				if n == 0 {
					continue
				}
				if err := drain(n, on); err != nil {
					return err
				}
			}
			if !run.until(5*time.Second, func() bool { return run.copyOf(step.at) }) {
				wrong = append(wrong, fmt.Sprintf("HV%d drained, HV%d not: spines do not lead to HV%d", step.drained, step.served, step.at))
			}
			longest = max(longest, time.Since(start))
			if err := run.sleep(300 * time.Millisecond); err != nil { // a rack's router may be later than the spines
				return err
			}
			counts, err := run.spread("vm4")
			if err != nil {
				return err
			}
			for _, g := range run.guests() {
				if g.Anycast && g.HV == step.drained && counts[g.Name] > 0 {
					wrong = append(wrong, fmt.Sprintf("HV%d drained: flows by copy: %v", step.drained, counts))
				}
			}
		}
		return nil
	})
	err = errors.Join(err, drain(near, false), drain(far, false))
	if err != nil {
		return err
	}
	run.value("times that anycast flows came to a drained host, or spines led to it", float64(len(wrong)), 0, "", fmt.Sprintf("HV%d drained, then HV%d, then none", near, far), strings.Join(wrong, "\n"))
	run.value("spines lead elsewhere after", ms(longest), run.ownLimit(drainLimit), "ms", "the longest of the three", "")
	run.loss(results, run.ownLimit(0))
	return nil
}

// copyOf reports whether the spines lead to hypervisor n with the anycast prefixes, and to no other.
func (run *Run) copyOf(n int) bool {
	for _, p := range []netip.Prefix{netip.PrefixFrom(plan.Anycast4, 32), plan.Anycast6} {
		if !slices.Equal(run.leads(p), []string{run.side(n)}) {
			return false
		}
	}
	return true
}

// side is where a spine's next hop to hypervisor n leads.
func (run *Run) side(n int) string {
	if run.Topology.Timing.Routed(n) {
		return fmt.Sprintf("rack %d", plan.Rack(n))
	}
	return "network"
}

// leads lists where the spines of both fabrics lead with a prefix of the public domain.
func (run *Run) leads(p netip.Prefix) (out []string) {
	for _, f := range plan.Fabrics {
		for _, t := range golden.EdgeTables {
			routes, err := run.Topology.Nodes[plan.SpineName(f, false)].NL.Routes(t.Family, t.ID)
			if err != nil {
				return nil
			}
			for _, r := range routes {
				if r.Dst != p {
					continue
				}
				for _, h := range r.Hops {
					side := "network"
					if rack, ok := strings.CutPrefix(h.Link, "tor"); ok {
						side = "rack " + rack
					}
					out = append(out, side)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// both has VM2 announced by HV1 and HV2 at once, as in the middle of a migration, and looks whose
// announcement the spines follow. LOCAL_PREF does not cross eBGP, so that theirs for
// top-of-rack routers' paths is always 100: what the hypervisor with reflectors says
// decides, and if it says 100 the AS path does.
func both(run *Run) error {
	const home, away = 1, 2
	if run.ownLimit(0, home, away) < 0 {
		run.degraded("not run", "it takes hyperfib on hypervisors 1 and 2")
		return nil
	}
	run.involved = []string{"hv1", "hv2", plan.SpineName(plan.A, false)}
	g := run.guests()[slices.IndexFunc(run.guests(), func(g plan.Guest) bool { return g.Moves })]
	reflected, routed := home, away
	if run.Topology.Timing.Routed(home) {
		reflected, routed = away, home
	}
	file, err := run.Topology.Write("etc/"+g.Name+".both.yaml", conf.Guest(g, true, run.Topology.Timing))
	if err != nil {
		return err
	}
	if err := errors.Join(run.router("guest", "add", "-api", run.Topology.API(away), file), run.Topology.Attach(g, away)); err != nil {
		return err
	}
	if err := errors.Join(run.Topology.Public(away).NL.SetUp(g.Name, true), run.Topology.Ready(g, away)); err != nil {
		return err
	}
	var wrong []string
	said, shared := "", 0
	for _, c := range []struct{ reflected, routed, wins int }{
		{100, 100, reflected}, {100, 200, reflected}, {200, 100, reflected}, {50, 100, routed}, {0, 50, routed},
	} {
		for n, pref := range map[int]int{reflected: c.reflected, routed: c.routed} {
			if err := run.router("guest", "move", g.Name, "-up", "-local-pref", fmt.Sprint(pref), "-api", run.Topology.API(n)); err != nil {
				return err
			}
		}
		want := []string{run.side(c.wins)}
		if err := run.sleep(300 * time.Millisecond); err != nil { // the winner may change until then
			return err
		}
		for _, p := range []netip.Prefix{netip.PrefixFrom(g.IPv4, 32), g.Prefix6} {
			if have := run.leads(p); !slices.Equal(have, want) {
				wrong = append(wrong, fmt.Sprintf("%s: LOCAL_PREF %d with reflectors, %d with top-of-rack routers: spines lead to %v, want %v", p, c.reflected, c.routed, have, want))
			}
		}
		shared = max(shared, run.rackHops(routed, netip.PrefixFrom(g.IPv4, 32)))
		said += fmt.Sprintf("%d/%d HV%d, ", c.reflected, c.routed, c.wins)
	}
	err = errors.Join(run.router("guest", "move", g.Name, "-down", "-api", run.Topology.API(away)),
		run.router("guest", "move", g.Name, "-local-pref", "100", "-api", run.Topology.API(home)),
		run.Topology.Detach(g, away), run.router("guest", "del", g.Name, "-api", run.Topology.API(away)))
	if err != nil {
		return err
	}
	run.value("routes of spines that lead to the other one", float64(len(wrong)), 0, "",
		"LOCAL_PREF with reflectors/with top-of-rack routers, and who wins: "+strings.TrimSuffix(said, ", "), strings.Join(wrong, "\n"))
	if shared > 0 {
		run.value("next hops of the rack's router on fabric A", float64(shared), -1, "", "the most: the hypervisor's own path and the spine's are equal", "")
	}
	return nil
}

// rackHops counts the next hops that the router of a hypervisor's rack on fabric A has to a prefix; 0 where
// they are in another table.
func (run *Run) rackHops(hv int, p netip.Prefix) int {
	routes, _ := run.Topology.Nodes[plan.TorName(plan.Rack(hv), plan.A, false)].NL.Routes(golden.EdgeTables[0].Family, plan.TablePublic)
	for _, r := range routes {
		if r.Dst == p {
			return len(r.Hops)
		}
	}
	return 0
}
