package world

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	quietSeeds = flag.Uint64("quiet-seeds", 16, "worlds that are played with and without the packets of quiet BFD sessions")
	quietFirst = flag.Uint64("quiet-first", 1, "seed of the first of them")
)

// TestQuiet plays small worlds with a fault every second or two, each once with every BFD packet
// and once without those of quiet sessions: the traces are the same, octet for octet.
func TestQuiet(t *testing.T) {
	var simulated, skipped uint64
	seeds := *quietSeeds
	if testing.Short() {
		seeds = min(seeds, 4)
	}
	for seed := *quietFirst; seed < *quietFirst+seeds; seed++ {
		c := Config{Seed: seed, Hosts: 3, Guests: 2, Multiplier: 3 + int(seed%3)}
		lines := manyFaults(c, 3*time.Minute)
		c.EveryPacket = true
		all, _ := play(t, c, lines)
		c.EveryPacket = false
		some, counts := play(t, c, lines)
		simulated += counts.BFD
		skipped += counts.BFDSkipped
		if all != some {
			t.Fatalf("seed %d: not the same\n%s\nthe faults:\n%s", c.Seed, firstDifference(all, some), strings.Join(lines, "\n"))
		}
	}
	t.Logf("%d packets simulated, %d skipped", simulated, skipped)
	if skipped < simulated/2 {
		t.Errorf("%d packets skipped, and %d were not: hardly a test", skipped, simulated)
	}
}

// play plays a scenario, and returns its trace.
func play(t *testing.T, c Config, lines []string) (string, Counts) {
	var trace Lines
	c.Trace = trace.Add
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Play(lines, nil); err != nil {
		t.Fatal(err)
	}
	return trace.String(), w.Counted()
}

// manyFaults draws faults that come fast, with some quiet times between.
func manyFaults(c Config, length time.Duration) []string {
	d := drawer{config: c, random: rand.New(rand.NewPCG(c.Seed, 0x9)), guests: map[int]int{}, next: c.Hosts*c.Guests + 1}
	for at := 10 * time.Second; at < length; {
		d.fault(at, min(at+30*time.Second, length))
		at += time.Duration(d.random.ExpFloat64() * float64(1500*time.Millisecond))
		if d.random.IntN(15) == 0 {
			d.add(at, "everyone whole")
			at += 25 * time.Second
		}
	}
	d.add(length+5*time.Second, "everyone whole")
	d.add(length+30*time.Second, "everyone check")
	slices.SortStableFunc(d.lines, func(a, b drawn) int { return int(a.at - b.at) })
	lines := make([]string, len(d.lines))
	for i, l := range d.lines {
		lines[i] = fmt.Sprintf("+%v %s", l.at.Round(time.Millisecond), l.text)
	}
	return lines
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			from := max(0, i-5)
			return fmt.Sprintf("one run:\n%s\nthe other:\n%s", strings.Join(x[from:min(i+5, len(x))], "\n"), strings.Join(y[from:min(i+5, len(y))], "\n"))
		}
	}
	return "one is longer"
}
