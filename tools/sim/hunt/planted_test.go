package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/mutant"
)

// TestPlanted builds the simulator with each planted fault of the table, and plays its worlds until
// a seed finds it. It prints the seeds and their median. With -short only the first few are built.
func TestPlanted(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	h := &hunt{root: root, dir: t.TempDir(), parallel: 2, limit: time.Minute}
	list := planted
	if testing.Short() {
		list = list[:2]
	}
	clean, err := h.build(t.Context(), "clean")
	if err != nil {
		t.Fatal(err)
	}
	var seeds []int
	for _, p := range list {
		m, err := mutant.Read(filepath.Join(root, mutants, p.mutant+".patch"))
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := m.Overlay(root, h.dir)
		if err != nil {
			t.Fatal(err)
		}
		sim, err := h.build(t.Context(), m.Name, "-overlay", overlay)
		if err != nil {
			t.Fatal(err)
		}
		h.world = themed([]string{"-hosts", "3", "-guests", "2", "-hours", strconv.FormatFloat(plantedHours, 'g', -1, 64)}, p.theme)
		seed, v, err := h.finds(t.Context(), clean, sim, p.within)
		switch {
		case err != nil:
			t.Fatal(err)
		case seed == 0:
			t.Errorf("%s: not found by seeds 1 to %d of theme %q", p.mutant, p.within, p.theme)
		default:
			t.Logf("%s: seed %d of theme %q: %s: %s", p.mutant, seed, p.theme, v.invariant, v.text)
			seeds = append(seeds, seed)
		}
	}
	if slices.Sort(seeds); len(seeds) > 0 {
		t.Logf("%d faults found, median seed %d", len(seeds), seeds[len(seeds)/2])
	}
}
