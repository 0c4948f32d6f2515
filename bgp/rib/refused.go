package rib

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// RefusedRoute is what a peer announces and this router refuses, as it came.
type RefusedRoute struct {
	Prefix netip.Prefix // of the announcement
	PathID uint32       // ADD-PATH, 0 without
	Reason Reason       // why it is refused
	Attrs  Attrs        // before the import policy; the zero Attrs of what is malformed
}

// refusals are the announcements of one peer and family that stand refused, for those who ask why a route
// is not there. There are at most as many as was configured: a peer that announces a million routes that the
// policy refuses takes no more memory than that.
type refusals struct {
	most    int // PeerConfig.KeepRefused
	routes  map[refusedKey]refusal
	more    uint64 // announcements for which there was no room
	refresh uint32 // refreshes so far
	before  uint64 // more, when the last one began
}

type refusal struct {
	RefusedRoute
	refresh uint32 // in which it came last
}

// configure sets how many there may be. Those of now may be less.
func (r *refusals) configure(most int) {
	r.most = most
	for k := range r.routes {
		if len(r.routes) <= most {
			break
		}
		delete(r.routes, k)
		r.more++
	}
	if most == 0 {
		r.clear()
	}
}

// clear forgets all: the session ended, or another one begins.
func (r *refusals) clear() { r.routes, r.more, r.before = nil, 0, 0 }

// endSession forgets what was refused in a session: it has ended, or another one begins.
func (l *pathList) endSession() {
	l.limit.reset()
	l.refused.clear()
}

// keep keeps an announcement that was refused, whose name is a prefix.
func (r *refusals) keep(n *name, why Reason, a Attrs) {
	if r.most == 0 || len(n.key) > 0 {
		return
	}
	k := keyOfName(n)
	if _, known := r.routes[k]; !known && len(r.routes) >= r.most {
		r.more++
		return
	}
	if r.routes == nil {
		r.routes = map[refusedKey]refusal{}
	}
	r.routes[k] = refusal{RefusedRoute{n.Prefix, n.PathID, why, a}, r.refresh}
}

// drop is the reverse of keep: it was withdrawn, or is accepted now.
func (r *refusals) drop(n *name) {
	if len(r.routes) > 0 {
		delete(r.routes, keyOfName(n))
	}
}

// begin begins a refresh.
func (r *refusals) begin() { r.refresh, r.before = r.refresh+1, r.more }

// end forgets what was not announced again since begin.
func (r *refusals) end() {
	for k, x := range r.routes {
		if x.refresh != r.refresh {
			delete(r.routes, k)
		}
	}
	r.more -= r.before
	r.before = 0
}

// Refused returns what the peer announces in a family, IPv4 or IPv6 unicast, and this router refuses, sorted
// by prefix and path identifier, at most as many as [PeerConfig].KeepRefused says. There are those of the
// session that is there; what is announced beyond a [PrefixLimit] is among them. More is how many
// announcements were refused for which there was no room: in this session, or since the last enhanced route
// refresh began. A route that was announced several times counts several times.
func (in *In) Refused(fam wire.Family) (routes []RefusedRoute, more uint64) {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	r := &in.listOf(fam).refused
	for _, x := range r.routes {
		routes = append(routes, x.RefusedRoute)
	}
	slices.SortFunc(routes, func(a, b RefusedRoute) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.PathID, b.PathID))
	})
	return routes, r.more
}
