package world

import (
	"testing"
	"time"
)

// TestHeader: the first line of a scenario says what kind of world it is, and is refused where it
// would be another one than was written.
func TestHeader(t *testing.T) {
	want := Config{Seed: 7, Hosts: 3, Guests: 2, BFD: 100 * time.Millisecond, Sessions: SessionsBoth, Begin: time.Second, Strict: true, Audit: 10 * time.Minute}
	got, lines, err := ParseScenario(Config{}, want.Header()+"\n1s kill h1\n")
	if err != nil || got.Header() != want.Header() || !got.Strict || len(lines) != 1 {
		t.Errorf("%q: %q, %q, %v", want.Header(), got.Header(), lines, err)
	}
	for _, bad := range []string{"world strict perhaps", "world seed 7 strict", "world packets some", "world sessions all", "world audit seldom", "world color red"} {
		if _, _, err := ParseScenario(Config{}, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
