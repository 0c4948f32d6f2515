package peering

import (
	"cmp"
	"slices"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/fib"
)

// Failover gives, for one watched session, the next-hop objects that die with it,
// sorted by id so that equal lists compare equal. Where two sessions speak for the same
// gateways neither is trusted alone: the daemon decides then.
func Failover(w Watch, all []Watch, objects []fib.NextHopObject, name func(index int) (string, bool)) []bfd.NextHop {
	var out []bfd.NextHop
	d := NewDependents(w, all)
	for _, o := range objects {
		if n, ok := d.Has(o, name); ok {
			out = append(out, n)
		}
	}
	slices.SortStableFunc(out, func(a, b bfd.NextHop) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Dependents say which next-hop objects die with a session. They do not change; the zero value is
// of a session that none dies with.
type Dependents struct{ hops []dependent }

// dependent is a next hop that one session alone watches, and the sessions that watch its
// alternatives.
type dependent struct {
	hop    NextHop
	guards []bfd.Key
}

// NewDependents returns those of one watched session.
func NewDependents(w Watch, all []Watch) (d Dependents) {
	for _, hop := range w.NextHops {
		if guards, alone := guards(w, hop, all); alone {
			d.hops = append(d.hops, dependent{hop, guards})
		}
	}
	return d
}

// Has returns an object as it is to be deleted with the session; ok is false if it is not. name
// returns the name of an interface.
func (d Dependents) Has(o fib.NextHopObject, name func(index int) (string, bool)) (n bfd.NextHop, ok bool) {
	link, ok := name(o.IfIndex)
	if !ok {
		return n, false
	}
	for _, x := range d.hops { // domains may share a link: the first counts
		if x.hop.covers(link, o.Gateway) {
			return bfd.NextHop{ID: o.ID, IfIndex: o.IfIndex, Gateway: o.Gateway, Guards: x.guards}, true
		}
	}
	return n, false
}

// guards returns the sessions that watch the alternatives to a next hop of w; alone is false
// if another session watches the next hop, too.
func guards(w Watch, hop NextHop, all []Watch) (keys []bfd.Key, alone bool) {
	for _, o := range all {
		if o.Key == w.Key {
			continue
		}
		if o.watches(hop) {
			return nil, false
		}
		if slices.ContainsFunc(o.NextHops, hop.alternative) {
			keys = append(keys, o.Key)
		}
	}
	return keys, true
}

// SameFailover reports whether two lists are equal.
func SameFailover(a, b []bfd.NextHop) bool {
	return slices.EqualFunc(a, b, func(x, y bfd.NextHop) bool {
		return x.ID == y.ID && x.IfIndex == y.IfIndex && x.Gateway == y.Gateway && slices.Equal(x.Guards, y.Guards)
	})
}
