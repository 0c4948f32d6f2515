package unnumbered

import (
	"cmp"
	"slices"
	"time"
)

// What is in this file is who gets a place: to be remembered, and to be tried. Both are shared by MACs, since a host
// has as many addresses as it likes: those of one MAC hold as many places as there are while no others want them,
// and leave theirs to others at once, until each MAC has as many as another.

// room makes room for a router on a link, and reports whether there is some.
func (t *Tracker) room(l *link, mac [6]byte) bool {
	if len(l.routers) < t.cfg.Known {
		return true
	}
	known, proven := map[[6]byte]int{}, slices.Contains(l.had, mac)
	for _, r := range l.routers {
		if !r.session.alive() {
			known[r.mac]++
		}
		proven = proven || r.mac == mac && (r.proven || r.session.Up)
	}
	proven = proven && known[mac] < t.cfg.Max
	var worst *router
	// crowd returns how many there are with the MAC of a router, if those of the newcomer are fewer. A router that had a
	// session is in none because of the addresses that it has left.
	crowd := func(r *router) int {
		if known[r.mac] >= known[mac]+2 && !(r.proven && known[r.mac] <= t.cfg.Max) {
			return known[r.mac]
		}
		return 0
	}
	for _, r := range l.routers {
		if r.session.alive() || r.tried || crowd(r) == 0 && r.attempts == 0 && (!proven || r.proven) {
			continue
		}
		if worst == nil || cmp.Or(crowd(worst)-crowd(r), min(r.attempts, 1)-min(worst.attempts, 1), worst.heard.Compare(r.heard), worst.addr.Compare(r.addr)) > 0 {
			worst = r
		}
	}
	if worst == nil {
		return false
	}
	delete(l.routers, worst.addr)
	return true
}

// allot says which of the routers of a link, sorted by address, are tried.
func (t *Tracker) allot(now time.Time, all []*router) {
	var waiting []*router
	places, trying := t.cfg.Max, map[[6]byte]int{} // trying: those of a MAC that are tried
	for _, r := range all {
		switch {
		case r.twin != nil:
		case r.session.alive():
			places--
		case r.tried && now.Before(r.began.Add(t.cfg.Patience)):
			places--
			trying[r.mac]++
		default:
			waiting = append(waiting, r)
		}
	}
	slices.SortStableFunc(waiting, prefer)
	before, ahead := map[*router]int{}, map[[6]byte]int{} // before: those of the same MAC that are tried or come first
	for _, r := range waiting {
		before[r] = trying[r.mac] + ahead[r.mac]
		ahead[r.mac]++
	}
	slices.SortStableFunc(waiting, func(a, b *router) int { return cmp.Or(first(a)-first(b), before[a]-before[b]) })
	for i, r := range waiting {
		if r.tried && len(waiting) > places { // its time is over
			r.inVain()
		}
		if i >= places {
			r.tried = false
			continue
		}
		if !r.tried || len(waiting) > places {
			r.tried, r.began = true, now
		}
		trying[r.mac]++
	}
	for _, r := range waiting[min(max(places, 0), len(waiting)):] {
		var crowded *router // of the MAC with the most that are tried, the one that has been for the longest time
		for _, o := range all {
			if o.tried && !o.session.alive() && trying[o.mac] >= trying[r.mac]+2 &&
				(crowded == nil || cmp.Or(trying[crowded.mac]-trying[o.mac], o.began.Compare(crowded.began)) < 0) {
				crowded = o
			}
		}
		if crowded == nil {
			continue
		}
		crowded.inVain()
		crowded.tried = false
		trying[crowded.mac]--
		r.tried, r.began = true, now
		trying[r.mac]++
	}
}

// inVain notes that a try has ended without a session.
func (r *router) inVain() {
	r.proven = false
	r.attempts++
}

// first returns 0 for a router that goes before the others, since it had a session, and 1 for the others.
func first(r *router) int {
	if r.proven && !r.tried {
		return 0
	}
	return 1
}

// prefer orders those that wait for a place: who had a session, then who was tried the least, then
// who was tried or heard of first.
func prefer(a, b *router) int {
	tries := func(r *router) int {
		if r.tried {
			return r.attempts + 1
		}
		return r.attempts
	}
	return cmp.Or(first(a)-first(b), cmp.Compare(tries(a), tries(b)), a.began.Compare(b.began), a.first.Compare(b.first))
}
