package nstest

import (
	"testing"
	"time"
)

// An attempt keeps its failures to itself, ends where it says Fatal or Skip, and
// cleans up behind itself in reverse order whatever happens.
func TestAttempt(t *testing.T) {
	for name, tc := range map[string]struct {
		body            func(tb testing.TB)
		failed, skipped bool
	}{
		"nothing":             {func(testing.TB) {}, false, false},
		"Error":               {func(tb testing.TB) { tb.Error("meant") }, true, false},
		"Fatalf":              {func(tb testing.TB) { tb.Fatalf("%s", "meant"); panic("went on") }, true, false},
		"Skip":                {func(tb testing.TB) { tb.Skip("meant"); panic("went on") }, false, true},
		"Fatal in a cleanup":  {func(tb testing.TB) { tb.Cleanup(func() { tb.Fatal("meant") }) }, true, false},
		"a cleanup's cleanup": {func(tb testing.TB) { tb.Cleanup(func() { tb.Cleanup(func() { tb.Error("meant") }) }) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, order := &attempt{TB: t}, ""
			a.run(func(tb testing.TB) {
				tb.Cleanup(func() { order += "1" })
				tb.Cleanup(func() { order += "2" })
				tc.body(tb)
			})
			if a.Failed() != tc.failed || a.Skipped() != tc.skipped || order != "21" {
				t.Errorf("failed %v, skipped %v, cleanups %q", a.Failed(), a.Skipped(), order)
			}
		})
	}
}

// Without a failure there is one attempt; a claim that held after a void one holds.
func TestSteady(t *testing.T) {
	runs := 0
	Steady(t, time.Hour, func(testing.TB) { runs++ })
	if runs != 1 {
		t.Errorf("%d runs of what does not fail", runs)
	}
}

func TestStall(t *testing.T) {
	s := WatchStall()
	for s.Worst() == 0 { // no wake-up is that exact
		time.Sleep(time.Millisecond)
	}
	if s.Stop() <= 0 {
		t.Error("no stall was measured")
	}
}
