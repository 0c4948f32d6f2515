package explore

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestIndependent plays steps that are said to be independent in both orders, after paths drawn by
// a seed. The states are the same, and so they are after the next turns: what has come in another
// order makes no difference.
func TestIndependent(t *testing.T) {
	paths := 60
	if testing.Short() {
		paths = 5
	}
	all := 0
	for _, theme := range Themes {
		t.Run(theme.Name, func(t *testing.T) {
			p := &player{Config: Config{Theme: theme}, begin: theme.begin()}
			random := rand.New(rand.NewPCG(1, 0))
			compared := 0
			for range paths {
				compared += p.bothOrders(t, random)
			}
			t.Logf("%d pairs", compared)
			all += compared
		})
	}
	if all < paths {
		t.Errorf("only %d pairs were compared", all)
	}
}

// bothOrders goes a random path and compares the orders of two steps at its end. It returns how
// many pairs were compared.
func (p *player) bothOrders(t *testing.T, random *rand.Rand) int {
	t.Helper()
	w, err := p.replay(nil)
	if err != nil {
		t.Fatal(err)
	}
	var path []string
	for range 3 + random.IntN(12) {
		choices := p.Theme.choices(path, w.Ready())
		if len(choices) == 0 {
			return 0
		}
		path = append(path, choices[random.IntN(len(choices))])
		if err := w.Play(path[len(path)-1:], nil); err != nil {
			t.Fatal(err)
		}
	}
	choices := p.Theme.choices(path, w.Ready())
	random.Shuffle(len(choices), func(i, j int) { choices[i], choices[j] = choices[j], choices[i] })
	for i, a := range choices {
		for _, b := range choices[i+1:] {
			if p.Theme.Independent(a, b) {
				p.compare(t, path, a, b)
				return 1
			}
		}
	}
	return 0
}

func (p *player) compare(t *testing.T, path []string, a, b string) {
	t.Helper()
	one, other := p.statesAfter(t, path, a, b), p.statesAfter(t, path, b, a)
	for i := range one {
		if one[i] != other[i] {
			t.Fatalf("after %q: %q and %q are not independent:\n%s", path, a, b, difference(one[i], other[i]))
		}
	}
}

// statesAfter returns the states after two steps at the end of a path, and after each turn of
// those who have something to do then.
func (p *player) statesAfter(t *testing.T, path []string, steps ...string) (states []string) {
	t.Helper()
	w, err := p.replay(path)
	if err == nil {
		err = w.Play(steps, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	states = append(states, w.State())
	for _, who := range []string{"daemon", "bfd", "rr A", "rr B", "h2"} {
		if slices.Contains(w.Ready(), who) {
			if err := w.Play([]string{"step " + who}, nil); err != nil {
				t.Fatal(err)
			}
		}
		states = append(states, w.State())
	}
	return states
}

// TestSameState plays all paths, also those that lead to a state which another has led to: of two with
// the same state the same steps do the same.
func TestSameState(t *testing.T) {
	for _, theme := range Themes {
		t.Run(theme.Name, func(t *testing.T) {
			depth := 4
			if testing.Short() {
				depth = 2
			}
			p := &player{Config: Config{Theme: theme}, begin: theme.begin()}
			type came struct {
				*outcome
				text string
			}
			first, equal := map[edge]came{}, 0
			for level := []*outcome{p.root()}; depth > 0; depth-- {
				var next []*outcome
				for _, from := range level {
					for _, step := range from.choices {
						w, err := p.replay(from.path)
						if err != nil {
							t.Fatal(err)
						}
						o := p.step(w, from, step)
						if o.err != nil {
							t.Fatal(o.err)
						}
						next = append(next, o)
						e := edge{from.state, step}
						if f, had := first[e]; !had {
							first[e] = came{o, w.State()}
						} else if equal++; f.state != o.state {
							t.Errorf("after %q and after %q the state is the same, and then not:\n%s", f.path, o.path, difference(f.text, w.State()))
						}
					}
				}
				level = next
			}
			t.Logf("%d steps, %d of them at states that had been", len(first)+equal, equal)
		})
	}
}

// difference returns the lines that only one of two states has.
func difference(a, b string) string {
	var out []string
	only := func(sign, a, b string) {
		had := strings.Split(b, "\n")
		for l := range strings.SplitSeq(a, "\n") {
			if !slices.Contains(had, l) {
				out = append(out, sign+l)
			}
		}
	}
	only("-", a, b)
	only("+", b, a)
	return strings.Join(out, "\n")
}

// TestSleep explores with and without the steps that sleep sets leave out: the states are the
// same, at the same depths.
func TestSleep(t *testing.T) {
	for _, theme := range Themes {
		t.Run(theme.Name, func(t *testing.T) {
			depth := 4
			if testing.Short() {
				depth = 2
			}
			all, err := Run(Config{Depth: depth, Theme: theme, Full: true})
			if err != nil {
				t.Fatal(err)
			}
			some, err := Run(Config{Depth: depth, Theme: theme})
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(all.States, some.States) {
				t.Errorf("%d states of %d", len(some.States), len(all.States))
			}
			t.Logf("%d states, %d steps of %d", len(all.States), len(some.edges), len(all.edges))
		})
	}
}
