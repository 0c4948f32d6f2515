package station

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// station is one address and the station that has it.
type station struct {
	ip       netip.Addr // the address
	mac      ether.MAC  // zero: seeded, not heard yet
	link     int        // index of the interface
	from     int        // index of its last interface while it is asked on another, else 0
	reported bool       // as Seen
	seeded   bool       // by Seed: the user knows of it
	heard    time.Time  // when a packet of it came last
	asked    int        // questions since it was heard
	next     time.Time  // when to look at it; never later than due
	index    int        // in the queue
	claim    claim      // the last Conflict
}

// claim is a claim to an address that another station has.
type claim struct {
	mac  ether.MAC // of the claim
	link int       // index of the interface of the claim
	at   time.Time // when it came; zero: there was none
}

// queue is a heap, the next to look at first.
type queue []*station

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].next.Equal(q[j].next) {
		return q[i].ip.Less(q[j].ip)
	}
	return q[i].next.Before(q[j].next)
}
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *queue) Push(x any) {
	s := x.(*station)
	s.index = len(*q)
	*q = append(*q, s)
}
func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return s
}
