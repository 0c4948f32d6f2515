package discovery

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/fib"
)

// Waiting are learned routes over interfaces that are not known yet: the kernel sends routes and
// interfaces in two streams. The zero value is ready.
type Waiting struct {
	byLink map[int]map[routeKey]fib.LearnChange
}

// maxWaiting bounds them; what comes beyond is taken when it changes.
const maxWaiting = 4096

// Add takes a change of a route whose interface is unknown.
func (w *Waiting) Add(c fib.LearnChange) {
	w.Drop(c)
	if c.Gone || len(c.NextHops) == 0 || w.len() >= maxWaiting {
		return
	}
	ifindex := c.NextHops[0].IfIndex
	if w.byLink == nil {
		w.byLink = map[int]map[routeKey]fib.LearnChange{}
	}
	if w.byLink[ifindex] == nil {
		w.byLink[ifindex] = map[routeKey]fib.LearnChange{}
	}
	w.byLink[ifindex][routeKey{c.Prefix, c.Metric}] = c
}

// Drop removes a route.
func (w *Waiting) Drop(c fib.LearnChange) {
	for ifindex, m := range w.byLink {
		delete(m, routeKey{c.Prefix, c.Metric})
		if len(m) == 0 {
			delete(w.byLink, ifindex)
		}
	}
}

// Take removes and returns the routes over an interface, in the order of their prefixes.
func (w *Waiting) Take(ifindex int) []fib.LearnChange {
	list := slices.SortedFunc(maps.Values(w.byLink[ifindex]), func(a, b fib.LearnChange) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
	delete(w.byLink, ifindex)
	return list
}

func (w *Waiting) len() (n int) {
	for _, m := range w.byLink {
		n += len(m)
	}
	return n
}
