package world

import (
	"container/heap"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Epoch is the time of day at which every world begins.
var Epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// schedule is the one clock and the one order of everything that happens. Events of the same
// moment happen in an order that the seed decides.
type schedule struct {
	now    time.Duration // since Epoch
	seed   uint64
	random *rand.Rand
	order  *rand.Rand // draws the order of events of the same moment
	queue  events
	made   uint64 // events so far
	ran    uint64 // of them carried out
}

// event is what happens at one moment.
type event struct {
	at    time.Duration
	draw  uint64 // decides among those of the same moment
	made  uint64 // decides among those that drew the same
	do    func() // nil: taken back
	index int    // in the queue; -1: not there
}

func newSchedule(seed uint64) *schedule {
	return &schedule{seed: seed, random: rand.New(rand.NewPCG(seed, 0x5eed)), order: rand.New(rand.NewPCG(seed, 0x0fde))}
}

// at has do called at a time, which is not before now.
func (s *schedule) at(at time.Duration, do func()) *event {
	return s.push(s.order.Uint64(), at, do)
}

// atOf is at for an event of a source of which others must not notice how many events there are:
// the order is drawn by the name and the moment. Events of one name come in the order in which
// they were made.
func (s *schedule) atOf(name uint64, at time.Duration, do func()) *event {
	return s.push(mix(s.seed, name, uint64(at)), at, do)
}

func (s *schedule) push(draw uint64, at time.Duration, do func()) *event {
	s.made++
	e := &event{at: max(at, s.now), draw: draw, made: s.made, do: do}
	heap.Push(&s.queue, e)
	return e
}

// chance draws a number that depends on the seed, on who draws it, on what for, and on the
// moment, but on nothing that was drawn before.
func (s *schedule) chance(who, what uint64) uint64 {
	return mix(mix(s.seed, who, what), uint64(s.now), 1)
}

// mix makes a number of three, as SplitMix64 does.
func mix(a, b, c uint64) uint64 {
	for _, x := range [...]uint64{b, c} {
		a = (a ^ x) + 0x9e3779b97f4a7c15
		a = (a ^ a>>30) * 0xbf58476d1ce4e5b9
		a = (a ^ a>>27) * 0x94d049bb133111eb
		a ^= a >> 31
	}
	return a
}

// name makes a number of a name.
func name(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// after has do called once d has passed.
func (s *schedule) after(d time.Duration, do func()) *event { return s.at(s.now+d, do) }

// cancel takes an event back, which may be nil or over.
func (s *schedule) cancel(e *event) {
	if e != nil && e.index >= 0 {
		heap.Remove(&s.queue, e.index)
		e.do = nil
	}
}

// next carries out the first event that is not after limit, and reports whether there was one.
func (s *schedule) next(limit time.Duration) bool {
	if len(s.queue) == 0 || s.queue[0].at > limit {
		s.now = max(s.now, limit)
		return false
	}
	e := heap.Pop(&s.queue).(*event)
	s.now = max(s.now, e.at)
	s.ran++
	e.do()
	return true
}

// wall returns the time of day of the world.
func (s *schedule) wall() time.Time { return Epoch.Add(s.now) }

// events is a heap by time.
type events []*event

func (q events) Len() int { return len(q) }

func (q events) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.at != b.at {
		return a.at < b.at
	}
	if a.draw != b.draw {
		return a.draw < b.draw
	}
	return a.made < b.made
}

func (q events) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *events) Push(x any) {
	e := x.(*event)
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	e.index = -1
	*q = old[:len(old)-1]
	return e
}
