package daemon

import (
	"maps"
	"slices"
	"time"
)

// solicitations say when the routers of an interface are asked to advertise themselves because a
// session there has ended: the router perhaps has another address now, and would be silent for as
// long as its interval is. RFC 4861, Section 6.3.7: "a host SHOULD transmit up to
// MAX_RTR_SOLICITATIONS Router Solicitation messages, each separated by at least
// RTR_SOLICITATION_INTERVAL seconds." Pure.
type solicitations struct {
	links map[int]*solicited // by the index of the interface
}

type solicited struct {
	last time.Time // when it was done
	left int       // how often it is still to be done
}

const (
	maxSolicitations     = 3               // MAX_RTR_SOLICITATIONS (RFC 4861, Section 10)
	solicitationInterval = 4 * time.Second // RTR_SOLICITATION_INTERVAL
)

// begin has the routers of an interface asked as soon as the interval permits.
func (s *solicitations) begin(ifindex int) {
	if s.links == nil {
		s.links = map[int]*solicited{}
	}
	if s.links[ifindex] == nil {
		s.links[ifindex] = &solicited{}
	}
	s.links[ifindex].left = maxSolicitations
}

// due returns the interfaces whose routers are to be asked now, sorted. Those that are not there are forgotten.
func (s *solicitations) due(now time.Time, there map[int]bool) (list []int) {
	for _, index := range slices.Sorted(maps.Keys(s.links)) {
		one := s.links[index]
		waits := now.Before(one.last.Add(solicitationInterval))
		switch {
		case !there[index], one.left == 0 && !waits:
			delete(s.links, index)
		case one.left > 0 && !waits:
			one.last = now
			one.left--
			list = append(list, index)
		}
	}
	return list
}

// deadline returns when due has something to do, the zero time if never.
func (s *solicitations) deadline() (next time.Time) {
	for _, one := range s.links {
		if at := one.last.Add(solicitationInterval); one.left > 0 && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
