// Package experiment holds the experiments of the lab: each does something to the lab, or
// just looks at it, and measures. Experiments leave the lab as they found it; a check
// of all kernel tables after each disturbing one proves that.
package experiment

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// Experiment is one experiment.
type Experiment struct {
	Name  string
	Title string
	Run   func(*Run) error
	// Disturbs says that tables have to be compared again afterwards.
	Disturbs bool
	// Extra experiments are run only if they are asked for.
	Extra bool
	// Once says that it cannot be run again.
	Once bool
	// When says which variants have this experiment; nil is all.
	When func(plan.Lab) bool
}

// Run is what an experiment works with.
type Run struct {
	Ctx      context.Context
	Topology *topology.Topology
	Report   *report.Report
	Out      io.Writer
	Started  time.Time // when the first daemon was started
	// Linger is how long traffic goes on after a daemon was restarted.
	Linger time.Duration
	// Times multiplies the limits of times, for a machine that is busy. 0 is 1.
	Times float64

	experiment string
	sick       bool     // something is wrong that makes disturbing experiments pointless
	involved   []string // daemons whose logs matter if the experiment fails
	stall      *flow.Stall
}

// All lists the experiments in the order they are run.
func All() []Experiment {
	return []Experiment{
		{Name: "sessions", Title: "all sessions up", Run: sessions, Once: true},
		{Name: "fibs", Title: "kernel tables as they must be", Run: fibs},
		{Name: "rules", Title: "policy rules exact", Run: rules},
		{Name: "guests", Title: "guests configured themselves", Run: guests},
		{Name: "ping", Title: "ping matrix, IPv4 and IPv6, and to the internet", Run: pings},
		{Name: "apart", Title: "the two namespaces of a hypervisor know nothing of each other", Run: apart, When: twoSides},
		{Name: "load", Title: "the further guests answer", Run: loaded, When: many},
		{Name: "memory", Title: "what the daemons have in memory", Run: memory},
		{Name: "vrfs", Title: "VRFs know nothing of each other, and how the hypervisor sends in one", Run: vrfs, When: hasVRFs},
		{Name: "anycast", Title: "anycast over every gateway", Run: anycast},
		{Name: "arp", Title: "ARP for remote guests, and none for ghosts", Run: arp},
		{Name: "ndp", Title: "neighbour discovery for remote guests, and none for ghosts", Run: neighbours, When: hosts},
		{Name: "spoof", Title: "spoofed sources dropped", Run: spoof},
		{Name: "overlay", Title: "overlay ping", Run: overlay},
		{Name: "silent", Title: "guests of the overlay that have said nothing are found, and nobody is asked", Run: silent, When: plan.Lab.EVPN},
		{Name: "ruleset", Title: "HV1's nftables flushed by somebody", Run: ruleset, Disturbs: true},
		{Name: "route", Title: "route added here to kernels there", Run: routes, Disturbs: true},
		{Name: "migrate", Title: "VM2 moves from HV1 to HV2 and back", Run: migrate, Disturbs: true},
		{Name: "carrier", Title: "loss of carrier at HV2's port", Run: carrier, Disturbs: true},
		{Name: "cut", Title: "silent cut of fabric A", Run: cut, Disturbs: true},
		{Name: "flap", Title: "HV1's ports to fabric A silent for a moment longer than BFD allows, three times", Run: flap, Disturbs: true},
		{Name: "heal", Title: "fabric A back after a cut: every path is used again", Run: heal, Disturbs: true},
		{Name: "cutb", Title: "silent cut of fabric B", Run: cutb, When: twoPaths, Disturbs: true},
		{Name: "portb", Title: "silent cut at HV2's ports to fabric B", Run: portb, When: twoPaths, Disturbs: true},
		{Name: "porta", Title: "silent cut at HV2's ports to fabric A", Run: porta, When: twoPaths, Disturbs: true},
		{Name: "kill", Title: "kill -9 of HV1's daemon, back after 1 s", Run: kill, Disturbs: true},
		{Name: "reflectors", Title: "kill -9 of all reflectors, or top-of-rack routers, back after 1 s", Run: reflectors, Disturbs: true},
		{Name: "tor", Title: "kill -9 of rack 1's router on fabric A, back after 1 s", Run: torRestart, When: racked, Disturbs: true},
		{Name: "torcut", Title: "rack 1's router on fabric A falls silent", Run: torCut, When: racked, Disturbs: true},
		{Name: "tordrain", Title: "rack 1's router on fabric A drained, stopped for 1 s, and back", Run: torDrain, When: racked, Disturbs: true},
		{Name: "toraddr", Title: "rack 1's router on fabric A gets another link-local address, then another MAC, then both", Run: torAddress, When: racked, Disturbs: true, Extra: true},
		{Name: "rr", Title: "kill -9 of fabric A's reflector, back after 1 s", Run: reflectorRestart, When: mixed, Disturbs: true},
		{Name: "spine", Title: "kill -9 of fabric A's spine, back after 1 s", Run: spineRestart, When: mixed, Disturbs: true},
		{Name: "spinecut", Title: "fabric A's spine falls silent", Run: spineCut, When: unlike, Disturbs: true},
		{Name: "netcut", Title: "fabric A's networks fall silent, and its routers do not", Run: netCut, When: unlike, Disturbs: true},
		{Name: "drains", Title: "HV1 and HV2 drained in turn", Run: drains, When: unlike, Disturbs: true},
		{Name: "both", Title: "VM2 announced by HV1 and HV2 at once", Run: both, When: unlike, Disturbs: true},
		{Name: "deadcut", Title: "silent cut of fabric A while HV1's daemon is dead", Run: deadcut, Disturbs: true},
		{Name: "stop", Title: "kill -STOP of HV1's daemon for 5 s", Run: stop, Disturbs: true},
		{Name: "deadport", Title: "silent cut at HV1's port while HV1's daemon is dead", Run: deadport, Disturbs: true, Extra: true},
		{Name: "farport", Title: "silent cut at HV2's port while HV1's daemon is dead", Run: farport, Disturbs: true, Extra: true},
		{Name: "host", Title: "HV1 dies", Run: host, Disturbs: true, Extra: true},
		{Name: "deadhost", Title: "HV1 dies while its daemon is dead", Run: deadhost, Disturbs: true, Extra: true},
		{Name: "restarts", Title: "HV1's daemon killed and started 20 times", Run: restarts, Disturbs: true, Extra: true},
	}
}

// Do runs one experiment and its check afterwards.
func (run *Run) Do(a Experiment) {
	fmt.Fprintf(run.Out, "\n%s: %s\n", a.Name, a.Title)
	run.experiment = a.Name
	start, n := time.Now(), 0
	again(func() (failed bool, stood time.Duration) {
		run.involved, n = nil, len(run.Report.Results)
		run.stall = run.watchStall()
		run.do(a)
		stood = run.stall.Stop()
		return run.failed(n) && !a.Once && run.Ctx.Err() == nil, stood
	}, func(stood time.Duration) {
		fmt.Fprintf(run.Out, "  void: the machine stood still for %d ms; run again\n", stood.Milliseconds())
		for i := range run.Report.Results[n:] {
			run.Report.Results[n+i].Verdict = report.Void
		}
		run.sick = false
		run.recover()
	})
	fmt.Fprintf(run.Out, "  (%.1f s)\n", time.Since(start).Seconds())
}

// failed reports whether a result since the n-th failed.
func (run *Run) failed(n int) bool {
	return slices.ContainsFunc(run.Report.Results[n:], func(r report.Result) bool { return r.Verdict == report.Fail })
}

func (run *Run) do(a Experiment) {
	if a.Disturbs && !run.sick {
		run.until(10*time.Second, func() bool { count, _ := run.differences(); return count == 0 })
	}
	if a.Disturbs && run.sick {
		run.add(report.Result{Name: a.Title, Verdict: report.Fail, Detail: "not run: the lab is not well"})
		return
	}
	if err := a.Run(run); err != nil {
		run.add(report.Result{Name: a.Title, Verdict: report.Fail, Detail: err.Error()})
	}
	if a.Disturbs && run.Ctx.Err() == nil {
		run.healthy("tables after it")
	}
}

// add records a result and prints it; one that failed with its reasons and with
// the last words of the daemons concerned.
func (run *Run) add(r report.Result) {
	r.Experiment = run.experiment
	if r.Limit != nil && (r.Unit == "s" || r.Unit == "ms") && run.Times > 0 {
		r.Limit = report.AtMost(float64(*r.Limit) * run.Times)
	}
	r = run.Report.Add(r)
	fmt.Fprintf(run.Out, "  %s\n", r)
	if r.Verdict != report.Fail {
		return
	}
	report.Indent(run.Out, r.Why)
	for _, name := range run.involved {
		if d := run.Topology.Daemon(name); d != nil {
			fmt.Fprintf(run.Out, "          last words of %s:\n", name)
			report.Indent(run.Out, d.Tail(12))
		}
	}
}

// value is a shorthand for results with an upper limit; a limit below zero means
// none.
func (run *Run) value(name string, v float64, limit float64, unit, detail, why string) {
	r := report.Result{Name: name, Value: report.Number(v), Unit: unit, Detail: detail, Why: why}
	if limit >= 0 {
		r.Limit = report.AtMost(limit)
	}
	run.add(r)
}

// patience is the longest wait for anything on a busy machine.
const patience = 2 * time.Minute

// until polls cond every few milliseconds; it reports whether it became true in
// time, which is the longer the busier the machine is said to be.
func (run *Run) until(limit time.Duration, cond func() bool) bool {
	limit = max(limit, min(patience, time.Duration(float64(limit)*run.Times)))
	for deadline := time.Now().Add(limit); ; {
		if cond() {
			return true
		}
		if time.Now().After(deadline) || run.sleep(10*time.Millisecond) != nil {
			return false
		}
	}
}

// sleep waits, unless the run is interrupted.
func (run *Run) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-run.Ctx.Done():
		return run.Ctx.Err()
	}
}

// differences compares all tables of all routers with the plan.
func (run *Run) differences() (count int, text string) { return run.differ(run.Topology.Timing.Lab) }

// expect is what the tables of a plan must be with the neighbours of this run.
func (run *Run) expect(lab plan.Lab) golden.Expect {
	return golden.Expect{One: run.Topology.Lacking(topology.Kind.AddPath), IPv4Only: run.Topology.Timing.IPv4Only, Lab: lab}
}

// differ compares them with another plan.
func (run *Run) differ(lab plan.Lab) (count int, text string) {
	var b strings.Builder
	want := run.expect(lab)
	for n := 1; n <= plan.HVs; n++ {
		for _, t := range golden.HypervisorTables {
			have, err := run.Topology.Routes(n, t)
			bulk := 0
			if t == golden.HypervisorTables[0] {
				bulk = run.Topology.Bulk
			}
			count += compare(&b, plan.HVName(n), t, bulk, want.Hypervisor(n, t), have, err)
		}
		if lab.EVPN() {
			have, err := run.Topology.Public(n).NL.Learned(plan.OverlayDevice, plan.OverlayBridge)
			if err != nil {
				fmt.Fprintf(&b, "%s: %v\n", plan.HVName(n), err)
				count++
			}
			count += listed(&b, plan.HVName(n)+" "+plan.OverlayDevice, golden.Diff(want.Overlay(n), golden.OverlayLines(have)))
		}
	}
	for _, t := range golden.EdgeTables {
		have, err := run.Topology.Nodes[plan.EdgeName].NL.Routes(t.Family, t.ID)
		count += compare(&b, plan.EdgeName, t, 0, want.Edge(t), have, err)
	}
	for _, r := range lab.UnderlayRouters() {
		for _, t := range golden.EdgeTables {
			if len(lab.Border(r)) == 0 {
				continue
			}
			have, err := run.Topology.Nodes[r.Name].NL.Routes(t.Family, t.ID)
			bulk := 0
			if !r.Private && t == golden.EdgeTables[0] {
				bulk = run.Topology.Bulk
			}
			count += compare(&b, r.Name, t, bulk, want.Spine(r, t), have, err)
		}
	}
	return count, b.String()
}

func compare(b *strings.Builder, node string, t golden.Table, bulk int, want []string, have []nl.Route, err error) int {
	if err != nil {
		fmt.Fprintf(b, "%s %s: %v\n", node, t, err)
		return 1
	}
	have, diff := golden.Bulk(t, have, bulk)
	diff = append(diff, golden.Diff(want, golden.Lines(t, have))...)
	return listed(b, fmt.Sprintf("%s %s", node, t), diff)
}

// listed writes the first of the differences of a table, and returns how many there are.
func listed(b *strings.Builder, table string, diff []string) int {
	for i, l := range diff {
		if i == 20 {
			fmt.Fprintf(b, "%s: and %d more\n", table, len(diff)-i)
			break
		}
		fmt.Fprintf(b, "%s: %s\n", table, l)
	}
	return len(diff)
}

// healthy waits until all sessions, BGP and BFD, are up and all tables are as planned, and
// records how long that took and what still differs.
func (run *Run) healthy(name string) {
	start := time.Now()
	count, text := 0, ""
	run.until(20*time.Second, func() bool {
		if up, total := run.sessions(); up < total {
			count, text = total-up, run.missing()
			return false
		}
		if down := run.bfdDown(); down > 0 {
			count, text = down, fmt.Sprintf("%d BFD sessions are not up", down)
			return false
		}
		count, text = run.differences()
		return count == 0
	})
	run.sick = count > 0
	run.involved = []string{"hv1", "hv2", "hv3", "internet"}
	run.value(name+": differences", float64(count), 0, "", fmt.Sprintf("healed in %.2f s", time.Since(start).Seconds()), text)
}

// sessions counts BGP sessions that are up, and that should be.
func (run *Run) sessions() (up, total int) {
	for _, d := range run.Topology.Daemons {
		total += d.Sessions
		peers, err := d.Peers()
		if err != nil {
			continue
		}
		for _, p := range peers {
			if p.Up() {
				up++
			}
		}
	}
	return up, total
}

// missing names the sessions that are not up.
func (run *Run) missing() string {
	var b strings.Builder
	for _, d := range run.Topology.Daemons {
		if d.Sessions == 0 {
			continue
		}
		peers, err := d.Peers()
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", d.Name, err)
		}
		for _, p := range peers {
			if !p.Up() {
				fmt.Fprintf(&b, "%s: %s is %s\n", d.Name, p.Name, p.State)
			}
		}
	}
	return b.String()
}

var bothFamilies = []uint8{unix.AF_INET, unix.AF_INET6}

func ruleLines(n *topology.Node, family uint8) ([]string, error) {
	have, err := n.NL.Rules(family)
	return golden.RuleLines(have), err
}

// hosts reports whether guests have single IPv6 addresses.
func hosts(l plan.Lab) bool { return l.Is("guests", plan.GuestsHost) }

// guests lists the guests of this run's plan.
func (run *Run) guests() []plan.Guest { return run.Topology.Timing.Guests() }
