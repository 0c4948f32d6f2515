// Package explore plays every interleaving of the steps of a small world, to a depth: one
// hypervisor whose daemon, BFD process, kernel and two fabrics take turns, one remote hypervisor,
// and the reflectors of both fabrics. See "Every interleaving" in docs/simulator.md.
package explore

import (
	"crypto/sha256"
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
	// Pruned are paths that led to a state which another had led to; Commuted are steps that
	// were not played because the same two were in the other order.
	Pruned, Commuted int
	Settled          int // paths at whose end everything had to become right again
	// Frontier counts the steps after the last depth, which were not played, by their names.
	Frontier map[string]int
	// Violation is the first that was found, nil if none was, and Path the scenario that shows
	// it.
	Violation *world.Violation
	Path      []string
	Took      time.Duration
}

// node is a state that was reached.
type node struct {
	path []string // of inputs
	next []string // what can be done there
	skip int      // of what can be done: what commutes with the last step, and was done before it
}

// outcome is what became of a path.
type outcome struct {
	node
	state     [sha256.Size]byte
	violation *world.Violation
	settled   []string // the path, and what has to make it right: played with the last depth
	err       error
}

// Base is the world that is explored.
var Base = world.Config{Seed: 1, Hosts: 2, Guests: 1, BFD: time.Second, EveryPacket: true, Begin: 50 * time.Second}

// begin is how each path begins: everything is up by then.
const begin = "+50.05s step begin"

// Run explores.
func Run(c Config) (*Result, error) {
	r := &Result{Config: c, Frontier: map[string]int{}}
	began := time.Now()
	first := c.play([]string{begin}, c.Depth == 0)
	if first.err != nil {
		return nil, first.err
	}
	seen := map[[sha256.Size]byte]bool{first.state: true}
	level := []node{first.node}
	for depth := 1; depth <= c.Depth && len(level) > 0 && r.Violation == nil; depth++ {
		at := time.Now()
		outcomes := c.expand(level, depth == c.Depth, seen)
		l := Level{Depth: depth, Paths: len(outcomes)}
		for _, n := range level {
			r.Commuted += n.skip
		}
		level = nil
		for _, o := range outcomes {
			switch {
			case o.err != nil:
				return nil, fmt.Errorf("%v: %w", o.path, o.err)
			case o.violation != nil && r.Violation == nil:
				r.Violation, r.Path = o.violation, o.settled
			case seen[o.state]:
				r.Pruned++
				continue
			}
			seen[o.state] = true
			l.States++
			level = append(level, o.node)
		}
		l.Took = time.Since(at)
		r.Levels = append(r.Levels, l)
		if c.Progress != nil {
			c.Progress(l)
		}
	}
	for _, n := range level {
		for _, s := range n.next {
			r.Frontier[s]++
		}
	}
	r.Settled = len(level)
	r.Took = time.Since(began)
	return r, nil
}

// expand plays every state of a level one step further, on all processors. The outcomes are in
// the order of the paths.
func (c Config) expand(level []node, last bool, seen map[[sha256.Size]byte]bool) []outcome {
	var paths [][]string
	for _, n := range level {
		for _, s := range n.next {
			paths = append(paths, append(slices.Clone(n.path), s))
		}
	}
	outcomes := make([]outcome, len(paths))
	settled := newOnce(seen)
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				outcomes[i] = c.playOnce(paths[i], last, settled)
			}
		})
	}
	for i := range paths {
		work <- i
	}
	close(work)
	wg.Wait()
	return outcomes
}

// once decides who goes on from a state.
type once struct {
	mu    sync.Mutex
	taken map[[sha256.Size]byte]bool
}

func newOnce(seen map[[sha256.Size]byte]bool) *once { return &once{taken: maps.Clone(seen)} }

func (o *once) take(s [sha256.Size]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := o.taken[s]
	o.taken[s] = true
	return !had
}

func (c Config) play(path []string, last bool) outcome { return c.playOnce(path, last, newOnce(nil)) }

// playOnce plays a path from the start. If it is one of the last, and has led to a new state,
// everything has to become right from there.
func (c Config) playOnce(path []string, last bool, settled *once) (o outcome) {
	o.path, o.settled = path, path
	w, err := world.New(Base)
	if err != nil {
		o.err = err
		return o
	}
	if o.err = w.Play(path[:max(len(path)-1, 1)], nil); o.err != nil {
		return o
	}
	ready := w.Ready()
	if len(path) > 1 {
		if o.err = w.Play(path[len(path)-1:], nil); o.err != nil {
			return o
		}
	}
	o.state = sha256.Sum256([]byte(used(path) + "\n" + w.State()))
	o.next, o.skip = c.choices(path, ready, w.Ready())
	if len(w.Violations) == 0 && last && settled.take(o.state) {
		o.settled = append(slices.Clone(path), "step settle")
		o.err = w.Play(o.settled[len(path):], nil)
	}
	if len(w.Violations) > 0 {
		o.violation = &w.Violations[0]
	}
	return o
}

// used returns which faults a path has had: they decide which ones may come.
func used(path []string) string {
	var list []string
	for _, s := range path[1:] {
		if !strings.HasPrefix(s, "step ") || strings.HasPrefix(s, "step lose") {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// Scenario returns the path of the violation in the grammar of sim -replay.
func (r *Result) Scenario() string {
	return Base.Header() + " packets every\n" + strings.Join(r.Path, "\n") + "\n# " + r.Violation.String() + "\n"
}

// Report writes the result.
func (r *Result) Report(out io.Writer) {
	paths, states := 0, 1
	for _, l := range r.Levels {
		paths, states = paths+l.Paths, states+l.States
	}
	fmt.Fprintf(out, "%s: depth %d, at most %d faults in a path: %d paths, %d states, %d pruned, %d orders of steps that commute, %d ends settled, %v\n",
		r.Config.Theme.Name, len(r.Levels), r.Config.Theme.Most, paths, states, r.Pruned, r.Commuted, r.Settled, r.Took.Round(time.Millisecond))
	if r.Violation != nil {
		fmt.Fprintf(out, "violation: %v\n%s", r.Violation, r.Scenario())
		return
	}
	fmt.Fprintf(out, "not covered: step %d of %d states:", len(r.Levels)+1, r.Settled)
	for _, s := range slices.Sorted(maps.Keys(r.Frontier)) {
		fmt.Fprintf(out, " %s %d;", s, r.Frontier[s])
	}
	fmt.Fprintln(out)
}
