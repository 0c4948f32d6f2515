package arp

import (
	"net/netip"
	"time"
)

type station struct {
	ip       netip.Addr
	mac      MAC
	link     int
	heard    time.Time
	asked    int       // questions since it was heard
	next     time.Time // when to look at it; never later than due
	index    int       // in the queue
	rival    MAC       // who last claimed its address
	rivalled time.Time
}

// stations is a heap, the next to look at first.
type stations []*station

func (q stations) Len() int { return len(q) }
func (q stations) Less(i, j int) bool {
	if q[i].next.Equal(q[j].next) {
		return q[i].ip.Less(q[j].ip)
	}
	return q[i].next.Before(q[j].next)
}
func (q stations) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *stations) Push(x any) {
	s := x.(*station)
	s.index = len(*q)
	*q = append(*q, s)
}
func (q *stations) Pop() any {
	old := *q
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return s
}
