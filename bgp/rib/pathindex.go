package rib

import "cmp"

// pathIndex holds the paths of a destination that has many, so that no change costs a walk
// over them.
//
// Of the steps of the decision process only the sixth depends on other paths, by the rank. The
// index is sorted by what does not: the class (steps 1 to 5), the neighbouring AS, the MED, then
// the other steps. The paths of one class and neighbouring AS are a group: they compete by MED,
// and the first of a group, its head, has rank 0. The best path is the best of the heads. These
// are sorted, too, so a change costs a few searches. What reads the paths best first merges the
// groups: see pathMerge.
type pathIndex struct {
	n      int                  // paths in it
	order  sortedIDs            // by class, neighbouring AS, MED, steps 7 to 12
	heads  sortedIDs            // of each group the first path, by class, steps 7 to 12
	byKey  map[pathKey]uint32   // by what its peer calls a path
	most   int                  // paths that byKey had room for at some time
	byOut  []uint32             // by path identifier for sending; 0 is none
	outs   outPool              // path identifiers for sending
	peers  map[uint16]peerPaths // by the peer's number
	stale  int                  // stale paths
	moved  int                  // paths that have moved
	failed int                  // paths kept although the way to their peers has failed
}

// pathKey is what a peer calls a path of a destination.
type pathKey struct {
	peer uint16 // the peer's number
	id   uint32 // path identifier as received
}

// peerPaths counts the paths of one peer.
type peerPaths struct{ all, stale, failed int }

// pathsMax is how many paths a destination may have. Each has a path identifier for sending
// of its own, of 16 bits, where 0 is none.
const pathsMax = 0xffff

// makeIndex moves the paths of a destination from its list to an index.
func (t *Table) makeIndex(d *dest) {
	x := &pathIndex{byKey: map[pathKey]uint32{}, peers: map[uint16]peerPaths{}}
	for id := d.first; id != 0; {
		p := t.paths.at(id)
		next := p.next
		p.next = 0
		x.enter(id, p)
		x.insert(t, id)
		id = next
	}
	if k := len(t.spareIndexes); k > 0 {
		d.first, t.spareIndexes = t.spareIndexes[k-1], t.spareIndexes[:k-1]
		t.indexes[d.first] = x
	} else {
		d.first = uint32(len(t.indexes))
		t.indexes = append(t.indexes, x)
	}
	d.indexed, d.ranked, d.paths = true, false, 0
}

// dropIndex forgets the index of a destination that is to go.
func (t *Table) dropIndex(d *dest) {
	t.indexes[d.first] = nil
	t.spareIndexes = append(t.spareIndexes, d.first)
	d.first, d.indexed = 0, false
}

// enter makes a new path known by its names.
func (x *pathIndex) enter(id uint32, p *path) {
	x.n++
	x.byKey[pathKey{p.peer, p.id}] = id
	x.most = max(x.most, x.n)
	for int(p.out) >= len(x.byOut) {
		x.byOut = append(x.byOut, 0)
	}
	x.byOut[p.out] = id
	x.outs.take(p.out)
}

// leave is the reverse. What a burst needed is not kept.
func (x *pathIndex) leave(p *path) {
	x.n--
	delete(x.byKey, pathKey{p.peer, p.id})
	if x.most > 4*listMax && x.n < x.most/8 {
		byKey := make(map[pathKey]uint32, x.n)
		for k, id := range x.byKey {
			byKey[k] = id
		}
		x.byKey, x.most = byKey, x.n
	}
	x.outs.give(p.out)
	x.byOut[p.out] = 0
	x.byOut = trim(x.byOut)
}

// path returns the path with an identifier for sending, nil if there is none.
func (x *pathIndex) path(t *Table, out uint16) *path {
	if int(out) >= len(x.byOut) || x.byOut[out] == 0 {
		return nil
	}
	return t.paths.at(x.byOut[out])
}

// compareGroup compares by group: class, then neighbouring AS.
func (t *Table) compareGroup(a, b *path) int {
	x, y := t.attrs.sum(a.attr), t.attrs.sum(b.attr)
	if c, _ := compareClass(a, b, x, y); c != 0 {
		return c
	}
	return cmp.Compare(x.neighbour, y.neighbour)
}

// compareRest compares by steps 7 to 12.
func (t *Table) compareRest(a, b *path) int {
	if c, _ := t.compareKind(a, b); c != 0 {
		return c
	}
	c, _ := t.compareTies(a, b)
	return c
}

// find returns the place of a path in order, or where it belongs.
func (x *pathIndex) find(t *Table, p *path) place {
	med := t.attrs.sum(p.attr).med
	return x.order.search(func(id uint32) bool {
		q := t.paths.at(id)
		c := 0
		if p.attr != q.attr || p.peer != q.peer {
			c = cmp.Or(t.compareGroup(q, p), cmp.Compare(t.attrs.sum(q.attr).med, med))
		}
		return cmp.Or(c, t.compareRest(q, p)) < 0
	})
}

// findHead is find in heads.
func (x *pathIndex) findHead(t *Table, p *path) place {
	sum := t.attrs.sum(p.attr)
	return x.heads.search(func(id uint32) bool {
		q := t.paths.at(id)
		c, _ := compareClass(q, p, t.attrs.sum(q.attr), sum)
		return cmp.Or(c, t.compareRest(q, p)) < 0
	})
}

// insert puts a path where it belongs.
func (x *pathIndex) insert(t *Table, id uint32) {
	p := t.paths.at(id)
	x.count(p, 1)
	at := x.find(t, p)
	prev, next := x.order.before(at), x.order.at(at)
	x.order.insert(at, id)
	if x.sameGroup(t, prev, p) {
		return
	}
	if x.sameGroup(t, next, p) {
		x.heads.remove(x.findHead(t, t.paths.at(next)))
	}
	x.heads.insert(x.findHead(t, p), id)
}

// remove takes a path out. Nothing that the order depends on may have changed since insert.
func (x *pathIndex) remove(t *Table, id uint32) {
	p := t.paths.at(id)
	x.count(p, -1)
	at := x.find(t, p)
	prev, next := x.order.before(at), x.order.at(x.order.next(at))
	x.order.remove(at)
	if x.sameGroup(t, prev, p) {
		return
	}
	x.heads.remove(x.findHead(t, p))
	if x.sameGroup(t, next, p) {
		x.heads.insert(x.findHead(t, t.paths.at(next)), next)
	}
}

// sameGroup reports whether there is a path id, and it is of the group of p.
func (x *pathIndex) sameGroup(t *Table, id uint32, p *path) bool {
	return id != 0 && t.compareGroup(t.paths.at(id), p) == 0
}

// count counts n more paths like p, or fewer.
func (x *pathIndex) count(p *path, n int) {
	c := x.peers[p.peer]
	c.all += n
	if p.flags&pathStale != 0 {
		c.stale += n
		x.stale += n
	}
	if p.flags&pathMoved != 0 {
		x.moved += n
	}
	if p.flags&pathFailed != 0 {
		c.failed += n
		x.failed += n
	}
	if c.all == 0 {
		delete(x.peers, p.peer)
		return
	}
	x.peers[p.peer] = c
}

// fresh returns how many paths that are not stale others than a peer have.
func (x *pathIndex) fresh(but uint16) (n int) {
	for no, c := range x.peers {
		if no != but {
			n += c.all - c.stale
		}
	}
	return n
}

// rivals reports whether a path has the class of the best one, and rank 0: then it may be in
// one multipath set with it, or keep others out.
func (x *pathIndex) rivals(t *Table, best, id uint32) bool {
	p := t.paths.at(id)
	b := t.paths.at(best)
	if c, _ := compareClass(b, p, t.attrs.sum(b.attr), t.attrs.sum(p.attr)); c != 0 {
		return false
	}
	head := x.order.at(x.order.search(func(id uint32) bool { return t.compareGroup(t.paths.at(id), p) < 0 }))
	return t.attrs.sum(t.paths.at(head).attr).med == t.attrs.sum(p.attr).med
}

// sort sorts everything anew: a peer's configuration has changed what the order depends on.
func (x *pathIndex) sort(t *Table) {
	x.order, x.heads = sortedIDs{}, sortedIDs{}
	clear(x.peers)
	x.stale, x.moved, x.failed = 0, 0, 0
	for _, id := range x.byOut {
		if id != 0 {
			x.insert(t, id)
		}
	}
}
