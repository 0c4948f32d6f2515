package main

import (
	"reflect"
	"testing"
)

const printed = `3 hypervisors, 7 guests, 15 flows; 59 faults, 2 checks
  the start                                                    loosened  2
seed 17: 20m59s of the world in 260ms, 160ms of CPU; trace 6fd1c6df7828c973, 977 lines
2 violations; again: go run ./tools/sim -hosts 3 -guests 2 -hours 0.35 -seed 17
+15m3.011s black hole: h2 -> 172.31.0.3 for 35.000000001s, allowed 35s (the start): h2: to rr.a.public, which does not forward
+19m59.5µs every guest is reached after quiet: h2 -> g5 at h3: h2: blackhole in table 20
+20m0s a daemon lives: h1
`

func TestParse(t *testing.T) {
	want := []violation{
		{"black hole", "h2 -> 172.31.0.3", "h2 -> 172.31.0.3 for 35.000000001s, allowed 35s (the start): h2: to rr.a.public, which does not forward"},
		{"every guest is reached after quiet", "h2 -> g5 at h3", "h2 -> g5 at h3: h2: blackhole in table 20"},
		{"a daemon lives", "h1", "h1"},
	}
	o := parse(printed)
	if o.trace != "6fd1c6df7828c973" {
		t.Errorf("trace %q", o.trace)
	}
	got := o.violations
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q", got)
	}
	if k := got[0].kind(); k != "black hole: # -> # for #, allowed # (the start): #: to rr.a.public, which does not forward" {
		t.Errorf("kind %q", k)
	}
}

// TestCompare plays outcomes of four worlds: one that differs, one that is the same, one that
// differs in another flow, one that is of another kind.
func TestCompare(t *testing.T) {
	hole := func(flow, why string) outcome {
		return parse("+1s black hole: " + flow + " for 3s, allowed 1s (the start): " + why)
	}
	none := outcome{}
	c := newClean([]outcome{none, hole("h1 -> g1", "h2: no route"), hole("h1 -> g1", "h2: no route"), none})
	for _, tt := range []struct {
		name string
		with []outcome
		want string
	}{
		{"nothing", []outcome{none, {trace: "1"}, none, none}, "not found in 4 worlds, of which 1 differ"},
		{"the same", c.outcomes, "not found in 4 worlds, of which 0 differ"},
		{"longer", []outcome{none, parse("+9s black hole: h1 -> g1 for 8s, allowed 1s (): h1: loops"), none, none}, "not found in 4 worlds, of which 0 differ"},
		{"another flow", []outcome{none, none, hole("h2 -> g1", "h3: no route"), none},
			"seed 3 (of a kind that there is without a fault, too); 1 of 4 worlds, median 3; black hole: h2 -> g1 for 3s, allowed 1s (the start): h3: no route"},
		{"another kind", []outcome{hole("h2 -> g1", "h3: no route"), none, hole("h2 -> g1", "loops"), hole("h1 -> g1", "loops")},
			"seed 3; 2 of 4 worlds, median 2; black hole: h2 -> g1 for 3s, allowed 1s (the start): loops"},
		{"a world too few", []outcome{parse("+1s a daemon lives: h1: no")}, "seed 1; 1 of 1 worlds, median 1; a daemon lives: h1: no"},
		{"the first half only", []outcome{parse("+1s a daemon lives: h1: no"), none, none}, "seed 1; 1 of 3 worlds, median more; a daemon lives: h1: no"},
	} {
		if got := c.compare(tt.with).String(); got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
