package act

import (
	"testing"
	"time"
)

// A failure counts if the machine ran, and in the last play; whoever fails always, fails.
func TestAgain(t *testing.T) {
	const ran, stood = time.Millisecond, time.Second
	type play struct {
		failed bool
		stood  time.Duration
	}
	for name, tc := range map[string]struct {
		plays []play // the last one goes on
		want  int    // plays
		fails bool
	}{
		"passes":                          {[]play{{false, ran}}, 1, false},
		"passes though the machine stood": {[]play{{false, stood}}, 1, false},
		"fails":                           {[]play{{true, ran}}, 1, true},
		"the machine's fault":             {[]play{{true, stood}, {true, stood}, {false, stood}}, 3, false},
		"void, then fails":                {[]play{{true, stood}, {true, ran}}, 2, true},
		"fails on any machine":            {[]play{{true, stood}}, plays, true},
	} {
		n, voids, failed := 0, 0, false
		again(func() (bool, time.Duration) {
			p := tc.plays[min(n, len(tc.plays)-1)]
			n++
			failed = p.failed
			return p.failed, p.stood
		}, func(time.Duration) { voids++ })
		if n != tc.want || failed != tc.fails || voids != n-1 {
			t.Errorf("%s: %d plays, %d of them void, failed %v", name, n, voids, failed)
		}
	}
}
