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
	for seed := range uint64(2000) {
		lines := Draw(Config{Seed: seed, Hosts: 3, Guests: 2}, 20*time.Minute)
		slices.Sort(lines)
		for i, l := range lines[1:] {
			if l == lines[i] && !ends(strings.Fields(l)[1:]) {
				t.Errorf("seed %d: %q twice", seed, l)
			}
		}
	}
}

// TestDrawFaults draws as many faults as are asked for, and without a wish as many as ever: what
// seeds have been played with.
func TestDrawFaults(t *testing.T) {
	count := func(c Config) (faults int) {
		for _, l := range Draw(c, 24*time.Hour) {
			if _, words, err := Split(l); err != nil {
				t.Fatal(err)
			} else if !ends(words) {
				faults++
			}
		}
		return faults
	}
	for _, tt := range []struct{ rate, least, most float64 }{{0, 2.8, 3.4}, {0.2, 0.14, 0.3}, {1, 0.93, 1.13}, {1.1, 1, 1.25}} {
		for seed := range uint64(5) {
			n := count(Config{Seed: seed, Hosts: 100, Guests: 20, Faults: tt.rate})
			if got := float64(n) / (24 * 60); got < tt.least || got > tt.most {
				t.Errorf("seed %d, %v faults a minute: %v", seed, tt.rate, got)
			}
		}
	}
}
