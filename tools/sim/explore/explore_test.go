package explore_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/tools/sim/explore"
	"github.com/hyperfib/hyperfib/tools/sim/mutant"
	"github.com/hyperfib/hyperfib/tools/sim/world"
)

// TestThemes plays every theme to a fixed depth: nothing is broken.
func TestThemes(t *testing.T) {
	for _, theme := range explore.Themes {
		t.Run(theme.Name, func(t *testing.T) {
			depth := 5
			if testing.Short() {
				depth = 3
			}
			r, err := explore.Run(explore.Config{Depth: depth, Theme: theme})
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			r.Report(&b)
			t.Log(b.String())
			if r.Violation != nil || r.Settled == 0 {
				t.Fail()
			}
		})
	}
}

// TestProcessors explores with one processor and with three: the same paths are played.
func TestProcessors(t *testing.T) {
	theme := explore.Themes[slices.IndexFunc(explore.Themes, func(t explore.Theme) bool { return t.Name == "bfd" })]
	run := func(processors int) *explore.Result {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		r, err := explore.Run(explore.Config{Depth: 4, Theme: theme})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, three := run(1), run(3)
	if !maps.Equal(one.States, three.States) || one.Replayed != three.Replayed || one.Settled != three.Settled || one.Replayed < 10 {
		t.Errorf("%d states, %d from the start, %d settled; with three processors %d, %d, %d",
			len(one.States), one.Replayed, one.Settled, len(three.States), three.Replayed, three.Settled)
	}
}

// TestAgain plays a path twice, with a restart in it: the states on the way are the same, and
// the daemon has converged at its end.
func TestAgain(t *testing.T) {
	play := func() (states []string) {
		w, err := world.New(explore.Base)
		if err != nil {
			t.Fatal(err)
		}
		inputs := []string{"+50.05s step begin", "kill h1", "step A", "step B", "start h1"}
		for i := 0; i < 40; i++ {
			if i >= len(inputs) {
				who := "time"
				if r := w.Ready(); len(r) > 0 {
					who = r[i%len(r)]
				}
				inputs = append(inputs, "step "+who)
			}
			if err := w.Play(inputs[i:i+1], nil); err != nil {
				t.Fatal(err)
			}
			states = append(states, inputs[i]+"\n"+w.State())
		}
		if len(w.Violations) > 0 {
			t.Error(w.Violations)
		}
		return states
	}
	first, second := play(), play()
	for i := range first {
		if first[i] != second[i] {
			t.Fatalf("step %d:\n%s\n--- and again:\n%s", i, first[i], second[i])
		}
	}
	if last := first[len(first)-1]; !strings.Contains(last, "ready true converged true") || strings.Contains(last, " true\npath") {
		t.Errorf("the daemon is not back:\n%s", last)
	}
}

// TestMutants explores the module with planted faults: each is found within a depth. It builds
// the simulator once for each.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator with each mutant")
	}
	const root = "../../.."
	for _, tt := range []struct{ mutant, theme, depth string }{
		{"unchanged-path-stays-stale", "restart", "1"},
		{"stale-after-path-down", "path", "5"},
		{"consecutive-restart-deletes", "sweep", "4"},
		{"last-member-deleted", "paths", "6"},
	} {
		t.Run(tt.mutant, func(t *testing.T) {
			t.Parallel()
			m, err := mutant.Read(filepath.Join("../testdata/mutants", tt.mutant+".patch"))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			overlay, err := m.Overlay(root, dir)
			if err != nil {
				t.Fatal(err)
			}
			sim := filepath.Join(dir, "sim")
			build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", sim, "./tools/sim")
			build.Dir = root
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := exec.CommandContext(t.Context(), sim, "-explore", tt.depth, "-theme", tt.theme).CombinedOutput()
			_, path, found := strings.Cut(string(out), "violation: ")
			if err == nil || !found {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			_, scenario, _ := strings.Cut(path, "\n")
			t.Logf("%s", path)
			file := filepath.Join(dir, "scenario")
			if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), sim, "-replay", file).CombinedOutput(); err == nil {
				t.Errorf("played again, the scenario does not fail:\n%s", out)
			}
		})
	}
}
