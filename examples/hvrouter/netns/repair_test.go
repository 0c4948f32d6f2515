package netns

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
)

// A program that flushes the ruleset at once after each repair, for a minute: ten repairs
// at once, then ever later, and one in a second in the end. A minute of quiet ends the row.
func TestRepairPause(t *testing.T) {
	var row brake.Brake
	start := time.Now()
	repairs, contended := 0, 0
	now := start
	for now.Before(start.Add(time.Minute)) {
		wait, c := repairPause(&row, now)
		if repairs++; repairs <= 10 && wait != shortestPause || wait > longestPause {
			t.Errorf("repair %d waits %v", repairs, wait)
		}
		if c {
			contended++
		}
		now = now.Add(wait)
	}
	if repairs < 60 || repairs > 75 || contended != 1 {
		t.Errorf("%d repairs in a minute, contended %d times", repairs, contended)
	}
	if wait, _ := repairPause(&row, now.Add(2*time.Minute)); wait != shortestPause {
		t.Errorf("after two minutes of quiet: %v", wait)
	}
}
