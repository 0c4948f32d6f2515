package trim

import "testing"

func TestTrimmer(t *testing.T) {
	const mib = 1 << 20
	var m trimmer
	for i, step := range []struct {
		cycles, heap uint64
		held         int
		want         bool
	}{
		{1, 4 * mib, 0, false},
		{5, 90 * mib, 1000, false}, // busy
		{5, 90 * mib, 1000, true},  // idle, and grown
		{5, 90 * mib, 1000, false}, // nothing new
		{5, 95 * mib, 400, true},   // routes went away
		{5, 10 * mib, 400, false},
		{5, 10 * mib, 100, true}, // and more of them
		{5, 3 * mib, 0, false},   // too little to bother
	} {
		if got := m.due(step.cycles, step.heap, step.held); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
		if step.want {
			m.heap, m.held = step.heap, step.held
		}
	}
}
