package rib

import (
	"cmp"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// The decision process (RFC 4271, Section 9.1.2.2, with RFC 4456, Section 9, and RFC
// 9494, Section 4.3). Of two paths to one prefix the better one is, at the first of
// these steps that tells them apart:
//
//  1. the one that is not long-lived stale: it does not carry LLGR_STALE. A path
//     that may be hours old is the last resort, whatever its preference;
//  2. the local one: originated here rather than learned from a peer;
//  3. the one with the higher LOCAL_PREF, 100 if it has none;
//  4. the one with the shorter AS_PATH, where a set counts as one and a confederation
//     segment does not count;
//  5. the one with the lower ORIGIN: IGP, then EGP, then incomplete;
//  6. the one that fewer paths of its own neighbouring AS beat by MULTI_EXIT_DISC:
//     see below;
//  7. the one learned by eBGP rather than by iBGP;
//  8. the one that is not stale: a path kept for a restarting peer (RFC 4724, Section 4.2) is
//     as good as any, but a fresh equal is better; and of stale ones the one that has not moved: see
//     Table.hideMoved.
//
// Here RFC 4271, Section 9.1.2.2, would compare the IGP's cost of the next hop; hyperfib runs no IGP:
// next hops are on-link. Paths that are equal so far are one multipath set. So a stale
// path never shares traffic with a fresh one. The rest only makes the order strict
// and stable:
//
//  9. the lower router id: ORIGINATOR_ID if the path was reflected, else the
//     identifier in the peer's OPEN;
//  10. the shorter CLUSTER_LIST;
//  11. the lower peer address;
//  12. the lower path identifier.
//
// With Config.AlwaysCompareMED all ASes count as one in step 6.
//
// Step 6 is what makes the textbook comparison of two paths no order: MEDs of
// different ASes do not compare, so a may beat b, b beat c, and c beat a. We compare
// instead by *rank*: among the paths that are equal after step 5 and whose AS_PATH
// begins with the same AS (paths with an empty AS_PATH count as one AS: ours), the
// rank is the number of distinct MEDs lower than the path's own; a missing MED is 0. A
// path of rank 0 is one that step c of RFC 4271, Section 9.1.2.2, would not remove, so the best path
// is that one whatever the order of arrival (what others call deterministic MED), and the
// paths after it have an order, too. Ranks are kept in the path and computed anew when a
// destination with MEDs changes; nearly always there are none. Where a destination has many
// paths they are computed while the paths are read: see pathIndex.

// Step is a step of the decision process, counted as in the list above.
type Step uint8

// Steps. The zero value is none.
const (
	_               Step = iota
	StepLongLived        // one path is long-lived stale
	StepLocal            // one path is local
	StepLocalPref        // LOCAL_PREF
	StepASPath           // length of AS_PATH
	StepOrigin           // ORIGIN
	StepMED              // MULTI_EXIT_DISC
	StepExternal         // eBGP or iBGP
	StepStale            // one path is stale, or both are and one has moved
	StepIdentifier       // router id
	StepClusterList      // length of CLUSTER_LIST
	StepPeer             // peer address
	StepPathID           // path identifier
)

var stepText = [...]string{"none", "long-lived stale", "local", "LOCAL_PREF", "AS_PATH length", "ORIGIN", "MED",
	"eBGP over iBGP", "stale", "router id", "CLUSTER_LIST length", "peer address", "path identifier"}

// String names the step in a word or two, such as "AS_PATH length".
func (s Step) String() string { return enum.String("Step", stepText[:], s) }

// compareMultipath compares by steps 1 to 8: negative if a is better, 0 if both
// may be in one multipath set. It also returns the step that told them apart.
func (t *Table) compareMultipath(a, b *path) (int, Step) {
	if c, s := compareClass(a, b, t.attrs.sum(a.attr), t.attrs.sum(b.attr)); c != 0 {
		return c, s
	}
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank), StepMED
	}
	return t.compareKind(a, b)
}

// compareKind compares by steps 7 and 8.
func (t *Table) compareKind(a, b *path) (int, Step) {
	if a.peer != b.peer {
		if p, q := t.peers[a.peer], t.peers[b.peer]; p.external != q.external {
			return before(p.external), StepExternal
		}
	}
	const stale = pathStale | pathMoved // the latter only with the former
	if c := cmp.Compare(a.flags&stale, b.flags&stale); c != 0 {
		return c, StepStale
	}
	return 0, 0
}

// compareClass compares by steps 1 to 5. Paths that are equal here compete by MED.
func compareClass(a, b *path, x, y *summary) (int, Step) {
	if (x.marks^y.marks)&markLLGRStale != 0 {
		return before(y.marks&markLLGRStale != 0), StepLongLived
	}
	if (a.peer == localPeer) != (b.peer == localPeer) {
		return before(a.peer == localPeer), StepLocal
	}
	switch {
	case x == y:
		return 0, 0
	case x.localPref != y.localPref:
		return cmp.Compare(y.localPref, x.localPref), StepLocalPref
	case x.pathLen != y.pathLen:
		return cmp.Compare(x.pathLen, y.pathLen), StepASPath
	}
	return cmp.Compare(x.origin, y.origin), StepOrigin
}

// compare is the whole decision process: never 0 for two paths of one destination.
func (t *Table) compare(a, b *path) (int, Step) {
	if c, s := t.compareMultipath(a, b); c != 0 {
		return c, s
	}
	return t.compareTies(a, b)
}

// compareTies compares by steps 9 to 12.
func (t *Table) compareTies(a, b *path) (int, Step) {
	if a.peer != b.peer || a.attr != b.attr {
		x, y := t.attrs.sum(a.attr), t.attrs.sum(b.attr)
		p, q := t.peers[a.peer], t.peers[b.peer]
		if c := cmp.Compare(p.identifier(x), q.identifier(y)); c != 0 {
			return c, StepIdentifier
		}
		if x.clusters != y.clusters {
			return cmp.Compare(x.clusters, y.clusters), StepClusterList
		}
		if c := p.addr.Compare(q.addr); c != 0 {
			return c, StepPeer
		}
	}
	// Two peers configured with one address are told apart by their numbers.
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.peer, b.peer)), StepPathID
}

// better reports whether a is better than b.
func (t *Table) better(a, b *path) bool {
	c, _ := t.compare(a, b)
	return c < 0
}

// equal reports whether a and b may be in one multipath set.
func (t *Table) equal(a, b *path) bool {
	c, _ := t.compareMultipath(a, b)
	return c == 0
}

// before is the sign of a comparison that a wins if yes.
func before(yes bool) int {
	if yes {
		return -1
	}
	return 1
}

// identifier is what step 9 compares of a path with these attributes.
func (in *In) identifier(s *summary) uint32 {
	if s.originator != 0 {
		return s.originator
	}
	return in.routerID
}
