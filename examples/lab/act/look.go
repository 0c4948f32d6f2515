package act

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

// sessions waits for all BGP sessions, counted from the start of the daemons.
func sessions(s *Stage) error {
	up, total := 0, 0
	s.until(20*time.Second, func() bool {
		up, total = s.sessions()
		return up >= total
	})
	took := time.Since(s.Started).Seconds()
	if up < total {
		for n := 1; n <= plan.HVs; n++ {
			s.involved = append(s.involved, plan.HVName(n))
		}
	}
	r := report.Result{Name: "all BGP sessions Established", Value: report.Number(took), Unit: "s", Detail: fmt.Sprintf("%d of %d", up, total), Why: s.missing()}
	if limit := s.ownLimit(1); limit >= 0 && s.familiar() {
		r.Limit = report.AtMost(limit)
	}
	if up < total {
		s.sick, r.Verdict = true, report.Fail
	}
	s.add(r)
	if s.sick {
		return nil
	}
	for _, f := range s.World.Timing.Deaf {
		s.degraded(fmt.Sprintf("no BFD with reflector %s", plan.RRName(f)), "a silent failure is noticed by the hold timer")
	}
	s.until(10*time.Second, func() bool { return s.bfdDown() == 0 })
	s.value("BFD sessions not up", float64(s.bfdDown()), 0, "", fmt.Sprintf("all up %.2f s after start", time.Since(s.Started).Seconds()), "")
	return nil
}

// ownLimit returns a limit if our own daemon is on all of the named hypervisors
// (all there are, if none is named), and none if somebody else's is on one:
// those are measured, not judged.
func (s *Stage) ownLimit(limit float64, hvs ...int) float64 {
	if len(hvs) == 0 {
		hvs = []int{1, 2, 3}
	}
	for _, n := range hvs {
		if s.World.HVKind(n) != world.Self {
			return -1
		}
	}
	return limit
}

// familiar says whether all reflectors are ours or BIRD's: what others take to
// listen, to pass a route on or to restart is measured, not judged.
func (s *Stage) familiar() bool {
	return len(s.World.Lacking(func(k world.Kind) bool { return k == world.Self || k == world.Bird })) == 0
}

// bfdDown counts the sessions that should have BFD and whose BFD is not up.
func (s *Stage) bfdDown() (down int) {
	if !s.World.Timing.Watched() {
		return 0
	}
	deaf := len(s.World.Timing.Deaf)
	for _, d := range s.World.Daemons {
		down += d.Sessions * (len(plan.Fabrics) - deaf) / len(plan.Fabrics)
		peers, _ := d.Peers()
		for _, p := range peers {
			if p.BFD == "Up" {
				down--
			}
		}
	}
	return down
}

// degraded records what a foreign program cannot do.
func (s *Stage) degraded(name, detail string) {
	s.add(report.Result{Name: name, Value: report.Number(math.NaN()), Verdict: report.Degraded, Detail: detail})
}

// fibs waits for every table of every router to be as planned.
func fibs(s *Stage) error {
	var count int
	var text string
	s.until(10*time.Second, func() bool {
		count, text = s.differences()
		return count == 0
	})
	s.involved = []string{"hv1", "hv2", "hv3", plan.EdgeName}
	s.value("lines that differ, all tables", float64(count), 0, "",
		fmt.Sprintf("complete %.2f s after start", time.Since(s.Started).Seconds()), text)
	return nil
}

// rules compares the policy rules.
func rules(s *Stage) error {
	var diff []string
	for n := 1; n <= plan.HVs; n++ {
		for _, family := range bothFamilies {
			have, err := ruleLines(s.World.HV(n), family)
			if err != nil {
				return err
			}
			want := golden.RuleLines(golden.Rules(family, s.World.Timing.Variant))
			if !slices.Equal(want, have) {
				diff = append(diff, fmt.Sprintf("hv%d: want %s\n     have %s", n, strings.Join(want, " | "), strings.Join(have, " | ")))
			}
		}
	}
	s.value("rule sets that differ", float64(len(diff)), 0, "", "3 hypervisors, 2 families", strings.Join(diff, "\n"))
	return nil
}

// guests waits until each guest has its IPv6 address and a default route.
func guests(s *Stage) error {
	if !s.World.Timing.Is("dhcp", plan.DHCPNone) {
		if err := s.leases(); err != nil {
			return err
		}
	}
	var missing []string
	s.until(10*time.Second, func() bool {
		missing = nil
		for _, g := range plan.Guests() {
			if !configured(s.World.Guest(g), g) {
				missing = append(missing, g.Name)
			}
		}
		return len(missing) == 0
	})
	for _, g := range plan.Guests() {
		if slices.Contains(missing, g.Name) {
			s.involved = append(s.involved, plan.HVName(g.HV))
		}
	}
	s.value("guests without IPv6", float64(len(missing)), 0, "",
		fmt.Sprintf("all %.2f s after start", time.Since(s.Started).Seconds()), strings.Join(missing, " "))
	return nil
}

// leases lets every guest ask for its IPv4 address.
func (s *Stage) leases() error {
	start, bound, why := time.Now(), 0, ""
	for _, g := range plan.Guests() {
		ctx, cancel := context.WithTimeout(s.Ctx, 5*time.Second)
		l, err := probe.DHCP(ctx, s.World.Guest(g).Path, "eth0", g.MAC)
		cancel()
		if err != nil {
			why += fmt.Sprintf("%s: %v\n", g.Name, err)
			s.involved = append(s.involved, plan.HVName(g.HV))
			continue
		}
		if l.Address != netip.PrefixFrom(g.IPv4, plan.Subnet4.Bits()) || l.Gateway != plan.Gateway4 {
			why += fmt.Sprintf("%s: was given %v by way of %v\n", g.Name, l.Address, l.Gateway)
			continue
		}
		if err := s.World.Lease(g, l.Address, l.Gateway); err != nil {
			return err
		}
		bound++
	}
	s.value("guests without a lease", float64(len(plan.Guests())-bound), 0, "",
		fmt.Sprintf("%d bound in %d ms", bound, time.Since(start).Milliseconds()), why)
	return nil
}

func configured(n *world.Node, g plan.Guest) bool {
	addrs, err := n.NL.Addresses("eth0")
	if err != nil || !slices.Contains(addrs, netip.PrefixFrom(g.IPv6(), 64)) {
		return false
	}
	routes, err := n.NL.Routes(unix.AF_INET6, unix.RT_TABLE_MAIN)
	if err != nil {
		return false
	}
	for _, r := range routes {
		if r.Dst.Bits() == 0 && len(r.Hops) > 0 {
			return true
		}
	}
	return false
}

// pings has every guest ping every other one, the internet, and the additional
// addresses, and the internet ping every guest.
func pings(s *Stage) error {
	jobs := map[string][]netip.Addr{}
	extra := []netip.Addr{plan.Internet4, plan.Internet6, plan.Anycast4, plan.AnycastHost, plan.Transparent}
	for _, from := range plan.Guests() {
		for _, to := range plan.Guests() {
			if to.N != from.N {
				jobs[from.Name] = append(jobs[from.Name], to.IPv4, to.IPv6())
			}
		}
		for _, a := range extra {
			if !(from.Anycast && (a == plan.Anycast4 || a == plan.AnycastHost)) && !(from.Transparent && a == plan.Transparent) {
				jobs[from.Name] = append(jobs[from.Name], a)
			}
		}
		jobs[plan.EdgeName] = append(jobs[plan.EdgeName], from.IPv4, from.IPv6())
	}
	jobs[plan.EdgeName] = append(jobs[plan.EdgeName], extra[2:]...)
	total, lost, why := s.pingAll(jobs)
	s.involved = []string{"hv1", "hv2", "hv3"}
	s.value("pairs without an answer", float64(lost), 0, "", fmt.Sprintf("%d pairs", total), why)
	return nil
}

// pingAll runs the pings of all nodes at once.
func (s *Stage) pingAll(jobs map[string][]netip.Addr) (total, lost int, why string) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	var b strings.Builder
	for node, to := range jobs {
		total += len(to)
		wait.Go(func() {
			silent, err := probe.Ping(s.World.Nodes[node].Path, to, 3*time.Second)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				lost += len(to)
				fmt.Fprintf(&b, "%s: %v\n", node, err)
				return
			}
			lost += len(silent)
			for _, a := range silent {
				fmt.Fprintf(&b, "%s: no answer from %s\n", node, a)
			}
		})
	}
	wait.Wait()
	return total, lost, b.String()
}

// overlay pings between all guests on the VXLAN segment.
func overlay(s *Stage) error {
	jobs := map[string][]netip.Addr{}
	for _, from := range plan.Guests() {
		for _, to := range plan.Guests() {
			if to.N != from.N {
				jobs[from.Name] = append(jobs[from.Name], to.Overlay().Addr())
			}
		}
	}
	total, lost, why := s.pingAll(jobs)
	s.involved = []string{"hv1", "hv2", "hv3"}
	s.value("pairs without an answer", float64(lost), 0, "", fmt.Sprintf("%d pairs", total), why)
	return nil
}

// anycast looks at the gateways of the anycast prefixes where no copy lives, and
// has many flows from there find both copies.
func anycast(s *Stage) error {
	want := 4
	for _, f := range s.World.Lacking(world.Kind.AddPath) {
		want--
		s.degraded(fmt.Sprintf("reflector %s shows one copy of an anycast prefix", plan.RRName(f)), "no ADD-PATH for clients by range")
	}
	for _, name := range []string{plan.HVName(3), plan.EdgeName} {
		for _, family := range bothFamilies {
			p := netip.PrefixFrom(plan.Anycast4, 32)
			if family == unix.AF_INET6 {
				p = plan.Anycast6
			}
			have, err := s.World.Nodes[name].NL.Routes(family, plan.TablePublic)
			if err != nil {
				return err
			}
			count := 0
			for _, r := range have {
				if r.Dst == p {
					count += len(r.Hops)
				}
			}
			s.add(report.Result{Name: fmt.Sprintf("gateways of %s on %s", p, name), Value: report.Number(count),
				Limit: report.AtMost(float64(want)), Least: true})
		}
	}
	for _, from := range []string{"vm4", plan.EdgeName} {
		counts, err := s.spread(from)
		if err != nil {
			return err
		}
		s.add(report.Result{Name: "copies that flows from " + from + " reach", Value: report.Number(len(counts)),
			Limit: report.AtMost(min(2, float64(want-1))), Least: true, Detail: fmt.Sprintf("flows by copy: %v", counts)})
	}
	return nil
}

// spread sends packets with many source ports to the anycast address and counts
// where they arrive.
func (s *Stage) spread(from string) (map[string]int, error) {
	const port, flows = 7200, 64
	to := netip.AddrPortFrom(plan.Anycast4, port)
	counts := map[string]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, g := range plan.Guests() {
		if !g.Anycast {
			continue
		}
		conn, err := probe.Listen(s.World.Guest(g).Path, to)
		if err != nil {
			return nil, err
		}
		wait.Go(func() {
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			for b := make([]byte, 64); ; {
				if _, err := conn.Read(b); err != nil {
					return
				}
				mu.Lock()
				counts[g.Name]++
				mu.Unlock()
			}
		})
	}
	err := probe.Burst(s.World.Nodes[from].Path, to, flows)
	wait.Wait()
	return counts, err
}

// arp asks as a guest does: remote guests are answered with the hypervisor's
// MAC, an address that nobody has is not answered.
func arp(s *Stage) error {
	wrong := 0
	var why strings.Builder
	for _, g := range plan.Guests() {
		tap, err := s.World.HV(g.HV).NL.Link(g.Name)
		if err != nil {
			return err
		}
		for _, other := range plan.Guests() {
			if other.N == g.N {
				continue
			}
			macs, err := probe.ARP(s.World.Guest(g).Path, "eth0", g.MAC, g.IPv4, other.IPv4, time.Second, true)
			if err != nil {
				return err
			}
			if len(macs) != 1 || macs[0].String() != tap.MAC.String() {
				wrong++
				fmt.Fprintf(&why, "%s asked for %s: %v, want %s\n", g.Name, other.IPv4, macs, tap.MAC)
			}
		}
	}
	s.value("ARP answers that are not the hypervisor's", float64(wrong), 0, "", "12 pairs of guests", why.String())
	vm1 := plan.Guests()[0]
	ghosts := 0
	for _, a := range []netip.Addr{plan.Ghost, vm1.IPv4} {
		macs, err := probe.ARP(s.World.Guest(vm1).Path, "eth0", vm1.MAC, vm1.IPv4, a, 250*time.Millisecond, false)
		if err != nil {
			return err
		}
		ghosts += len(macs)
	}
	s.value("answers for ghosts and for oneself", float64(ghosts), 0, "", fmt.Sprintf("vm1 asked for %s and %s", plan.Ghost, vm1.IPv4), "")
	return nil
}

// spoof sends packets with sources that are not VM1's, and one that is.
func spoof(s *Stage) error {
	all := plan.Guests()
	vm1, vm2, to := all[0], all[1], all[3]
	tap, err := s.World.HV(vm1.HV).NL.Link(vm1.Name)
	if err != nil {
		return err
	}
	const port = 7100
	sources := map[string]netip.Addr{
		"own 4": vm1.IPv4, "own 6": vm1.IPv6(), "anycast 4": plan.Anycast4, "anycast 6": plan.AnycastHost,
		"spoof neighbour 4": vm2.IPv4, "spoof neighbour 6": vm2.IPv6(), "spoof ghost 4": plan.Ghost,
		"spoof internet 4": plan.Internet4, "spoof internet 6": plan.Internet6,
		"spoof fabric 4": plan.HVPublic4(1, plan.A), "spoof remote 4": all[2].IPv4, "spoof remote 6": all[2].IPv6(),
	}
	arrived, err := s.collect(to, port, func() error {
		var frames []probe.Frame
		for name, src := range sources {
			dst := to.IPv4
			if src.Is6() {
				dst = to.IPv6()
			}
			frames = append(frames, probe.Frame{SrcMAC: vm1.MAC, DstMAC: tap.MAC, Src: netip.AddrPortFrom(src, port),
				Dst: netip.AddrPortFrom(dst, port), Payload: []byte(name)})
		}
		return probe.Inject(s.World.Guest(vm1).Path, "eth0", frames...)
	})
	if err != nil {
		return err
	}
	leaked, own := 0, 0
	for _, name := range arrived {
		if strings.HasPrefix(name, "spoof") {
			leaked++
		} else {
			own++
		}
	}
	s.involved = []string{"hv1"}
	s.value("spoofed packets that arrived", float64(leaked), 0, "", "8 sources", strings.Join(arrived, ", "))
	s.add(report.Result{Name: "honest packets that arrived", Value: report.Number(own), Limit: report.AtMost(4), Least: true, Detail: "own and routed, both families"})
	return nil
}

// collect returns what arrives at a guest's UDP port while send runs and a
// little longer.
func (s *Stage) collect(g plan.Guest, port uint16, send func() error) ([]string, error) {
	conn, err := probe.Listen(s.World.Guest(g).Path, netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := send(); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
	var out []string
	for b := make([]byte, 256); ; {
		n, err := conn.Read(b)
		if err != nil {
			return out, nil
		}
		out = append(out, string(b[:n]))
	}
}
