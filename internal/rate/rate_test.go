package rate

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	b := Bucket{Rate: 10, Size: 3}
	now := time.Unix(1000, 0)
	take := func(want int) {
		t.Helper()
		got := 0
		for b.Take(now) {
			got++
		}
		if got != want {
			t.Errorf("at %v: %d tokens, want %d", now.Unix(), got, want)
		}
	}
	take(3)
	now = now.Add(100 * time.Millisecond)
	take(1)
	now = now.Add(-time.Hour)
	take(0)
	now = now.Add(2 * time.Hour)
	take(3)
}
