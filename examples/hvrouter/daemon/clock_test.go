package daemon

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// jumpingClock makes of the time of a scenario what time.Now returns on a host whose date is set
// forth and back by an hour all the time: the monotonic clock goes on as it should, the wall clock is
// another one at each look. A nil clock changes nothing.
type jumpingClock struct {
	start time.Time // of the scenario
	real  time.Time // the same moment, with a monotonic reading
	looks int
}

// at returns what a look at the clock gives at a time of the scenario.
func (c *jumpingClock) at(t time.Time) time.Time {
	if c == nil {
		return t
	}
	if c.start.IsZero() {
		c.start, c.real = t, time.Now()
	}
	c.looks++
	return setDate(c.real.Add(t.Sub(c.start)), []time.Duration{time.Hour, -time.Hour, 0}[c.looks%3])
}

// back returns the time of the scenario that a deadline of the Core stands for.
func (c *jumpingClock) back(t time.Time) time.Time {
	if c == nil || t.IsZero() || c.start.IsZero() {
		return t
	}
	return c.start.Add(t.Sub(c.real))
}

// setDate returns t with another wall clock and the same monotonic clock: what time.Now would
// have returned if the date had been set. The representation is that of package time: 33 bits of
// seconds above 30 of nanoseconds, if the highest bit says that there is a monotonic reading.
func setDate(t time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t))
	if *wall>>63 == 0 {
		panic("no monotonic reading")
	}
	*wall += uint64(int64(by/time.Second)) << 30
	return t
}

func TestSetDate(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{time.Hour, -time.Hour, 0} {
		if then := setDate(now, by); then.Sub(now) != 0 || then.Round(0).Sub(now.Round(0)) != by {
			t.Errorf("%v: %v of %v", by, then, now)
		}
	}
}

var since = regexp.MustCompile(`since="[^"]*"`)

// TestClockJumps: every scenario of the whole daemon, with restarts, drains and sessions in it,
// comes out octet for octet as with a clock that goes on, if somebody sets the date forth and back by
// an hour at each look at it. Only the date that an event says is another one.
func TestClockJumps(t *testing.T) {
	scenario.Files(t, "testdata/core/*.txt", func(_ *testing.T, text string) (string, error) {
		want, err := scenario.Play(text, &coreMachine{})
		if err != nil {
			return "", err
		}
		clock := &jumpingClock{}
		got, err := scenario.Play(text, &coreMachine{clock: clock})
		if err != nil {
			return "", err
		}
		if clock.looks < 100 {
			return "", fmt.Errorf("the clock was looked at %d times", clock.looks)
		}
		if a, b := since.ReplaceAllString(got, "since"), since.ReplaceAllString(want, "since"); a != b {
			x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
			for i := range min(len(x), len(y)) {
				if x[i] != y[i] {
					return "", fmt.Errorf("line %d, with a date that is set:\n%s\n--- without:\n%s", i+1, strings.Join(x[i:min(i+5, len(x))], "\n"), strings.Join(y[i:min(i+5, len(y))], "\n"))
				}
			}
			return "", fmt.Errorf("%d lines with a date that is set, %d without", len(x), len(y))
		}
		return want, nil
	})
}
