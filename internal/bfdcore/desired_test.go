package bfdcore

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// asked is a Desired with the process that it tells, which refuses what is odd while it
// is told to.
type asked struct {
	d        Desired[string, int]
	has      map[string]int
	stale    map[string]bool // had before this connection, and not told since
	refuses  bool
	pending  *Request[string, int] // its answer is not there yet
	refused  bool                  // and will be no
	slow     bool                  // answers come by "answer" only
	requests int
}

func newAsked() *asked {
	return &asked{d: Desired[string, int]{FirstRetry: time.Second, LastRetry: 8 * time.Second}, has: map[string]int{}}
}

func (a *asked) Deadline() time.Time {
	if a.pending != nil {
		return time.Time{}
	}
	return a.d.Deadline()
}

func (a *asked) Advance(now time.Time) []string { return a.tell(now) }

// tell makes every request that there is.
func (a *asked) tell(now time.Time) (out []string) {
	for a.pending == nil {
		r, ok := a.d.Next(now)
		if !ok {
			return out
		}
		a.requests++
		refused := a.refuses && r.Kind == RequestAdd && r.Config%2 == 1
		switch {
		case refused:
			out = append(out, fmt.Sprintf("add %s %d: refused", r.Key, r.Config))
		case r.Kind == RequestAdd:
			out = append(out, fmt.Sprintf("add %s %d", r.Key, r.Config))
			a.has[r.Key] = r.Config
			delete(a.stale, r.Key)
		case r.Kind == RequestRemove:
			out = append(out, "remove "+r.Key)
			delete(a.has, r.Key)
		default:
			out = append(out, "synced")
			for k := range a.stale {
				delete(a.has, k)
			}
		}
		if a.slow {
			a.pending, a.refused = &r, refused
			return out
		}
		a.d.Done(r, refused, now)
	}
	return out
}

// Do implements [scenario.Machine].
func (a *asked) Do(now time.Time, words []string) (out []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	arg := append(words[1:], "", "")
	n, _ := strconv.Atoi(arg[1])
	switch words[0] {
	case "set":
		a.d.Set(arg[0], n)
	case "delete":
		if !a.d.Delete(arg[0]) {
			out = append(out, "error: not wanted")
		}
	case "synced":
		a.d.Synced()
	case "connect":
		if !a.d.connected {
			a.stale = keys(a.has)
			a.d.Connect(strings.Compare)
		}
	case "disconnect":
		a.d.Disconnect()
		a.pending = nil
	case "refuse":
		a.refuses = arg[0] == "on"
	case "slow":
		a.slow = arg[0] == "on"
	case "answer":
		if a.pending != nil {
			a.d.Done(*a.pending, a.refused, now)
			a.pending = nil
		}
	case "lose": // another process comes, which has nothing
		clear(a.has)
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return append(out, a.tell(now)...), nil
}

func TestDesired(t *testing.T) {
	scenario.Files(t, "testdata/desired/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, newAsked())
	})
}

// TestDesiredSearch: once the client has said that it wants nothing more, and the process
// has answered and refuses nothing, the process has what the client wants, whatever came
// before; and what is refused is not tried all the time.
func TestDesiredSearch(t *testing.T) {
	scenario.Search{
		Seeds: 300,
		Inputs: func(r *rand.Rand) (inputs []string) {
			at := time.Duration(0)
			for range 60 {
				at += time.Duration(r.IntN(3000)) * time.Millisecond
				k := string(rune('a' + r.IntN(4)))
				inputs = append(inputs, fmt.Sprintf("+%v %s", at, []string{"set " + k + " " + strconv.Itoa(r.IntN(9)), "set " + k + " 1", "delete " + k, "connect", "disconnect",
					"disconnect", "refuse on", "refuse off", "slow on", "slow off", "answer", "lose", "synced"}[r.IntN(13)]))
			}
			return inputs
		},
		Play: func(t *testing.T, inputs []string) error {
			a := newAsked()
			want := map[string]int{}
			for _, input := range inputs {
				switch w := strings.Fields(input); w[1] {
				case "set":
					want[w[2]], _ = strconv.Atoi(w[3])
				case "delete":
					delete(want, w[2])
				}
			}
			script := strings.Join(inputs, "\n") + "\nrefuse off\nslow off\nanswer\ndisconnect\nsynced\nconnect\n"
			if _, err := scenario.Play(script, a); err != nil {
				return err
			}
			if !maps.Equal(want, a.has) {
				return fmt.Errorf("the process has %v, wanted is %v", a.has, want)
			}
			if len(a.d.items) != len(want) || len(a.d.queue) > 0 || !a.d.Deadline().IsZero() {
				return fmt.Errorf("left over: %+v", a.d)
			}
			if a.requests > 1000 {
				return fmt.Errorf("%d requests", a.requests)
			}
			return nil
		},
	}.Run(t)
}
