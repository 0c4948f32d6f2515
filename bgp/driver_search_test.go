package bgp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestDriverSearch drives a reflector, a, and its clients b, c and d, through faults: equal
// inputs give equal octets, whatever the seeds of maps are, and once the faults are over all
// speakers have all routes.
func TestDriverSearch(t *testing.T) {
	scenario.Search{Seeds: 10, Inputs: driverInputs, Play: func(_ *testing.T, inputs []string) error {
		first, err := playDriven(inputs)
		if err != nil {
			return err
		}
		second, _ := playDriven(inputs)
		for i := range min(len(first), len(second)) {
			if first[i] != second[i] {
				return fmt.Errorf("two runs differ at\n%s\n%s", first[i], second[i])
			}
		}
		if len(first) != len(second) {
			return fmt.Errorf("one run has %d lines, the other %d", len(first), len(second))
		}
		return nil
	}}.Run(t)
}

// driverInputs makes a fleet, and what happens to it. Every fault ends.
func driverInputs(r *rand.Rand) []string {
	inputs := []string{fmt.Sprint("segment ", r.IntN(1<<30)), "start a", "range a", "session a b client", "inventory a"}
	for _, h := range []string{"b", "c", "d"} {
		inputs = append(inputs, "start "+h, "session "+h+" a", "originate "+h+" 10.0."+h2(h)+".0/24", "inventory "+h)
	}
	at := 0
	for range 12 {
		at += r.IntN(100)
		h := []string{"b", "c", "d"}[r.IntN(3)]
		in := func(d int, line string) { inputs = append(inputs, fmt.Sprintf("+%ds %s", at+d, line)) }
		switch r.IntN(8) {
		case 0:
			in(0, "reset a "+h)
		case 1:
			in(0, fmt.Sprintf("stall %s a %ds", h, 1+r.IntN(200)))
		case 2:
			in(0, "cut a "+h)
			at += r.IntN(200)
			in(0, "join a "+h)
		case 3:
			in(0, "stop "+h)
			at += r.IntN(120)
			in(0, "continue "+h)
		case 4:
			in(0, "kill "+h)
			at += r.IntN(150)
			for _, line := range []string{"start " + h + " restarting", "session " + h + " a", "originate " + h + " 10.0." + h2(h) + ".0/24", "inventory " + h} {
				in(0, line)
			}
		case 5:
			in(0, fmt.Sprintf("originate %s 10.%d.0.0/16", h, 1+r.IntN(5)))
		case 6:
			in(0, fmt.Sprintf("withdraw %s 10.%d.0.0/16", h, 1+r.IntN(5)))
		case 7:
			in(0, "pathdown a "+h)
			at += r.IntN(50)
			in(0, "pathup a "+h)
		}
	}
	return append(inputs, fmt.Sprintf("+%ds", at+1200))
}

// h2 is the number of a host.
func h2(name string) string { return fmt.Sprint(name[0] - 'a' + 1) }

// playDriven returns everything that was sent and everything that the speakers said.
func playDriven(inputs []string) ([]string, error) {
	s := newDrivenScenario()
	if _, err := scenario.Play(strings.Join(inputs, "\n")+"\n", s); err != nil {
		return nil, err
	}
	return s.n.trace, s.check()
}

// check reports a promise that was broken, and a speaker that runs and lacks a route.
func (s *drivenScenario) check() error {
	if len(s.n.wrong) > 0 {
		return errors.New(s.n.wrong[0])
	}
	var want []string
	for _, h := range s.n.hosts {
		if h.s != nil && h.s.running() == nil {
			want = append(want, originated(h.s)...)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	for _, h := range s.n.hosts {
		if h.s == nil {
			continue
		}
		for _, p := range h.s.Peers() {
			if p.State != Established {
				return fmt.Errorf("%s: %s is %v: %v", hostName(h.addr), hostName(p.Key.Addr), p.State, p.LastError)
			}
		}
		if got := routed(h.s); !slices.Equal(got, want) {
			return fmt.Errorf("%s has the routes %v, want %v", hostName(h.addr), got, want)
		}
	}
	return nil
}

// routed returns the prefixes to which a speaker has a path that is not stale.
func routed(s *Speaker) []string { return prefixes(s, func(p *rib.Path) bool { return !p.Stale }) }

// originated returns the prefixes of a speaker's own.
func originated(s *Speaker) []string { return prefixes(s, func(p *rib.Path) bool { return p.Local }) }

// prefixes returns the prefixes with a path that counts, in order.
func prefixes(s *Speaker, counts func(*rib.Path) bool) (out []string) {
	w := s.Table().Watch(rib.WatchConfig{AllPaths: true})
	defer w.Close()
	changes := make([]rib.Change, 64)
	for {
		n := w.Next(changes)
		if n == 0 {
			slices.Sort(out)
			return out
		}
		for _, c := range changes[:n] {
			if slices.ContainsFunc(c.Paths, func(p rib.Path) bool { return counts(&p) }) {
				out = append(out, c.Prefix.String())
			}
		}
	}
}
