package world

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Epoch is the time of day at which every world begins.
var Epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// schedule is the one clock and the one order of everything that happens. Events of the same
// moment happen in an order that the seed decides.
type schedule struct {
	now    time.Duration // since Epoch
	random *rand.Rand
	queue  events
	made   uint64 // events so far
	ran    uint64 // of them carried out
}

// event is what happens at one moment.
type event struct {
	at    time.Duration
	draw  uint32 // decides among those of the same moment
	made  uint64 // decides among those that drew the same
	do    func() // nil: taken back
	index int    // in the queue; -1: not there
}

func newSchedule(seed uint64) *schedule {
	return &schedule{random: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// at has do called at a time, which is not before now.
func (s *schedule) at(at time.Duration, do func()) *event {
	s.made++
	e := &event{at: max(at, s.now), draw: s.random.Uint32(), made: s.made, do: do}
	heap.Push(&s.queue, e)
	return e
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
		s.now = limit
		return false
	}
	e := heap.Pop(&s.queue).(*event)
	s.now = e.at
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
