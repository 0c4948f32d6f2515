package ndp

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// scheduled drives a Schedule by text.
type scheduled struct{ *Schedule }

func (s scheduled) Advance(now time.Time) []string {
	if e := s.Schedule.Advance(now); e != ScheduleNothing {
		return []string{e.String()}
	}
	return nil
}

func (s scheduled) Do(now time.Time, words []string) ([]string, error) {
	switch strings.Join(words, " ") {
	case "":
	case "start":
		s.Start(now)
	case "stop":
		s.Stop(now)
	case "solicited":
		if s.Solicited(now) {
			return []string{"answer"}, nil
		}
		return []string{"later"}, nil
	default:
		return nil, fmt.Errorf("unknown input %q", words[0])
	}
	return nil, nil
}

// TestSchedule plays testdata/schedule_*.txt. Random numbers are 0, 1/4, 1/2, 3/4 in
// turn.
func TestSchedule(t *testing.T) {
	scenario.Files(t, "testdata/schedule_*.txt", func(_ *testing.T, text string) (string, error) {
		x := -0.25
		s := NewSchedule(Timing{Rand: func() float64 { x += 0.25; return math.Mod(x, 1) }})
		return scenario.Play(text, scheduled{s})
	})
}

// Intervals stay within the bounds of RFC 4861, Section 6.2.1, whatever the random
// numbers.
func TestIntervals(t *testing.T) {
	s := NewSchedule(Timing{MaxInterval: 10 * time.Second})
	now := time.Unix(0, 0)
	s.Start(now)
	for range 1000 {
		last := now
		now = s.Deadline()
		if d := now.Sub(last); last != time.Unix(0, 0) && (d < 10*time.Second/3 || d > 10*time.Second) {
			t.Fatalf("interval %v", d)
		}
		if e := s.Advance(now); e != ScheduleAdvertise {
			t.Fatal(e)
		}
	}
}
