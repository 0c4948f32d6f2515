package daemon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestCoreSearch plays random lives of a host and its reflectors twice: octet for octet the same.
// After quiet the kernel has what the RIBs want, and each reflector has what is announced.
func TestCoreSearch(t *testing.T) {
	scenario.Search{Seeds: 20, Inputs: coreInputs, Play: func(_ *testing.T, inputs []string) error {
		text := strings.Join(append(slices.Clone(corePrelude), inputs...), "\n") + "\n+1h30m"
		m := &coreMachine{}
		first, err := scenario.Play(text, m)
		if err != nil {
			return err
		}
		if again, _ := scenario.Play(text, &coreMachine{}); again != first {
			return fmt.Errorf("not the same the second time:\n%s", firstDifference(first, again))
		}
		if strings.Contains(first, "on and on") {
			return fmt.Errorf("it goes on and on")
		}
		if !m.core.Converged() {
			return nil // an input that is needed for that was left out
		}
		return m.quiet()
	}}.Run(t)
}

var corePrelude = []string{"config hv1.yaml",
	"link 10 a.public", "link 11 b.public", "link 12 a.private", "link 13 b.private", "link 14 loopback",
	"address 10 198.51.100.101/25", "address 11 198.51.100.201/25", "address 12 172.22.15.101/25", "address 13 172.22.15.201/25",
	"reflector 198.51.100.126 203.0.113.77/32 0.0.0.0/0", "reflector 172.22.15.126 172.22.2.2/32", "reflector 172.22.15.226",
	"read", "synced 90", "synced 20", "+5s"}

func coreInputs(r *rand.Rand) (lines []string) {
	at := 10 * time.Second
	for range 25 {
		at += time.Duration(r.IntN(4)) * []time.Duration{time.Millisecond, time.Second, time.Minute}[r.IntN(3)]
		fabric := r.IntN(2)
		peer, local, link := []string{"198.51.100.126", "198.51.100.226"}[fabric], []string{"198.51.100.101", "198.51.100.201"}[fabric], []string{"a.public", "b.public"}[fabric]
		guest := r.IntN(2)
		now := fmt.Sprintf("+%v ", at)
		switch r.IntN(12) {
		case 0, 1:
			lines = append(lines, now+fmt.Sprintf("link %d vm%d", 20+guest, 1+guest))
		case 2:
			lines = append(lines, now+fmt.Sprintf("unlink %d vm%d", 20+guest, 1+guest))
		case 3:
			lines = append(lines, now+"put {name: vm9, interface: vm9, ipv4: [203.0.113.9]}", "link 29 vm9")
		case 4:
			lines = append(lines, now+[]string{"del vm9", "move vm9 pref 50", "move vm1 down", "move vm1 up"}[r.IntN(4)])
		case 5:
			lines = append(lines, now+fmt.Sprintf("bfd %s %s %s %s", []string{"up", "down"}[r.IntN(2)], local, peer, link))
		case 6:
			lines = append(lines, now+"crash "+peer)
		case 7:
			lines = append(lines, now+"reflector "+peer+[]string{"", " 203.0.113.77/32", " 203.0.113.78/32 0.0.0.0/0"}[r.IntN(3)])
		case 8:
			lines = append(lines, now+"restart", "synced 90", "synced 20")
		case 9:
			lines = append(lines, now+fmt.Sprintf("%s 203.0.113.66/32 90 5 %d", []string{"learn", "unlearn"}[r.IntN(2)], 20+guest))
		case 10:
			lines = append(lines, now+fmt.Sprintf("link %d %s%s", 10+fabric, link, []string{"", " dark"}[r.IntN(2)]))
		default:
			lines = append(lines, now+"reload force hv1.yaml"+[]string{"", " 203.0.113.1]=>203.0.113.4]", " local:_198.51.100.201,_peer:_198.51.100.226=>local:_198.51.100.202,_peer:_198.51.100.226"}[r.IntN(3)])
		}
	}
	return lines
}

// firstDifference returns the lines where two texts begin to differ.
func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("%d: %s\n%d: %s", i, x[i], i, y[i])
		}
	}
	return "one is longer"
}

// quiet checks what must be so when nothing has happened for a while.
func (m *coreMachine) quiet() error {
	wanted := map[fib.RouteKey]bool{}
	announced := map[netip.Prefix]bool{}
	for _, d := range m.cfg.Domains {
		for _, r := range m.core.Routes(d.Name) {
			for _, k := range r.Kernel {
				if !slices.ContainsFunc(k.NextHops, func(h domain.NextHop) bool { return m.core.router.home().Links().Index(h.Link) == 0 }) {
					wanted[fib.RouteKey{Table: k.Table, Prefix: k.Prefix, Metric: k.Metric}] = true
				}
			}
			if r.Announced && d.Name == "public" {
				announced[r.Prefix] = r.Prefix.Addr().Is4()
			}
		}
	}
	for k := range m.kernels[""].routes {
		if !wanted[k] && k.Metric < 1<<31 {
			return fmt.Errorf("the kernel has %v, which nobody wants", k)
		}
		delete(wanted, k)
	}
	for k := range wanted {
		return fmt.Errorf("the kernel does not have %v", k)
	}
	return m.reflected(announced)
}

// reflected checks what the reflectors of public have of us.
func (m *coreMachine) reflected(announced map[netip.Prefix]bool) error {
	for _, r := range m.wires.reflectors {
		if !strings.HasPrefix(r.addr.String(), "198.") {
			continue
		}
		has := map[netip.Prefix]bool{}
		for c := range r.speaker.Table().All(wire.IPv4Unicast) {
			if slices.ContainsFunc(c.Paths, func(p rib.Path) bool { return !p.Local }) {
				has[c.Prefix] = true
			}
		}
		for p, v4 := range announced {
			if v4 && len(has) > 0 && !has[p] {
				return fmt.Errorf("%v does not have %v", r.addr, p)
			}
		}
		for p := range has {
			if !announced[p] {
				return fmt.Errorf("%v still has %v", r.addr, p)
			}
		}
	}
	return nil
}
