package act

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
func migrate(s *Stage) error {
	const home, away = 1, 2
	if s.ownLimit(0, home, away) < 0 {
		s.degraded("not played", "it takes hyperfib on hypervisors 1 and 2")
		return nil
	}
	s.involved = []string{plan.HVName(home), plan.HVName(away)}
	i := slices.IndexFunc(s.guests(), func(g plan.Guest) bool { return g.Moves })
	g := s.guests()[i]
	file, err := s.World.Write("etc/"+g.Name+".yaml", conf.Guest(g, true))
	if err != nil {
		return err
	}
	if err := s.router("guest", "add", "-api", s.World.API(away), file); err != nil {
		return err
	}
	if err := s.move(g, home, away, 200); err != nil {
		return err
	}
	if err := s.move(g, away, home, 300); err != nil {
		return err
	}
	if err := s.router("guest", "move", g.Name, "-local-pref", "100", "-api", s.World.API(home)); err != nil {
		return err
	}
	return s.router("guest", "del", g.Name, "-api", s.World.API(away))
}

// router runs hvrouter's command line.
func (s *Stage) router(args ...string) error {
	out, err := exec.CommandContext(s.Ctx, "/proc/self/exe", append([]string{"hvrouter"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("hvrouter %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// move is one migration: the guest's tap appears at the target and is brought up, as
// a virtual machine monitor does; the guest stops here and goes on there; the target
// is told, and so is the source. At last the tap at the source goes.
func (s *Stage) move(g plan.Guest, from, to int, pref uint32) error {
	target, source := api.NewClient(s.World.API(to)), api.NewClient(s.World.API(from))
	if err := s.World.Plug(g, to); err != nil {
		return err
	}
	if err := s.World.Public(to).NL.SetUp(g.Name, true); err != nil {
		return err
	}
	if err := s.World.Ready(g, to); err != nil {
		return err
	}
	traffic, err := flow.Start(s.around(g), rate, 30*time.Second)
	if err != nil {
		return err
	}
	var told, drained, fresh time.Duration
	err = s.sleep(500 * time.Millisecond)
	if err == nil {
		err = s.mislead(g)
	}
	start := time.Now()
	if err == nil {
		err = s.World.Switch(g, from, to)
	}
	if err == nil {
		end := make(chan error, 1)
		go func() { // neither waits for the other: what it has is not true any more
			down := true
			err := s.tell(source, g, api.Move{Down: &down})
			drained = time.Since(start)
			end <- err
		}()
		err = s.tell(target, g, api.Move{LocalPref: &pref, Down: new(bool)})
		told = time.Since(start)
		err = errors.Join(err, <-end)
	}
	if err == nil {
		s.until(5*time.Second, func() bool { return s.led(g, to) })
		fresh = time.Since(start)
		err = s.World.Unplug(g, from)
	}
	if err == nil {
		err = s.sleep(time.Second)
	}
	results := traffic.Stop()
	if err != nil {
		return err
	}
	s.moved(g, from, to, results, fmt.Sprintf("target done after %.1f ms, source after %.1f", ms(told), ms(drained)))
	s.value("what it remembered of the gateway mended after", ms(fresh), staleLimit, "ms", "ARP and neighbour table of "+g.Name, "")
	return nil
}

func (s *Stage) tell(c *api.Client, g plan.Guest, m api.Move) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.Send(s.Ctx, "POST", "/v1/guests/"+g.Name, body)
}

// moved judges a migration by its flows and by the tables that it left.
func (s *Stage) moved(g plan.Guest, from, to int, results []flow.Result, detail string) {
	limit := float64(migrationLimit)
	if !s.familiar() {
		limit = -1 // how long they keep a change to themselves is theirs
	}
	for _, v := range []int{4, 6} {
		if v == 6 && !s.carried6() {
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
		s.value(fmt.Sprintf("%s from HV%d to HV%d, longest gap, IPv%d", g.Name, from, to, v), ms(sum.Gap), limit, "ms",
			fmt.Sprintf("lost %d of %d; %s", sum.Lost, sum.Sent, detail), why.String())
	}
	count, text, start := 0, "", time.Now()
	s.until(10*time.Second, func() bool {
		count, text = s.differ(s.World.Timing.Moved(g, to))
		return count == 0
	})
	s.sick = count > 0
	s.add(report.Result{Name: fmt.Sprintf("tables with %s on HV%d: differences", g.Name, to), Value: report.Number(count), Limit: report.AtMost(0),
		Detail: fmt.Sprintf("as planned after %.2f s", time.Since(start).Seconds()), Why: text})
}

// around are flows to and from a guest.
func (s *Stage) around(g plan.Guest) []flow.Path {
	others := s.guests()
	internet := plan.Guest{Name: plan.EdgeName, IPv4: plan.Internet4, Prefix6: netip.PrefixFrom(plan.Internet6, 128)}
	var out []flow.Path
	for _, v := range []int{4, 6} {
		for _, other := range []plan.Guest{others[0], others[3], internet} {
			out = append(out, s.path(other, g, v), s.path(g, other, v))
		}
	}
	for i := range out {
		first := uint16(7400 + 2*i) // sockets of several paths share a node
		out[i].SourcePort = []uint16{first, first + 1}
	}
	return out
}

// elsewhere is the MAC of a gateway that is not there any more.
var elsewhere = plan.GatewayMAC[:5:5]

// mislead makes a guest believe that its gateway is somewhere else, as it would if
// each hypervisor had a MAC of its own.
func (s *Stage) mislead(g plan.Guest) error {
	for _, a := range []netip.Addr{plan.Gateway4, plan.Gateway6} {
		err := s.World.Guest(g).NL.SetNeighbour("eth0", nl.Neighbour{Addr: a, MAC: append(elsewhere, 0xfd), State: unix.NUD_REACHABLE})
		if err != nil {
			return err
		}
	}
	return nil
}

// led says whether a guest knows the MAC that its gateway has on a hypervisor.
func (s *Stage) led(g plan.Guest, hv int) bool {
	tap, err := s.World.Public(hv).NL.Link(g.Name)
	if err != nil {
		return false
	}
	for _, a := range []netip.Addr{plan.Gateway4, plan.Gateway6} {
		n, err := s.World.Guest(g).NL.Neighbour("eth0", a)
		if err != nil || n.MAC.String() != tap.MAC.String() {
			return false
		}
	}
	return true
}
