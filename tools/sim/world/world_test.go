package world

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestSameSeed plays the faults of some seeds twice: the traces are the same, line for line.
func TestSameSeed(t *testing.T) {
	sums := map[string]uint64{}
	for seed := uint64(1); seed <= 5; seed++ {
		c := Config{Seed: seed, Hosts: 3, Guests: 2}
		lines := Draw(c, 12*time.Minute)
		var traces [2]Lines
		var sum string
		for i := range traces {
			c.Trace = traces[i].Add
			w, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Play(lines, nil); err != nil {
				t.Fatal(err)
			}
			if sum = w.Sum(); i > 0 && traces[0].String() != traces[1].String() {
				t.Fatalf("seed %d: not the same\n%s", seed, firstDifference(traces[0].String(), traces[1].String()))
			}
		}
		if other, ok := sums[sum]; ok {
			t.Errorf("seeds %d and %d: the same trace", other, seed)
		}
		sums[sum] = seed
	}
}

// TestScenario plays testdata/*.txt. The outputs are the outages of flows, each at the second in
// which it ended and with its length rounded up to a power of ten, so that another jitter changes
// nothing. The input "everyone check" says how many there were.
func TestScenario(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		p := &player{}
		got, err := scenario.Play(text, p)
		if err == nil && p.checks == 0 {
			err = fmt.Errorf("0: no check")
		}
		if p.w != nil {
			for _, v := range p.w.Violations {
				t.Errorf("violation: %v", v)
			}
		}
		return got, err
	})
}

// player plays a scenario, whose first input is the line that describes the world.
type player struct {
	w       *World // nil before that line
	at      time.Duration
	outages int
	lines   []string
	checks  int
}

// Deadline returns the end of the second.
func (p *player) Deadline() time.Time {
	if p.w == nil {
		return time.Time{}
	}
	return scenario.Epoch.Add(p.at + time.Second)
}

// Advance lets the world go on until now.
func (p *player) Advance(now time.Time) []string {
	p.at = now.Sub(scenario.Epoch)
	p.w.Run(p.at, nil)
	return p.take()
}

// Do carries out an input.
func (p *player) Do(now time.Time, words []string) ([]string, error) {
	if p.w == nil {
		c, _, err := ParseScenario(Config{Trace: p.note}, strings.Join(words, " "))
		if err == nil {
			p.w, err = New(c)
		}
		return p.take(), err
	}
	p.w.Run(now.Sub(scenario.Epoch), nil)
	if len(words) == 0 {
		return p.take(), nil
	}
	err := p.w.Do(words)
	if strings.Join(words, " ") == "everyone check" {
		p.checks++
		p.lines = append(p.lines, fmt.Sprintf("%d outages, %d violations", p.outages, len(p.w.Violations)))
	}
	return p.take(), err
}

var outage = regexp.MustCompile(`^\S+ flow (.*) had a (.*) for (\S+) \((.*?)\): `)

// note takes a line of the trace.
func (p *player) note(line string) {
	if m := outage.FindStringSubmatch(line); m != nil {
		d, _ := time.ParseDuration(m[3])
		limit := time.Millisecond
		for limit < d {
			limit *= 10
		}
		p.outages++
		p.lines = append(p.lines, fmt.Sprintf("%s: %s for up to %v (%s)", m[1], m[2], limit, m[4]))
	}
	if _, what, ok := strings.Cut(line, " VIOLATION "); ok {
		p.lines = append(p.lines, "VIOLATION "+what)
	}
}

// take returns the outputs so far, sorted: flows recover in an order that jitter decides.
func (p *player) take() (lines []string) {
	lines, p.lines = p.lines, nil
	slices.Sort(lines)
	return lines
}

// TestStrict: with BGP sessions that wait for BFD, on both sides, what holds of any world holds, and
// after a last quiet time every session is up.
func TestStrict(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		c := Config{Seed: seed, Hosts: 3, Guests: 2, Strict: true}
		waits := 0
		c.Trace = func(line string) {
			if strings.Contains(line, "waits for BFD") {
				waits++
			}
		}
		w, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Play(Draw(c, 12*time.Minute), nil); err != nil {
			t.Fatal(err)
		}
		for _, v := range w.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
		if waits == 0 {
			t.Errorf("seed %d: no session has waited for BFD", seed)
		}
	}
}
