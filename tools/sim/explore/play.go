package explore

import (
	"crypto/sha256"
	"slices"

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

// player plays paths.
type player struct {
	Config
	begin []string
	known played
}

// played is what has been played.
type played struct {
	edges map[edge]*outcome
	ends  map[State]*outcome // from which everything had to become right; nil: it did
}

func newPlayed() played { return played{edges: map[edge]*outcome{}, ends: map[State]*outcome{}} }

// add takes in what another has: of the same step at the same state the first outcome counts.
func (p played) add(other played) {
	for e, o := range other.edges {
		if p.edges[e] == nil {
			p.edges[e] = o
		}
	}
	for s, o := range other.ends {
		if _, had := p.ends[s]; !had {
			p.ends[s] = o
		}
	}
}

// run plays one path on, beside others: it sees what was played before all of them, and what it has
// played itself, so that it goes the same way on any number of processors.
type run struct {
	*player
	own played
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
func (r *run) play(from *outcome, step string, sleep []string) (first *outcome) {
	w, err := r.replay(from.path)
	if err != nil {
		return &outcome{path: from.path, err: err}
	}
	for step != "" {
		o := r.step(w, from, step)
		r.own.edges[edge{from.state, step}] = o
		if first == nil {
			first = o
		}
		if o.err != nil || o.violation != nil {
			break
		}
		if len(o.path) == r.Depth {
			r.settle(w, o)
			break
		}
		from, step = o, r.unplayed(o, sleep)
		sleep = r.asleep(sleep, step)
	}
	return first
}

// step plays one step, and returns what has become of it.
func (p *player) step(w *world.World, from *outcome, step string) *outcome {
	o := &outcome{path: append(slices.Clone(from.path), step)}
	if o.err = w.Play([]string{step}, nil); o.err == nil {
		p.look(w, o)
	}
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

// after returns what becomes of a path and one more step if the same step has been played at the
// same state, nil if not.
func (p *player) after(from *outcome, step string) *outcome {
	o := p.known.edges[edge{from.state, step}]
	if o != nil && len(o.path) != len(from.path)+1 {
		again := *o
		again.path = append(slices.Clone(from.path), step)
		return &again
	}
	return o
}

// unplayed returns a step that has not been played yet, "" if there is none.
func (r *run) unplayed(o *outcome, sleep []string) string {
	for _, step := range o.choices {
		e := edge{o.state, step}
		if !slices.Contains(sleep, step) && r.known.edges[e] == nil && r.own.edges[e] == nil {
			return step
		}
	}
	return ""
}

// settle ends a path: everything has to become right from its state.
func (r *run) settle(w *world.World, o *outcome) {
	if _, had := r.known.ends[o.state]; had {
		return
	}
	end := &outcome{played: append(slices.Clone(o.path), "step settle")}
	if end.err = w.Play(end.played[len(o.path):], nil); len(w.Violations) > 0 {
		end.violation = &w.Violations[0]
	}
	if end.err == nil && end.violation == nil {
		end = nil
	}
	r.own.ends[o.state] = end
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
