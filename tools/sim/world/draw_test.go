package world

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDrawNothingTwice draws the faults of many seeds: none begins twice at one moment. What ends
// faults may, as two at one cable end together.
func TestDrawNothingTwice(t *testing.T) {
	ends := []string{"heal", "carrier", "boot", "start", "cont", "slow", "bfd start", "rr start", "rr cold", "rr cont", "guest unclaim", "guest come", "undrain"}
	for seed := range uint64(2000) {
		lines := Draw(Config{Seed: seed, Hosts: 3, Guests: 2}, 20*time.Minute)
		slices.Sort(lines)
		for i, l := range lines[1:] {
			_, what, _ := strings.Cut(l, " ")
			if l == lines[i] && !slices.ContainsFunc(ends, func(end string) bool { return strings.HasPrefix(what, end) }) {
				t.Errorf("seed %d: %q twice", seed, l)
			}
		}
	}
}
