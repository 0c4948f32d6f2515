package scenario

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var (
	oneSeed = flag.Uint64("seed", 0, "the seed that a random search plays, instead of all")
	seeds   = flag.Int("seeds", 0, "how many seeds a random search plays, instead of its own number")
	longer  = flag.Duration("search", 0, "how long each random search goes on, with seeds of no order, instead of its own number of them")
)

// Search tries random lists of inputs, and makes the first that fails short.
//
// A seed always makes the same inputs: a failure names it, -seed plays it again, and
// -seeds N tries more of them than the test does by itself. With -search, which is for
// continuous integration, seeds differ from run to run. The inputs that are left after
// shrinking are printed as a scenario, ready to become a golden file.
type Search struct {
	// Seeds is how many seeds are played without the flags, 1 being the first.
	Seeds int
	// Inputs makes the inputs of a seed, one line of a scenario each.
	Inputs func(r *rand.Rand) []string
	// Play plays the inputs from the beginning and returns which promise they broke,
	// or nil. Shrinking leaves out inputs, so Play must take those that make no sense
	// any more, such as the deletion of what was never made. It is called many times
	// and must not fail t itself; t is for what needs one, such as synctest.Test.
	Play func(t *testing.T, inputs []string) error
}

// Run plays the seeds one after the other, until one fails.
func (s Search) Run(t *testing.T) {
	t.Helper()
	if *oneSeed != 0 {
		s.seed(t, *oneSeed)
		return
	}
	if *longer > 0 {
		for start := time.Now(); time.Since(start) < *longer; {
			s.seed(t, 1+rand.Uint64N(1<<40))
		}
		return
	}
	n := s.Seeds
	if *seeds > 0 {
		n = *seeds
	}
	for seed := range uint64(n) {
		s.seed(t, seed+1)
	}
}

func (s Search) seed(t *testing.T, seed uint64) {
	t.Helper()
	inputs := s.Inputs(rand.New(rand.NewPCG(seed, 0)))
	err := s.Play(t, inputs)
	if err == nil {
		return
	}
	play := func(inputs []string) error { return s.Play(t, inputs) }
	short, shortErr := Shrink(inputs, play)
	if shortErr == nil {
		t.Fatalf("seed %d: %v\nplayed again, the same %d inputs do not fail: something decides that is not the seed", seed, err, len(inputs))
	}
	t.Fatalf("seed %d: %v\nagain: go test -run '^%s$' -seed %d\n%d of its %d inputs are enough for: %v\n\n%s\n",
		seed, err, t.Name(), seed, len(short), len(inputs), shortErr, strings.Join(short, "\n"))
}

// tries is how many shorter lists are played at most to shrink one.
const tries = 3000

// Shrink returns a short list made of inputs, in their order, for which play still
// returns an error, and that error. The error is nil if play finds nothing wrong with
// the inputs as they are.
//
// It leaves out ever smaller pieces, down to single inputs, until none can go.
func Shrink(inputs []string, play func(inputs []string) error) ([]string, error) {
	err := play(inputs)
	if err == nil {
		return inputs, nil
	}
	left := tries
	for size := (len(inputs) + 1) / 2; size > 0; {
		shorter := false
		for from := 0; from < len(inputs) && left > 0; left-- {
			to := min(from+size, len(inputs))
			without := append(append(make([]string, 0, len(inputs)), inputs[:from]...), inputs[to:]...)
			if e := play(without); e != nil {
				inputs, err, shorter = without, e, true
			} else {
				from = to
			}
		}
		if left == 0 {
			return inputs, fmt.Errorf("%w (shrinking stopped after %d tries)", err, tries)
		}
		switch {
		case size > 1:
			size = (size + 1) / 2
		case !shorter:
			size = 0
		}
	}
	return inputs, err
}
