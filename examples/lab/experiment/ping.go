package experiment

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// pings has every guest ping every other one, the internet, and the additional
// addresses, and the internet ping every guest.
func pings(run *Run) error {
	jobs := map[string][]netip.Addr{}
	extra := []netip.Addr{plan.Internet4, plan.Internet6, plan.Anycast4, plan.AnycastHost, plan.Transparent}
	for _, from := range run.guests() {
		for _, to := range run.guests() {
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
	if !run.carried6() {
		run.degraded("IPv6 pings", "no reflector carries IPv6")
		for node, to := range jobs {
			jobs[node] = slices.DeleteFunc(to, netip.Addr.Is6)
		}
	}
	total, lost, why := run.pingAll(jobs)
	run.involved = []string{"hv1", "hv2", "hv3"}
	run.value("pairs without an answer", float64(lost), 0, "", fmt.Sprintf("%d pairs", total), why)
	return nil
}

// pingAll runs the pings of all nodes at once.
func (run *Run) pingAll(jobs map[string][]netip.Addr) (total, lost int, why string) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	var b strings.Builder
	for node, to := range jobs {
		total += len(to)
		wait.Go(func() {
			silent, err := probe.Ping(run.Topology.Nodes[node].Path, to, 3*time.Second)
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
func overlay(run *Run) error {
	jobs := map[string][]netip.Addr{}
	for _, from := range run.guests() {
		for _, to := range run.guests() {
			if to.N != from.N {
				jobs[from.Name] = append(jobs[from.Name], to.Overlay().Addr())
			}
		}
	}
	total, lost, why := run.pingAll(jobs)
	run.involved = []string{"hv1", "hv2", "hv3"}
	run.value("pairs without an answer", float64(lost), 0, "", fmt.Sprintf("%d pairs", total), why)
	return nil
}
