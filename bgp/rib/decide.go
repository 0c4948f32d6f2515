package rib

import (
	"cmp"
	"slices"

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
//  8. the one that is not stale: a path kept for a restarting peer (RFC 4724) is
//     as good as any, but a fresh equal is better.
//
// Here RFC 4271 would compare the IGP's cost of the next hop; hyperfib runs no IGP:
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
// Step 6 is what makes the textbook comparison of two paths no order: MEDs of
// different ASes do not compare, so a may beat b, b beat c, and c beat a. We compare
// instead by *rank*: among the paths that are equal after step 5 and whose AS_PATH
// begins with the same AS (paths with an empty AS_PATH count as one AS: ours), the
// rank is the number of distinct MEDs lower than the path's own; a missing MED is 0. A
// path of rank 0 is one that RFC 4271's step c would not remove, so the best path is
// RFC 4271's whatever the order of arrival (what others call deterministic MED), and the
// paths after it have an order, too. Ranks are kept in the path and computed anew when a
// destination with MEDs changes; nearly always there are none.

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
	StepStale            // one path is stale
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
	x, y := t.attrs.sum(a.attr), t.attrs.sum(b.attr)
	if c, s := compareClass(a, b, x, y); c != 0 {
		return c, s
	}
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank), StepMED
	}
	if p, q := t.peers[a.peer], t.peers[b.peer]; p.external != q.external {
		return before(p.external), StepExternal
	}
	if (a.flags^b.flags)&pathStale != 0 {
		return before(b.flags&pathStale != 0), StepStale
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

// insert puts a path into the list of its destination.
func (t *Table) insert(d *dest, id uint32) {
	p := t.paths.at(id)
	if t.attrs.sum(p.attr).med != 0 {
		d.ranked = true
	}
	if d.ranked {
		p.next, d.first = d.first, id
		t.rank(d)
		return
	}
	p.rank = 0
	at := &d.first
	for *at != 0 {
		q := t.paths.at(*at)
		if t.better(p, q) {
			break
		}
		at = &q.next
	}
	p.next, *at = *at, id
	t.countMulti(d)
}

// unlink takes a path out of the list of its destination.
func (t *Table) unlink(d *dest, id uint32) {
	at := &d.first
	for *at != id {
		at = &t.paths.at(*at).next
	}
	*at = t.paths.at(id).next
	if d.ranked {
		t.rank(d)
		return
	}
	t.countMulti(d)
}

// countMulti counts the multipath set.
func (t *Table) countMulti(d *dest) {
	d.multi = 0
	if d.first == 0 {
		return
	}
	best := t.paths.at(d.first)
	d.multi = 1
	for id := best.next; id != 0 && int(d.multi) < t.multipath; d.multi++ {
		p := t.paths.at(id)
		if !t.equal(best, p) {
			return
		}
		id = p.next
	}
}

// rank computes the ranks of step 6 and sorts the list by the whole process.
func (t *Table) rank(d *dest) {
	ids := t.scratch[:0]
	d.ranked = false
	for id := d.first; id != 0; id = t.paths.at(id).next {
		ids = append(ids, id)
		d.ranked = d.ranked || t.attrs.sum(t.paths.at(id).attr).med != 0
	}
	slices.SortFunc(ids, t.compareForRank)
	for i, id := range ids {
		p := t.paths.at(id)
		p.rank = 0
		if i == 0 {
			continue
		}
		q := t.paths.at(ids[i-1])
		x, y := t.attrs.sum(q.attr), t.attrs.sum(p.attr)
		if c, _ := compareClass(q, p, x, y); c == 0 && x.neighbour == y.neighbour {
			p.rank = q.rank
			if x.med != y.med && p.rank < 255 {
				p.rank++
			}
		}
	}
	slices.SortFunc(ids, func(i, j uint32) int {
		c, _ := t.compare(t.paths.at(i), t.paths.at(j))
		return c
	})
	at := &d.first
	for _, id := range ids {
		*at = id
		at = &t.paths.at(id).next
	}
	*at = 0
	t.scratch = ids[:0]
	t.countMulti(d)
}

// compareForRank brings the paths that compete by MED together, lowest MED first.
func (t *Table) compareForRank(i, j uint32) int {
	a, b := t.paths.at(i), t.paths.at(j)
	x, y := t.attrs.sum(a.attr), t.attrs.sum(b.attr)
	c, _ := compareClass(a, b, x, y)
	return cmp.Or(c, cmp.Compare(x.neighbour, y.neighbour), cmp.Compare(x.med, y.med))
}
