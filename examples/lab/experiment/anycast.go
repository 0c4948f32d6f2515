package experiment

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
	"github.com/hyperfib/hyperfib/examples/lab/report"
)

// anycast looks at the gateways of the anycast prefixes where no copy lives, and
// has many flows from there find both copies.
func anycast(run *Run) error {
	expect := run.expect(run.Topology.Timing.Lab)
	gateways := expect.Copies(plan.HVName(3), netip.PrefixFrom(plan.Anycast4, 32))
	copies := map[string]int{"vm4": min(2, gateways-1), plan.EdgeName: min(2, gateways-1)}
	switch lab := run.Topology.Timing.Lab; {
	case lab.Mixed(): // spines lead to copies with reflectors, whose AS path is shorter
		copies = map[string]int{"vm4": 1, plan.EdgeName: 1}
	case lab.ToRs(): // a rack's router leads to the copy in the rack
		copies = map[string]int{"vm4": 1, plan.EdgeName: 2}
	}
	for _, f := range expect.One {
		run.degraded(run.Topology.Timing.Peer(f)+" shows one copy of an anycast prefix", run.Topology.RRKind(f).LacksAddPath())
	}
	for _, name := range []string{plan.HVName(3), plan.EdgeName} {
		for _, family := range bothFamilies {
			p := netip.PrefixFrom(plan.Anycast4, 32)
			if family == unix.AF_INET6 {
				p = plan.Anycast6
			}
			have, err := run.publicRoutes(name, family)
			if err != nil {
				return err
			}
			count := 0
			for _, r := range have {
				if r.Dst == p {
					count += len(r.Hops)
				}
			}
			run.add(report.Result{Name: fmt.Sprintf("gateways of %s on %s", p, name), Value: report.Number(count),
				Limit: report.AtMost(float64(expect.Copies(name, p))), Least: true})
		}
	}
	for _, from := range []string{"vm4", plan.EdgeName} {
		counts, err := run.spread(from)
		if err != nil {
			return err
		}
		run.add(report.Result{Name: "copies that flows from " + from + " reach", Value: report.Number(len(counts)),
			Limit: report.AtMost(float64(copies[from])), Least: true, Detail: fmt.Sprintf("flows by copy: %v", counts)})
	}
	return nil
}

// spread sends packets with many source ports to the anycast address and counts
// where they arrive.
func (run *Run) spread(from string) (map[string]int, error) {
	const port, flows = 7200, 64
	to := netip.AddrPortFrom(plan.Anycast4, port)
	counts := map[string]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, g := range run.guests() {
		if !g.Anycast {
			continue
		}
		conn, err := probe.Listen(run.Topology.Guest(g).Path, to)
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
	err := probe.Burst(run.Topology.Nodes[from].Path, to, flows)
	wait.Wait()
	return counts, err
}
