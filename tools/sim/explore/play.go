package explore

import (
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/tools/sim/world"
)

// State is the sum of a state, see [world.World.State], and of the faults that have led to it.
type State [sha256.Size]byte

// outcome is what became of a path.
type outcome struct {
	path      []string
	state     State
	choices   []string // what can be done then
	violation *world.Violation
	played    []string // the path that has shown it
	err       error
}

// edge is a step at a state.
type edge struct {
	from State
	step string
}

// player plays paths, on any number of goroutines.
type player struct {
	Config
	begin []string
	mu    sync.Mutex
	edges map[edge]*outcome // that have been played
	ends  map[State]bool    // the states from which everything had to become right
	// settled are the ends that did not become right.
	settled []*outcome
}

// root returns what there is before the first step.
func (p *player) root() *outcome {
	o := &outcome{}
	w, err := p.replay(nil)
	if o.err = err; err == nil {
		p.look(w, o)
	}
	return o
}

// replay plays a path from the start.
func (p *player) replay(path []string) (*world.World, error) {
	w, err := world.New(Base)
	if err != nil {
		return nil, err
	}
	return w, w.Play(append(slices.Clone(p.begin), path...), nil)
}

// play plays a step at the end of a path. A step costs little, but to come to where it begins the
// path has to be played from the start, so that play goes on with steps that nobody has played
// yet, as long as there is one that is not asleep.
func (p *player) play(from *outcome, step string, sleep []string) (first *outcome) {
	w, err := p.replay(from.path)
	if err != nil {
		return &outcome{path: from.path, err: err}
	}
	for step != "" {
		o := p.step(w, from, step)
		if first == nil {
			first = o
		}
		if o.err != nil || o.violation != nil {
			break
		}
		if len(o.path) == p.Depth {
			p.settle(w, o)
			break
		}
		from, step = o, p.unplayed(o, sleep)
		sleep = p.asleep(sleep, step)
	}
	return first
}

// step plays one step, and notes what has become of it.
func (p *player) step(w *world.World, from *outcome, step string) *outcome {
	o := &outcome{path: append(slices.Clone(from.path), step)}
	if o.err = w.Play([]string{step}, nil); o.err == nil {
		p.look(w, o)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edges[edge{from.state, step}] = o
	return o
}

// look takes in the state of a world.
func (p *player) look(w *world.World, o *outcome) {
	o.state = sha256.Sum256([]byte(used(o.path) + "\n" + w.State()))
	o.choices = p.Theme.choices(o.path, w.Ready())
	if len(w.Violations) > 0 {
		o.violation, o.played = &w.Violations[0], o.path
	}
}

// known returns what becomes of a path and one more step if the same step has been played at the
// same state, nil if not.
func (p *player) known(from *outcome, step string) *outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.edges[edge{from.state, step}]
	if o != nil && len(o.path) != len(from.path)+1 {
		again := *o
		again.path = append(slices.Clone(from.path), step)
		return &again
	}
	return o
}

// unplayed returns a step that nobody has played yet, "" if there is none.
func (p *player) unplayed(o *outcome, sleep []string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, step := range o.choices {
		if !slices.Contains(sleep, step) && p.edges[edge{o.state, step}] == nil {
			return step
		}
	}
	return ""
}

// settle ends a path: everything has to become right from its state.
func (p *player) settle(w *world.World, o *outcome) {
	p.mu.Lock()
	had := p.ends[o.state]
	p.ends[o.state] = true
	p.mu.Unlock()
	if had {
		return
	}
	end := &outcome{played: append(slices.Clone(o.path), "step settle")}
	if end.err = w.Play(end.played[len(o.path):], nil); len(w.Violations) > 0 {
		end.violation = &w.Violations[0]
	}
	if end.err != nil || end.violation != nil {
		p.mu.Lock()
		p.settled = append(p.settled, end)
		p.mu.Unlock()
	}
}

// asleep returns which steps have not to be played after a step: those that have been played
// before it, or had not to be played there, and are independent of it.
func (c Config) asleep(sleep []string, step string) (list []string) {
	if c.Full {
		return nil
	}
	for _, s := range sleep {
		if c.Theme.Independent(s, step) {
			list = append(list, s)
		}
	}
	return list
}
