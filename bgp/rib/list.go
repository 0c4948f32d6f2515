package rib

import (
	"cmp"
	"slices"
)

// The paths of a destination are a list, best first, as nearly always there are few. When
// there are more than listMax, they move to a pathIndex, for good: so a change walks over
// listMax paths at most.

// listMax is how many paths a list may have, and so the highest path identifier for sending
// that a path in one may have. A walk over so many costs about what a search in a
// pathIndex does.
const listMax = 64

// best returns the best path of a destination, 0 if it has none.
func (t *Table) best(d *dest) uint32 {
	if d.indexed {
		return t.indexes[d.first].heads.first()
	}
	return d.first
}

// search finds a peer's path.
func (t *Table) search(d *dest, peer uint16, pathID uint32) (id uint32) {
	if d.indexed {
		return t.indexes[d.first].byKey[pathKey{peer, pathID}]
	}
	for id = d.first; id != 0; {
		p := t.paths.at(id)
		if p.peer == peer && p.id == pathID {
			break
		}
		id = p.next
	}
	return id
}

// freeOut returns a path identifier for sending that no path of a destination has, the lowest
// one; 0 if all are taken.
func (t *Table) freeOut(d *dest) uint16 {
	if d.indexed {
		return t.indexes[d.first].outs.lowest()
	}
	var used uint64
	for id := d.first; id != 0; {
		p := t.paths.at(id)
		used |= 1 << (p.out - 1)
		id = p.next
	}
	return uint16(trailingOnes(used)) + 1
}

// insert puts a path among those of its destination. It returns the path before it in the
// list, noPath if the destination has an index.
func (t *Table) insert(d *dest, id uint32) (prev uint32) {
	t.tally(id, 1)
	if d.indexed {
		t.indexes[d.first].insert(t, id)
		return noPath
	}
	d.paths++
	p := t.paths.at(id)
	if t.attrs.sum(p.attr).med != 0 {
		d.ranked = true
	}
	if d.ranked {
		p.next, d.first = d.first, id
		t.rank(d)
		return noPath
	}
	p.rank = 0
	at := &d.first
	for *at != 0 {
		q := t.paths.at(*at)
		if t.better(p, q) {
			break
		}
		prev, at = *at, &q.next
	}
	p.next, *at = *at, id
	return prev
}

// tally counts a path that is entered, or taken out.
func (t *Table) tally(id uint32, n int) {
	flags := t.paths.at(id).flags
	if flags&pathFailed != 0 {
		t.failed += n
	}
	if flags&pathStale != 0 {
		t.stale += n
	}
	if flags&pathMoved != 0 {
		t.moved += n
	}
}

// noPath is no path's index: what comes before a path is not known.
const noPath = ^uint32(0)

// unlink takes a path out again. It returns what insert does.
func (t *Table) unlink(d *dest, id uint32) (prev uint32) {
	t.tally(id, -1)
	if d.indexed {
		t.indexes[d.first].remove(t, id)
		return noPath
	}
	d.paths--
	at := &d.first
	for *at != id {
		prev, at = *at, &t.paths.at(*at).next
	}
	*at = t.paths.at(id).next
	if d.ranked {
		t.rank(d)
		return noPath
	}
	return prev
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
			if x.med != y.med {
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
}

// compareForRank brings the paths that compete by MED together, lowest MED first.
func (t *Table) compareForRank(i, j uint32) int {
	a, b := t.paths.at(i), t.paths.at(j)
	x, y := t.attrs.sum(a.attr), t.attrs.sum(b.attr)
	c, _ := compareClass(a, b, x, y)
	return cmp.Or(c, cmp.Compare(x.neighbour, y.neighbour), cmp.Compare(x.med, y.med))
}

// standing returns the level of the change that the end of a path would be:
// levelBest if it is the best one, levelMulti if it may be in the best multipath set.
func (t *Table) standing(d *dest, id uint32) level {
	best := t.best(d)
	switch {
	case best == id:
		return levelBest
	case d.indexed && t.indexes[d.first].rivals(t, best, id), !d.indexed && t.equal(t.paths.at(best), t.paths.at(id)):
		return levelMulti
	}
	return levelAny
}

// shape is what a change of one path may do to others of its destination: another one
// may be best, there may be a multipath set, and MEDs may rank them.
type shape struct {
	best   uint32 // the best path, 0 if there is none
	multi  bool   // two paths or more are equally good: only looked at in a list
	ranked bool   // some path has a MED
}

func (t *Table) shape(d *dest) shape {
	s := shape{best: t.best(d), ranked: d.ranked}
	if !d.indexed && d.paths > 1 {
		first := t.paths.at(d.first)
		s.multi = t.equal(first, t.paths.at(first.next))
	}
	return s
}

// levelOf says how deep a change goes: l is the best standing that the path had or has. With
// MEDs, a path may change the order of others without being among them.
func levelOf(l level, was, now shape) level {
	if was.best != now.best || was.ranked || now.ranked {
		return levelBest
	}
	return l
}

// pathWalk reads the paths of a destination, best first. Nothing of the table may change
// meanwhile, and only one destination with an index may be read at a time.
type pathWalk struct {
	t     *Table     // the table
	at    uint32     // the next path of a list
	merge *pathMerge // of a destination with an index, else nil
}

func (t *Table) walk(d *dest) pathWalk {
	if d.indexed {
		t.merge.begin(t, t.indexes[d.first])
		return pathWalk{t: t, merge: &t.merge}
	}
	return pathWalk{t: t, at: d.first}
}

// next returns the next path, 0 at the end.
func (w *pathWalk) next() uint32 {
	if w.merge != nil {
		return w.merge.next()
	}
	id := w.at
	if id != 0 {
		w.at = w.t.paths.at(id).next
	}
	return id
}

// maxDepth is how many paths of a destination readers look at that want the best ones and pass
// over others: duplicates of a next hop, what may not be advertised. It bounds what a change
// costs where one prefix has thousands of paths. It is 16 next hops, each heard of from 16
// reflectors. Watchers of all paths get four times as many at most.
const maxDepth = 256
