// Package explore plays every interleaving of the steps of a small world, to a depth: one
// hypervisor whose daemon, BFD process, kernel and two fabrics take turns, one remote hypervisor,
// and the reflectors of both fabrics. See "Every interleaving" in docs/simulator.md.
package explore

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/tools/sim/world"
)

// Config is what is explored.
type Config struct {
	Depth int // steps of each path
	Theme Theme
	// Full plays independent steps in both orders.
	Full bool
	// Progress is called after each depth; nil: nobody reads it.
	Progress func(Level)
}

// Level is what was found at one depth.
type Level struct {
	Depth  int
	Paths  int // that were played to this depth
	States int // that no path had led to before
	Took   time.Duration
}

// Result is what an exploration found.
type Result struct {
	Config Config
	Levels []Level
	// States has the depth at which each state was reached first.
	States map[State]int
	// Pruned are paths that led to a state which another had led to; Commuted are steps that
	// were not played because independent ones were in the other order.
	Pruned, Commuted int
	Replayed         int // paths that were played from the start
	Settled          int // states at the last depth: from each everything had to become right again
	// Frontier counts the steps after the last depth, which were not played, by their names.
	Frontier map[string]int
	// Violation is the first that was found, nil if none was, and Path the scenario that shows
	// it.
	Violation *world.Violation
	Path      []string
	Took      time.Duration

	edges map[edge]*outcome // that were played
}

// node is a state to go on from.
type node struct {
	*outcome
	sleep []string // steps that have not to be played
	steps []string // those that have
}

// Base is the world that is explored.
var Base = world.Config{Seed: 1, Hosts: 2, Guests: 1, BFD: time.Second, EveryPacket: true, Begin: 50 * time.Second}

// search is an exploration under way: depth by depth.
type search struct {
	player
	result *Result
	// sleep has for each state the steps that were not played there so far.
	sleep map[State][]string
}

// Run explores.
func Run(c Config) (*Result, error) {
	s := &search{
		player: player{Config: c, begin: c.Theme.begin(), known: newPlayed()},
		result: &Result{Config: c, States: map[State]int{}, Frontier: map[string]int{}},
		sleep:  map[State][]string{},
	}
	r, began := s.result, time.Now()
	level, err := s.merge([]*outcome{s.root()}, [][]string{nil}, 0)
	for depth := 1; err == nil && depth <= c.Depth && len(level) > 0 && r.Violation == nil; depth++ {
		at := time.Now()
		outcomes, sleeps := s.expand(level)
		before := len(r.States)
		level, err = s.merge(outcomes, sleeps, depth)
		l := Level{Depth: depth, Paths: len(outcomes), States: len(r.States) - before, Took: time.Since(at)}
		r.Levels = append(r.Levels, l)
		if c.Progress != nil {
			c.Progress(l)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, n := range level {
		for _, step := range n.steps {
			r.Frontier[step]++
		}
	}
	r.Settled, r.Took = len(s.known.ends), time.Since(began)
	r.edges = s.known.edges
	return r, s.judge()
}

// together is how many paths are played on beside each other. More processors do not change what is played.
const together = 16

// expand plays every step that is left at the states of a level. The outcomes are in the order of
// the paths, each with what is asleep after it.
func (s *search) expand(level []*node) (outcomes []*outcome, sleeps [][]string) {
	type job struct {
		from *outcome
		step string
	}
	var jobs []job
	for _, n := range level {
		sleep := n.sleep
		for _, step := range n.steps {
			sleeps = append(sleeps, s.asleep(sleep, step))
			sleep = append(slices.Clip(sleep), step)
			jobs = append(jobs, job{n.outcome, step})
		}
	}
	outcomes = make([]*outcome, len(jobs))
	for next := 0; next < len(jobs); {
		runs, processors := make(map[int]*run), make(chan struct{}, runtime.GOMAXPROCS(0))
		var wg sync.WaitGroup
		for ; next < len(jobs) && len(runs) < together; next++ {
			i, j := next, jobs[next]
			if outcomes[i] = s.after(j.from, j.step); outcomes[i] != nil {
				continue
			}
			r := &run{&s.player, newPlayed()}
			runs[i] = r
			wg.Go(func() {
				processors <- struct{}{}
				outcomes[i] = r.play(j.from, j.step, sleeps[i])
				<-processors
			})
		}
		wg.Wait()
		for _, i := range slices.Sorted(maps.Keys(runs)) {
			s.known.add(runs[i].own)
		}
		s.result.Replayed += len(runs)
	}
	return outcomes, sleeps
}

// merge returns the states of a level from which something is left to do. If several paths have
// led to a state, asleep there is only what is asleep after all of them.
func (s *search) merge(outcomes []*outcome, sleeps [][]string, depth int) (level []*node, err error) {
	r := s.result
	nodes := map[State]*node{}
	for i, o := range outcomes {
		if o.err != nil {
			return nil, fmt.Errorf("%v: %w", o.path, o.err)
		}
		if o.violation != nil && r.Violation == nil {
			r.Violation, r.Path = o.violation, o.played
		}
		n := nodes[o.state]
		if n == nil {
			n = &node{outcome: o, sleep: common(o.choices, sleeps[i])}
			nodes[o.state] = n
			level = append(level, n)
			continue
		}
		r.Pruned++
		n.sleep = common(n.sleep, sleeps[i])
	}
	return slices.DeleteFunc(level, func(n *node) bool { return !s.open(n, depth) }), nil
}

// open decides what is left to do at a state, and reports whether there is something. If it has
// been reached at a lower depth that is only what was asleep there, and is not asleep here.
func (s *search) open(n *node, depth int) bool {
	r := s.result
	had, known := s.sleep[n.state]
	if known {
		r.Pruned++
		n.steps = without(had, n.sleep)
		n.sleep = common(had, n.sleep)
		r.Commuted -= len(n.steps)
	} else {
		r.States[n.state] = depth
		n.steps = without(n.choices, n.sleep)
		r.Commuted += len(n.sleep)
	}
	s.sleep[n.state] = n.sleep
	return len(n.steps) > 0
}

// common returns what is in both lists.
func common(a, b []string) (list []string) {
	for _, x := range a {
		if slices.Contains(b, x) {
			list = append(list, x)
		}
	}
	return list
}

// without returns what is in a and not in b.
func without(a, b []string) (list []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			list = append(list, x)
		}
	}
	return list
}

// judge takes in the ends that did not become right: the first by its path, if nothing was
// broken before.
func (s *search) judge() error {
	r := s.result
	wrong := slices.DeleteFunc(slices.Collect(maps.Values(s.known.ends)), func(end *outcome) bool { return end == nil })
	slices.SortFunc(wrong, func(a, b *outcome) int { return slices.Compare(a.played, b.played) })
	for _, end := range wrong {
		if end.err != nil {
			return fmt.Errorf("%v: %w", end.played, end.err)
		}
		if r.Violation == nil {
			r.Violation, r.Path = end.violation, end.played
		}
	}
	return nil
}

// Scenario returns the path of the violation in the grammar of sim -replay.
func (r *Result) Scenario() string {
	lines := append(r.Config.Theme.begin(), r.Path...)
	return Base.Header() + " packets every\n" + strings.Join(lines, "\n") + "\n# " + r.Violation.String() + "\n"
}

// Report writes the result.
func (r *Result) Report(out io.Writer) {
	paths := 0
	for _, l := range r.Levels {
		paths += l.Paths
	}
	fmt.Fprintf(out, "%s: depth %d, at most %d faults in a path: %d paths, %d of them from the start, %d states, %d pruned, %d steps that commute, %d ends settled, %v\n",
		r.Config.Theme.Name, len(r.Levels), r.Config.Theme.Most, paths, r.Replayed, len(r.States), r.Pruned, r.Commuted, r.Settled, r.Took.Round(time.Millisecond))
	if r.Violation != nil {
		fmt.Fprintf(out, "violation: %v\n%s", r.Violation, r.Scenario())
		return
	}
	states := 0
	for _, depth := range r.States {
		if depth == len(r.Levels) {
			states++
		}
	}
	fmt.Fprintf(out, "not covered: step %d of %d states:", len(r.Levels)+1, states)
	for _, s := range slices.Sorted(maps.Keys(r.Frontier)) {
		fmt.Fprintf(out, " %s %d;", s, r.Frontier[s])
	}
	fmt.Fprintln(out)
}
