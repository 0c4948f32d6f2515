package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
)

// What a migration may cost, in milliseconds: flows to and from the guest, and what
// it remembers of the hypervisor that it left.
const (
	migrationLimit = 50
	staleLimit     = 200
)

// migrate moves VM2 from HV1 to HV2 and back, under traffic in both families with a
// guest on a third hypervisor, the neighbour that it leaves and the internet.
func migrate(run *Run) error {
	const home, away = 1, 2
	if run.ownLimit(0, home, away) < 0 {
		run.degraded("not run", "it takes hyperfib on hypervisors 1 and 2")
		return nil
	}
	run.involved = []string{plan.HVName(home), plan.HVName(away)}
	i := slices.IndexFunc(run.guests(), func(g plan.Guest) bool { return g.Moves })
	g := run.guests()[i]
	file, err := run.Topology.Write("etc/"+g.Name+".yaml", conf.Guest(g, true, run.Topology.Timing))
	if err != nil {
		return err
	}
	if err := run.router("guest", "add", "-api", run.Topology.API(away), file); err != nil {
		return err
	}
	if err := run.move(g, home, away, 200); err != nil {
		return err
	}
	if err := run.move(g, away, home, 300); err != nil {
		return err
	}
	if err := run.router("guest", "move", g.Name, "-local-pref", "100", "-api", run.Topology.API(home)); err != nil {
		return err
	}
	return run.router("guest", "del", g.Name, "-api", run.Topology.API(away))
}

// router runs hvrouter's command line.
func (run *Run) router(args ...string) error {
	out, err := exec.CommandContext(run.Ctx, "/proc/self/exe", append([]string{"hvrouter"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("hvrouter %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// move is one migration: the guest's tap appears at the target and is brought up, as
// a virtual machine monitor does; the guest stops here and goes on there; the target
// is told, and so is the source. At last the tap at the source goes.
func (run *Run) move(g plan.Guest, from, to int, pref uint32) error {
	target, source := api.NewClient(run.Topology.API(to)), api.NewClient(run.Topology.API(from))
	if err := run.Topology.Attach(g, to); err != nil {
		return err
	}
	if err := run.Topology.Public(to).NL.SetUp(g.Name, true); err != nil {
		return err
	}
	if err := run.Topology.Ready(g, to); err != nil {
		return err
	}
	traffic, err := flow.Start(run.around(g), rate, 30*time.Second)
	if err != nil {
		return err
	}
	var told, drained, fresh time.Duration
	err = run.sleep(500 * time.Millisecond)
	if err == nil {
		err = run.mislead(g)
	}
	start := time.Now()
	followed := make(chan time.Duration, 1)
	go func() { followed <- run.followed(g, to, start) }()
	if err == nil {
		err = run.Topology.Switch(g, from, to)
	}
	if err == nil {
		end := make(chan error, 1)
		go func() { // neither waits for the other: what it has is not true any more
			down := true
			err := run.tell(source, g, api.Move{Down: &down})
			drained = time.Since(start)
			end <- err
		}()
		err = run.tell(target, g, api.Move{LocalPref: &pref, Down: new(bool)})
		told = time.Since(start)
		err = errors.Join(err, <-end)
	}
	if err == nil {
		run.until(5*time.Second, func() bool { return run.led(g, to) })
		fresh = time.Since(start)
		err = run.Topology.Detach(g, from)
	}
	if err == nil {
		err = run.sleep(time.Second)
	}
	results := traffic.Stop()
	forwarded := <-followed
	if err != nil {
		return err
	}
	run.moved(g, from, to, results, fmt.Sprintf("target done after %.1f ms, source after %.1f", ms(told), ms(drained)))
	run.value("what it remembered of the gateway mended after", ms(fresh), staleLimit, "ms", "ARP and neighbour table of "+g.Name, "")
	if run.Topology.Timing.EVPN() {
		run.value(g.Name+"'s MAC at HV"+fmt.Sprint(to)+" for HV3", ms(forwarded), run.migrationLimit(), "ms", "forwarding table of vx100, from the moment of the move", "")
		return run.overlaid(g)
	}
	return nil
}

// followed returns when hypervisor 3, which no guest leaves, sends frames for a guest to another one: how long after
// start, or how long it waited.
func (run *Run) followed(g plan.Guest, to int, start time.Time) time.Duration {
	want := g.OverlayMAC().String() + " dst " + plan.Loopback(to).String()
	for run.Topology.Timing.EVPN() && time.Since(start) < 5*time.Second && run.sleep(time.Millisecond) == nil {
		have, err := run.Topology.Public(plan.HVs).NL.Learned(plan.OverlayDevice, plan.OverlayBridge)
		if err == nil && slices.Contains(golden.OverlayLines(have), want) {
			break
		}
	}
	return time.Since(start)
}

// overlaid pings a guest on the overlay from all others.
func (run *Run) overlaid(g plan.Guest) error {
	jobs := map[string][]netip.Addr{}
	for _, other := range run.guests() {
		if other.N != g.N {
			jobs[other.Name] = append(jobs[other.Name], g.Overlay().Addr())
			jobs[g.Name] = append(jobs[g.Name], other.Overlay().Addr())
		}
	}
	total, lost, why := run.pingAll(jobs)
	run.value("pairs on the overlay without an answer", float64(lost), 0, "", fmt.Sprintf("%d pairs", total), why)
	return nil
}

func (run *Run) tell(c *api.Client, g plan.Guest, m api.Move) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.Send(run.Ctx, "POST", "/v1/guests/"+g.Name, body)
}

// migrationLimit is what a migration may cost here.
func (run *Run) migrationLimit() float64 {
	switch {
	case !run.familiar():
		return -1 // how long they keep a change to themselves is theirs
	case run.Topology.Timing.ToRs():
		return 2 * migrationLimit // as with a route: three routers pass it on, not one
	}
	return migrationLimit
}

// moved judges a migration by its flows and by the tables that it left.
func (run *Run) moved(g plan.Guest, from, to int, results []flow.Result, detail string) {
	limit := run.migrationLimit()
	for _, v := range []int{4, 6} {
		if v == 6 && !run.carried6() {
			continue
		}
		var all []flow.Stats
		var why strings.Builder
		for _, r := range results {
			if r.Path.Src.Is6() != (v == 6) {
				continue
			}
			all = append(all, r.Flows...)
			if sum := flow.Sum(r.Flows); sum.Lost > 0 {
				fmt.Fprintf(&why, "%s: lost %d of %d, longest gap %d ms\n", r.Path.Name, sum.Lost, sum.Sent, sum.Gap.Milliseconds())
			}
		}
		sum := flow.Sum(all)
		run.value(fmt.Sprintf("%s from HV%d to HV%d, longest gap, IPv%d", g.Name, from, to, v), ms(sum.Gap), limit, "ms",
			fmt.Sprintf("lost %d of %d; %s", sum.Lost, sum.Sent, detail), why.String())
	}
	count, text, start := 0, "", time.Now()
	run.until(10*time.Second, func() bool {
		count, text = run.differ(run.Topology.Timing.Moved(g, to))
		return count == 0
	})
	run.sick = count > 0
	run.add(report.Result{Name: fmt.Sprintf("tables with %s on HV%d: differences", g.Name, to), Value: report.Number(count), Limit: report.AtMost(0),
		Detail: fmt.Sprintf("as planned after %.2f s", time.Since(start).Seconds()), Why: text})
}

// around are flows to and from a guest.
func (run *Run) around(g plan.Guest) []flow.Path {
	others := run.guests()
	internet := plan.Guest{Name: plan.EdgeName, IPv4: plan.Internet4, Prefix6: netip.PrefixFrom(plan.Internet6, 128)}
	var out []flow.Path
	for _, v := range []int{4, 6} {
		for _, other := range []plan.Guest{others[0], others[3], internet} {
			out = append(out, run.path(other, g, v), run.path(g, other, v))
		}
	}
	for i := range out {
		first := uint16(7400 + 2*i) // sockets of several paths share a node
		out[i].SourcePort = []uint16{first, first + 1}
	}
	return out
}

// elsewhere is the MAC of a gateway that is not there any more.
var otherMAC = plan.GatewayMAC[:5:5]

// mislead makes a guest believe that its gateway is somewhere else, as it would if
// each hypervisor had a MAC of its own.
func (run *Run) mislead(g plan.Guest) error {
	for _, a := range []netip.Addr{plan.Gateway4, plan.Gateway6} {
		err := run.Topology.Guest(g).NL.SetNeighbour("eth0", nl.Neighbour{Addr: a, MAC: append(otherMAC, 0xfd), State: unix.NUD_REACHABLE})
		if err != nil {
			return err
		}
	}
	return nil
}

// led reports whether a guest knows the MAC that its gateway has on a hypervisor.
func (run *Run) led(g plan.Guest, hv int) bool {
	tap, err := run.Topology.Public(hv).NL.Link(g.Name)
	if err != nil {
		return false
	}
	for _, a := range []netip.Addr{plan.Gateway4, plan.Gateway6} {
		n, err := run.Topology.Guest(g).NL.Neighbour("eth0", a)
		if err != nil || n.MAC.String() != tap.MAC.String() {
			return false
		}
	}
	return true
}
