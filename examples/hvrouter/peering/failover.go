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
	for _, hop := range w.NextHops {
		guards, alone := guards(w, hop, all)
		if !alone {
			continue
		}
		for _, o := range objects {
			if link, ok := name(o.IfIndex); ok && hop.covers(link, o.Gateway) {
				out = append(out, bfd.NextHop{ID: o.ID, IfIndex: o.IfIndex, Gateway: o.Gateway, Guards: guards})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b bfd.NextHop) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b bfd.NextHop) bool { return a.ID == b.ID }) // domains may share a link
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
