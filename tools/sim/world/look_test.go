package world

import (
	"strings"
	"testing"
	"time"
)

// TestEveryFlow plays small worlds with a fault every second or two, each once with every flow looked
// at after every change and once with those only that depend on it: the traces are the same, octet
// for octet.
func TestEveryFlow(t *testing.T) {
	var all, some uint64
	seeds := *quietSeeds
	if testing.Short() {
		seeds = min(seeds, 2)
	}
	for seed := *quietFirst; seed < *quietFirst+seeds; seed++ {
		c := Config{Seed: seed, Hosts: 3 + int(seed%2), Guests: 3}
		lines := manyFaults(c, 3*time.Minute)
		c.EveryFlow = true
		want, counts := play(t, c, lines)
		all += counts.Lookups
		c.EveryFlow = false
		got, counts := play(t, c, lines)
		some += counts.Lookups
		if got != want {
			t.Fatalf("seed %d: not the same\n%s\nthe faults:\n%s", seed, firstDifference(want, got), strings.Join(lines, "\n"))
		}
	}
	t.Logf("looked %d times at a flow, in place of %d", some, all)
	if some > all/4 {
		t.Errorf("looked %d times at a flow, and %d times without: hardly a test", some, all)
	}
}
