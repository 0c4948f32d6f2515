package bfdcore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// A session of these tests is a letter, and what a client wants of it a number, of which
// the greater is the more demanding; odd and even ones do not go together.
func numbers(w *world) Rules[string, int] {
	return Rules[string, int]{
		Compare: strings.Compare,
		Merge: func(a, b int) (int, error) {
			if a%2 != b%2 {
				return 0, errors.New("odd and even")
			}
			return max(a, b), nil
		},
		Equal: func(a, b int) bool { return a == b },
		Apply: func(k string, c int) error {
			if c > 90 {
				return errors.New("too much")
			}
			w.said = append(w.said, fmt.Sprintf("%s is %d", k, c))
			w.sessions[k] = c
			return nil
		},
		Remove: func(k string) error {
			w.said = append(w.said, k+" ends")
			if _, ok := w.sessions[k]; !ok {
				return errors.New("ended twice")
			}
			delete(w.sessions, k)
			return nil
		},
		Restart: time.Minute, MaxClients: 3, MaxSize: 500,
	}
}

// world is a Sharing with what it made of its sessions.
type world struct {
	*Sharing[string, int]
	sessions map[string]int
	said     []string
}

func newWorld() *world {
	w := &world{sessions: map[string]int{}}
	w.Sharing = NewSharing(numbers(w), scenario.Epoch)
	return w
}

// Do implements [scenario.Machine].
func (w *world) Do(now time.Time, words []string) (out []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	w.said = nil
	arg := append(words[1:], "", "", "")
	switch words[0] {
	case "connect":
		err = w.Connect(arg[0], now)
	case "disconnect":
		w.Disconnect(arg[0], now)
	case "add":
		n, _ := strconv.Atoi(arg[2])
		err = w.Add(arg[0], arg[1], n, n)
	case "remove":
		err = w.Remove(arg[0], arg[1])
	case "synced":
		w.Synced(arg[0])
	case "expire":
		if w.Expire(now) {
			w.said = append(w.said, "finished")
		}
	case "restore":
		n, _ := strconv.Atoi(arg[2])
		if err = w.Restore(arg[0], arg[1], n, n, now); err == nil {
			w.RestoreSession(arg[1], n)
			w.sessions[arg[1]] = n
		}
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	slices.Sort(w.said)
	if err != nil {
		w.said = append(w.said, "error: "+err.Error())
	}
	return w.said, nil
}

func TestSharing(t *testing.T) {
	scenario.Files(t, "testdata/sharing/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, newWorld())
	})
}

// oracle is Sharing by brute force: what is wanted is worked out anew each time.
type oracle struct {
	wants map[string]map[string]int // of clients
	stale map[string]map[string]bool
	on    map[string]bool
	since map[string]time.Time
}

func (o *oracle) sessions() (all map[string]int, ok bool) {
	all = map[string]int{}
	for _, wants := range o.wants {
		for k, n := range wants {
			if have, there := all[k]; there && have%2 != n%2 {
				return nil, false
			}
			all[k] = max(all[k], n)
		}
	}
	for _, n := range all {
		if n > 90 {
			return nil, false
		}
	}
	return all, true
}

func (o *oracle) size(name string) (n int) {
	for _, v := range o.wants[name] {
		n += v
	}
	return n
}

// do carries out an input and reports whether it was accepted.
func (o *oracle) do(now time.Time, words []string) bool {
	arg := append(words[1:], "", "", "")
	name, k := arg[0], arg[1]
	wants := o.wants[name]
	drop := func(name string, stale map[string]bool) {
		for k := range stale {
			delete(o.wants[name], k)
		}
		o.stale[name] = map[string]bool{}
	}
	switch words[0] {
	case "connect":
		if wants == nil && len(o.wants) == 3 || o.on[name] {
			return false
		}
		if wants == nil {
			o.wants[name] = map[string]int{}
		}
		o.on[name], o.since[name], o.stale[name] = true, now, keys(o.wants[name])
	case "disconnect":
		if o.on[name] {
			o.on[name], o.since[name] = false, now
		}
	case "add":
		if wants == nil {
			return false
		}
		n, _ := strconv.Atoi(arg[2])
		was, had := wants[k]
		wants[k] = n
		_, ok := o.sessions()
		if !ok || o.size(name) > 500 {
			if delete(wants, k); had {
				wants[k] = was
			}
			return false
		}
		delete(o.stale[name], k)
	case "remove":
		if _, ok := wants[k]; !ok {
			return false
		}
		delete(wants, k)
		delete(o.stale[name], k)
	case "synced":
		drop(name, o.stale[name])
	case "expire":
		for name := range o.wants {
			if now.Sub(o.since[name]) < time.Minute {
				continue
			}
			if o.on[name] {
				drop(name, o.stale[name])
			} else {
				delete(o.wants, name)
			}
		}
	}
	return true
}

// TestSharingSearch compares Sharing with the oracle under random clients.
func TestSharingSearch(t *testing.T) {
	scenario.Search{
		Seeds: 300,
		Inputs: func(r *rand.Rand) (inputs []string) {
			names, sessions := []string{"a", "b", "c", "d"}, []string{"x", "y", "z"}
			at := time.Duration(0)
			for range 80 {
				at += time.Duration(r.IntN(20)) * time.Second
				name, k := names[r.IntN(4)], sessions[r.IntN(3)]
				input := []string{"connect " + name, "disconnect " + name, "synced " + name, "expire", "remove " + name + " " + k,
					fmt.Sprintf("add %s %s %d", name, k, r.IntN(100)), fmt.Sprintf("add %s %s %d", name, k, 2*r.IntN(40))}[r.IntN(7)]
				inputs = append(inputs, fmt.Sprintf("+%v %s", at, input))
			}
			return inputs
		},
		Play: playSharing,
	}.Run(t)
}

func playSharing(t *testing.T, inputs []string) error {
	w := newWorld()
	o := &oracle{map[string]map[string]int{}, map[string]map[string]bool{}, map[string]bool{}, map[string]time.Time{}}
	for _, input := range inputs {
		words := strings.Fields(input)
		at, _ := time.ParseDuration(words[0][1:])
		now := scenario.Epoch.Add(at)
		out, err := w.Do(now, words[1:])
		if err != nil {
			return err
		}
		refused := slices.ContainsFunc(out, func(s string) bool { return strings.HasPrefix(s, "error") })
		if accepted := o.do(now, words[1:]); accepted == refused {
			return fmt.Errorf("%q: accepted %v, wanted %v: %q", input, !refused, accepted, out)
		}
		if want, _ := o.sessions(); !maps.Equal(want, w.sessions) {
			return fmt.Errorf("%q: sessions %v, wanted %v", input, w.sessions, want)
		}
	}
	return nil
}
