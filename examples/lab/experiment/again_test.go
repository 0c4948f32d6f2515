package experiment

import (
	"testing"
	"time"
)

// A failure counts if the machine ran, and in the last try; whoever fails always, fails.
func TestAgain(t *testing.T) {
	const ran, stood = time.Millisecond, time.Second
	type try struct {
		failed bool
		stood  time.Duration
	}
	for name, tc := range map[string]struct {
		tries []try // the last one goes on
		want  int   // tries
		fails bool
	}{
		"passes":                          {[]try{{false, ran}}, 1, false},
		"passes though the machine stood": {[]try{{false, stood}}, 1, false},
		"fails":                           {[]try{{true, ran}}, 1, true},
		"the machine's fault":             {[]try{{true, stood}, {true, stood}, {false, stood}}, 3, false},
		"void, then fails":                {[]try{{true, stood}, {true, ran}}, 2, true},
		"fails on any machine":            {[]try{{true, stood}}, tries, true},
	} {
		n, voids, failed := 0, 0, false
		again(func() (bool, time.Duration) {
			p := tc.tries[min(n, len(tc.tries)-1)]
			n++
			failed = p.failed
			return p.failed, p.stood
		}, func(time.Duration) { voids++ })
		if n != tc.want || failed != tc.fails || voids != n-1 {
			t.Errorf("%s: %d tries, %d of them void, failed %v", name, n, voids, failed)
		}
	}
}
