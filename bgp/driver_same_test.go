package bgp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestDriverSameAsRun plays faults to driven speakers, and to speakers in goroutines over a
// network in memory: when all is over, their tables and their sessions are the same.
func TestDriverSameAsRun(t *testing.T) {
	scenario.Search{
		Seeds: 8,
		Inputs: func(r *rand.Rand) []string {
			return slices.DeleteFunc(driverInputs(r), func(line string) bool { // goroutines cannot be stopped
				return strings.Contains(line, " stop ") || strings.Contains(line, " continue ")
			})
		},
		Play: func(t *testing.T, inputs []string) (err error) {
			text := strings.Join(inputs, "\n") + "\n"
			driven := newDrivenScenario()
			if _, err := scenario.Play(text, driven); err != nil {
				return err
			}
			synctest.Test(t, func(t *testing.T) {
				running := &runScenario{speakers: map[string]*Speaker{}, kills: map[string]func() error{}}
				defer running.end()
				if _, err = scenario.Play(text, running); err == nil {
					err = running.differs(driven)
				}
			})
			return err
		},
	}.Run(t)
}

// runScenario plays the scenarios of drivenScenario with speakers in goroutines.
type runScenario struct {
	n        bgptest.Network
	speakers map[string]*Speaker
	kills    map[string]func() error
}

// Do implements scenario.Machine.
func (s *runScenario) Do(now time.Time, words []string) ([]string, error) {
	time.Sleep(time.Until(now))
	synctest.Wait()
	if len(words) == 0 {
		return nil, nil
	}
	err := s.do(append(words, "", "", ""))
	synctest.Wait()
	return nil, err
}

func (s *runScenario) do(w []string) error {
	a, b := hostAddr(w[1]), hostAddr(w[2])
	switch w[0] {
	case "segment":
		var seed uint64
		fmt.Sscan(w[1], &seed)
		s.n.Segment(seed)
	case "start":
		return s.start(w[1], a, w[2] == "restarting")
	case "kill":
		s.kill(w[1])
	case "cut":
		s.n.Cut(a, b)
	case "join":
		s.n.Join(a, b)
	case "reset":
		s.n.Reset(a, b)
	case "stall":
		d, err := time.ParseDuration(w[3])
		s.n.Stall(a, b, d)
		return err
	default:
		if sp := s.speakers[w[1]]; sp != nil {
			return command(sp, w, b)
		}
	}
	return nil
}

func (s *runScenario) start(name string, a netip.Addr, restarting bool) error {
	s.kill(name)
	c := scenarioConfig(a, restarting)
	c.Listen = []netip.AddrPort{netip.AddrPortFrom(a, Port)}
	c.Listener, c.Dialer = s.n.Listen, s.n.Dialer(a)
	sp, err := New(c)
	if err != nil {
		return err
	}
	s.speakers[name], s.kills[name] = sp, bgptest.Run(sp)
	return nil
}

func (s *runScenario) kill(name string) {
	if kill := s.kills[name]; kill != nil {
		_ = kill()
	}
	delete(s.kills, name)
	delete(s.speakers, name)
}

func (s *runScenario) end() {
	for name := range s.kills {
		s.kill(name)
	}
	synctest.Wait()
}

// differs reports a speaker that has come to something else than the driven one.
func (s *runScenario) differs(d *drivenScenario) error {
	for _, h := range d.n.hosts {
		sp := s.speakers[hostName(h.addr)]
		if (sp == nil) != (h.s == nil) {
			return fmt.Errorf("%s runs in one form only", hostName(h.addr))
		}
		if sp == nil {
			continue
		}
		if driven, run := outcome(h.s), outcome(sp); driven != run {
			return fmt.Errorf("%s came to\n%sdriven, and to\n%sin goroutines", hostName(h.addr), driven, run)
		}
	}
	return nil
}

// outcome is what a speaker has come to.
func outcome(s *Speaker) string {
	var b strings.Builder
	for _, p := range s.Peers() {
		fmt.Fprintf(&b, "%s %v %v\n", hostName(p.Key.Addr), p.State, p.Restart)
	}
	w := s.WatchRoutes(rib.WatchConfig{AllPaths: true})
	defer w.Close()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var lines []string
	for changes := make([]rib.Change, 16); ; {
		n, err := w.Next(over, changes)
		for _, c := range changes[:n] {
			line := changeLine(c)
			for _, p := range c.Paths {
				line += fmt.Sprintf(" %v %d", p.NextHop, p.Rank)
			}
			lines = append(lines, line)
		}
		if err != nil {
			break
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}
