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
	var guards []bfd.Key
	for _, o := range all {
		if o.Key != w.Key && w.same(o) {
			return nil
		}
		if w.alternative(o) {
			guards = append(guards, o.Key)
		}
	}
	var out []bfd.NextHop
	for _, o := range objects {
		if link, ok := name(o.Link); ok && w.Covers(link, o.Gateway) {
			out = append(out, bfd.NextHop{ID: o.ID, Link: o.Link, Gateway: o.Gateway, Guards: guards})
		}
	}
	slices.SortFunc(out, func(a, b bfd.NextHop) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// SameFailover tells whether two lists are equal.
func SameFailover(a, b []bfd.NextHop) bool {
	return slices.EqualFunc(a, b, func(x, y bfd.NextHop) bool {
		return x.ID == y.ID && x.Link == y.Link && x.Gateway == y.Gateway && slices.Equal(x.Guards, y.Guards)
	})
}
