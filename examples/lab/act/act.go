// Package act holds the acts of the lab: each does something to the world, or
// just looks at it, and measures. Acts leave the world as they found it; a check
// of all kernel tables after each disturbing one proves that.
package act

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
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

// Act is one act.
type Act struct {
	Name  string
	Title string
	Run   func(*Stage) error
	// Disturbs says that tables have to be compared again afterwards.
	Disturbs bool
	// Extra acts are played only if they are asked for.
	Extra bool
	// Once says that it cannot be played again.
	Once bool
	// When says which variants have this act; nil is all.
	When func(plan.Lab) bool
}

// Stage is what an act works with.
type Stage struct {
	Ctx     context.Context
	World   *world.World
	Report  *report.Report
	Out     io.Writer
	Started time.Time // when the first daemon was started
	// Linger is how long traffic goes on after a daemon was restarted.
	Linger time.Duration
	// Times multiplies the limits of times, for a machine that is busy. 0 is 1.
	Times float64

	act      string
	sick     bool     // something is wrong that makes disturbing acts pointless
	involved []string // daemons whose logs matter if the act fails
	stall    *flow.Stall
}

// All lists the acts in the order they are played.
func All() []Act {
	return []Act{
		{Name: "sessions", Title: "all sessions up", Run: sessions, Once: true},
		{Name: "fibs", Title: "kernel tables as they must be", Run: fibs},
		{Name: "rules", Title: "policy rules exact", Run: rules},
		{Name: "guests", Title: "guests configured themselves", Run: guests},
		{Name: "ping", Title: "ping matrix, IPv4 and IPv6, and to the internet", Run: pings},
		{Name: "apart", Title: "the two namespaces of a hypervisor know nothing of each other", Run: apart, When: twoSides},
		{Name: "crowd", Title: "the other guests answer", Run: crowded, When: many},
		{Name: "memory", Title: "what the daemons have in memory", Run: memory},
		{Name: "vrfs", Title: "VRFs know nothing of each other, and how the hypervisor sends in one", Run: vrfs, When: hasVRFs},
		{Name: "anycast", Title: "anycast over four gateways", Run: anycast},
		{Name: "arp", Title: "ARP for remote guests, and none for ghosts", Run: arp},
		{Name: "ndp", Title: "neighbour discovery for remote guests, and none for ghosts", Run: neighbours, When: hosts},
		{Name: "spoof", Title: "spoofed sources dropped", Run: spoof},
		{Name: "overlay", Title: "overlay ping", Run: overlay},
		{Name: "ruleset", Title: "HV1's nftables flushed by somebody", Run: ruleset, Disturbs: true},
		{Name: "route", Title: "route added here to kernels there", Run: routes, Disturbs: true},
		{Name: "migrate", Title: "VM2 moves from HV1 to HV2 and back", Run: migrate, Disturbs: true},
		{Name: "carrier", Title: "loss of carrier at HV2's port", Run: carrier, Disturbs: true},
		{Name: "cut", Title: "silent cut of fabric A", Run: cut, Disturbs: true},
		{Name: "heal", Title: "fabric A back after a cut: every path is used again", Run: heal, Disturbs: true},
		{Name: "cutb", Title: "silent cut of fabric B", Run: cutb, When: ways, Disturbs: true},
		{Name: "portb", Title: "silent cut at HV2's ports to fabric B", Run: portb, When: ways, Disturbs: true},
		{Name: "porta", Title: "silent cut at HV2's ports to fabric A", Run: porta, When: ways, Disturbs: true},
		{Name: "kill", Title: "kill -9 of HV1's daemon, back after 1 s", Run: kill, Disturbs: true},
		{Name: "reflectors", Title: "kill -9 of all reflectors, back after 1 s", Run: reflectors, Disturbs: true},
		{Name: "deadcut", Title: "silent cut of fabric A while HV1's daemon is dead", Run: deadcut, Disturbs: true},
		{Name: "stop", Title: "kill -STOP of HV1's daemon for 5 s", Run: stop, Disturbs: true},
		{Name: "deadport", Title: "silent cut at HV1's port while HV1's daemon is dead", Run: deadport, Disturbs: true, Extra: true},
		{Name: "farport", Title: "silent cut at HV2's port while HV1's daemon is dead", Run: farport, Disturbs: true, Extra: true},
		{Name: "host", Title: "HV1 dies", Run: host, Disturbs: true, Extra: true},
		{Name: "deadhost", Title: "HV1 dies while its daemon is dead", Run: deadhost, Disturbs: true, Extra: true},
		{Name: "restarts", Title: "HV1's daemon killed and started 20 times", Run: restarts, Disturbs: true, Extra: true},
	}
}

// Play runs one act and its check afterwards.
func (s *Stage) Play(a Act) {
	fmt.Fprintf(s.Out, "\n%s: %s\n", a.Name, a.Title)
	s.act = a.Name
	start, n := time.Now(), 0
	again(func() (failed bool, stood time.Duration) {
		s.involved, n = nil, len(s.Report.Results)
		s.stall = s.watchStall()
		s.play(a)
		stood = s.stall.Stop()
		return s.failed(n) && !a.Once && s.Ctx.Err() == nil, stood
	}, func(stood time.Duration) {
		fmt.Fprintf(s.Out, "  void: the machine stood still for %d ms; played again\n", stood.Milliseconds())
		for i := range s.Report.Results[n:] {
			s.Report.Results[n+i].Verdict = report.Void
		}
		s.sick = false
		s.recover()
	})
	fmt.Fprintf(s.Out, "  (%.1f s)\n", time.Since(start).Seconds())
}

// failed says whether a result since the n-th failed.
func (s *Stage) failed(n int) bool {
	return slices.ContainsFunc(s.Report.Results[n:], func(r report.Result) bool { return r.Verdict == report.Fail })
}

func (s *Stage) play(a Act) {
	if a.Disturbs && !s.sick {
		s.until(10*time.Second, func() bool { count, _ := s.differences(); return count == 0 })
	}
	if a.Disturbs && s.sick {
		s.add(report.Result{Name: a.Title, Verdict: report.Fail, Detail: "not played: the lab is not well"})
		return
	}
	if err := a.Run(s); err != nil {
		s.add(report.Result{Name: a.Title, Verdict: report.Fail, Detail: err.Error()})
	}
	if a.Disturbs && s.Ctx.Err() == nil {
		s.healthy("tables after it")
	}
}

// add records a result and prints it; one that failed with its reasons and with
// the last words of the daemons concerned.
func (s *Stage) add(r report.Result) {
	r.Act = s.act
	if r.Limit != nil && (r.Unit == "s" || r.Unit == "ms") && s.Times > 0 {
		r.Limit = report.AtMost(float64(*r.Limit) * s.Times)
	}
	r = s.Report.Add(r)
	fmt.Fprintf(s.Out, "  %s\n", r)
	if r.Verdict != report.Fail {
		return
	}
	report.Indent(s.Out, r.Why)
	for _, name := range s.involved {
		if d := s.World.Daemon(name); d != nil {
			fmt.Fprintf(s.Out, "          last words of %s:\n", name)
			report.Indent(s.Out, d.Tail(12))
		}
	}
}

// value is a shorthand for results with an upper limit; a limit below zero means
// none.
func (s *Stage) value(name string, v float64, limit float64, unit, detail, why string) {
	r := report.Result{Name: name, Value: report.Number(v), Unit: unit, Detail: detail, Why: why}
	if limit >= 0 {
		r.Limit = report.AtMost(limit)
	}
	s.add(r)
}

// patience is the longest wait for anything on a busy machine.
const patience = 2 * time.Minute

// until polls cond every few milliseconds; it says whether it became true in
// time, which is the longer the busier the machine is said to be.
func (s *Stage) until(limit time.Duration, cond func() bool) bool {
	limit = max(limit, min(patience, time.Duration(float64(limit)*s.Times)))
	for deadline := time.Now().Add(limit); ; {
		if cond() {
			return true
		}
		if time.Now().After(deadline) || s.sleep(10*time.Millisecond) != nil {
			return false
		}
	}
}

// sleep waits, unless the run is interrupted.
func (s *Stage) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.Ctx.Done():
		return s.Ctx.Err()
	}
}

// differences compares all tables of all routers with the plan.
func (s *Stage) differences() (count int, text string) { return s.differ(s.World.Timing.Lab) }

// differ compares them with another plan.
func (s *Stage) differ(lab plan.Lab) (count int, text string) {
	var b strings.Builder
	want := golden.Expect{One: s.World.Lacking(world.Kind.AddPath), IPv4Only: s.World.Timing.IPv4Only, Lab: lab}
	for n := 1; n <= plan.HVs; n++ {
		for _, t := range golden.HypervisorTables {
			have, err := s.World.Routes(n, t)
			count += s.compare(&b, plan.HVName(n), t, want.Hypervisor(n, t), have, err)
		}
	}
	for _, t := range golden.EdgeTables {
		have, err := s.World.Nodes[plan.EdgeName].NL.Routes(t.Family, t.ID)
		count += s.compare(&b, plan.EdgeName, t, want.Edge(t), have, err)
	}
	return count, b.String()
}

func (s *Stage) compare(b *strings.Builder, node string, t golden.Table, want []string, have []nl.Route, err error) int {
	if err != nil {
		fmt.Fprintf(b, "%s %s: %v\n", node, t, err)
		return 1
	}
	bulk := 0
	if t == golden.HypervisorTables[0] && node != plan.EdgeName {
		bulk = s.World.Bulk
	}
	have, diff := golden.Bulk(t, have, bulk)
	diff = append(diff, golden.Diff(want, golden.Lines(t, have))...)
	for i, l := range diff {
		if i == 20 {
			fmt.Fprintf(b, "%s %s: and %d more\n", node, t, len(diff)-i)
			break
		}
		fmt.Fprintf(b, "%s %s: %s\n", node, t, l)
	}
	return len(diff)
}

// healthy waits until all sessions, BGP and BFD, are up and all tables are as planned, and
// records how long that took and what still differs.
func (s *Stage) healthy(name string) {
	start := time.Now()
	count, text := 0, ""
	s.until(20*time.Second, func() bool {
		if up, total := s.sessions(); up < total {
			count, text = total-up, s.missing()
			return false
		}
		if down := s.bfdDown(); down > 0 {
			count, text = down, fmt.Sprintf("%d BFD sessions are not up", down)
			return false
		}
		count, text = s.differences()
		return count == 0
	})
	s.sick = count > 0
	s.involved = []string{"hv1", "hv2", "hv3", "internet"}
	s.value(name+": differences", float64(count), 0, "", fmt.Sprintf("healed in %.2f s", time.Since(start).Seconds()), text)
}

// sessions counts BGP sessions that are up, and that should be.
func (s *Stage) sessions() (up, total int) {
	for _, d := range s.World.Daemons {
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
func (s *Stage) missing() string {
	var b strings.Builder
	for _, d := range s.World.Daemons {
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

func ruleLines(n *world.Node, family uint8) ([]string, error) {
	have, err := n.NL.Rules(family)
	return golden.RuleLines(have), err
}

// hosts says whether guests have single IPv6 addresses.
func hosts(l plan.Lab) bool { return l.Is("guests", plan.GuestsHost) }

// guests lists the guests of this run's plan.
func (s *Stage) guests() []plan.Guest { return s.World.Timing.Guests() }
