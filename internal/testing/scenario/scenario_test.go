package scenario

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// egg is a timer that rings every period, until it is stopped.
type egg struct {
	at     time.Time
	period time.Duration
}

func (e *egg) Deadline() time.Time { return e.at }

func (e *egg) Advance(now time.Time) []string {
	e.at = e.at.Add(e.period)
	return []string{"ring"}
}

func (e *egg) Do(now time.Time, words []string) ([]string, error) {
	switch strings.Join(words, " ") {
	case "start":
		e.at = now.Add(e.period)
		return []string{"set"}, nil
	case "slower":
		e.period *= 2
		return nil, nil
	case "stop":
		e.at = time.Time{}
		return nil, nil
	case "":
		return nil, nil
	}
	return nil, fmt.Errorf("unknown word %q", words[0])
}

func TestPlay(t *testing.T) {
	const want = `# An egg timer.
+1s start
	set
	+2s ring
	... 2 more, 1s apart

# From now on half as often: the next ring is set already.
+4.5s slower
	+5s ring
	... 2 more, 2s apart
+10s stop
slower
+1h
`
	got, err := Play("# An egg timer.\n+1s start\n\twrong\n\n# From now on half as often: the next ring is set already.\n+4.5s slower\n+10s stop\nslower\n+1h\n", &egg{period: time.Second})
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	if again, err := Play(got, &egg{period: time.Second}); err != nil || again != want {
		t.Errorf("a scenario with its outputs plays differently: %v\n%s", err, again)
	}
	for text, want := range map[string]string{
		"start\n+1s jump\n":        `2: "+1s jump": unknown word "jump"`,
		"+2s start\n\tset\n+1s\n":  `3: "+1s": earlier than the input before it`,
		"+soon start":              `1: "+soon start": time: invalid duration "soon"`,
		"start\nslower\n+1s start": "",
	} {
		if _, err := Play(text, &egg{period: time.Second}); fmt.Sprint(err) != want && (err != nil || want != "") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Play("+1s start\n+2s\n", &egg{}); err == nil {
		t.Error("a timer that does not move on is not noticed")
	}
}

func TestShrink(t *testing.T) {
	bad := errors.New("3 before 7")
	play := func(inputs []string) error {
		if i := slices.Index(inputs, "3"); i >= 0 && slices.Contains(inputs[i:], "7") {
			return bad
		}
		return nil
	}
	search := Search{Inputs: func(r *rand.Rand) (inputs []string) {
		for range 200 {
			inputs = append(inputs, fmt.Sprint(r.IntN(10)))
		}
		return inputs
	}}
	for seed := range uint64(50) {
		short, err := Shrink(search.Inputs(rand.New(rand.NewPCG(seed, 0))), play)
		if err != bad || !slices.Equal(short, []string{"3", "7"}) {
			t.Fatalf("seed %d: %v, %v", seed, short, err)
		}
	}
	if _, err := Shrink([]string{"7", "3"}, play); err != nil {
		t.Error(err)
	}
}
