package rib

// A stale path of a route reflector's client leads to what was there when the client went. If another
// client adds a path to the destination since, that has moved, and the stale path is not advertised any
// more: who is sent both cannot tell them apart, and would look for it in both places until the client
// is back. Both paths of an anycast destination that two clients offered before are advertised on.
//
// It is an ordinary stale path again if one that has moved is the best all the same, by its MED, or there
// is no path that it can have moved to: one of a client, or ours, that has not moved itself, whose way
// has not failed, and that is not worse by steps 1 to 5. So it is when the move is taken back, but not
// when who added the path restarts, too: of two stale paths the one that has moved is the worse one (step 8).

// hideMoved marks the paths of a destination from which a path that was added has moved.
func (t *Table) hideMoved(d *dest, added uint32) {
	to := t.paths.at(added)
	if t.stale == 0 || !t.peers[to.peer].client || d.indexed && t.indexes[d.first].stale == t.indexes[d.first].peers[to.peer].stale {
		return
	}
	t.movers = t.which(t.movers[:0], d, func(p *path) bool { return t.leaves(p, to) })
	for _, id := range t.movers {
		t.setMoved(id, pathMoved, 0)
	}
}

// leaves reports whether what a path leads to is where another one leads that was added: the path is
// stale, both are of clients, and what it carries is not better.
func (t *Table) leaves(p, to *path) bool {
	if p.peer == to.peer || p.flags&(pathStale|pathMoved) != pathStale || !t.peers[p.peer].client {
		return false
	}
	c, _ := compareClass(to, p, t.attrs.sum(to.attr), t.attrs.sum(p.attr))
	return c <= 0
}

// showMoved has the paths of a destination that have moved advertised again which have nowhere to have
// moved to. It is called when a path of the destination has changed.
func (t *Table) showMoved(d *dest) {
	if t.moved == 0 || d.indexed && t.indexes[d.first].moved == 0 {
		return
	}
	best := t.best(d)
	if best == 0 || t.takes(t.paths.at(best)) {
		return // nothing is better by any step
	}
	to := t.paths.at(best)
	if to.flags&pathMoved == 0 {
		to = t.firstTaker(d)
	}
	t.movers = t.which(t.movers[:0], d, func(p *path) bool {
		if p.flags&pathMoved == 0 {
			return false
		}
		if to == nil || to.flags&pathMoved != 0 {
			return true
		}
		c, _ := compareClass(to, p, t.attrs.sum(to.attr), t.attrs.sum(p.attr))
		return c > 0
	})
	for _, id := range t.movers {
		t.setMoved(id, 0, pathMoved)
	}
}

// takes reports whether other paths can have moved to a path.
func (t *Table) takes(p *path) bool {
	return p.flags&(pathMoved|pathFailed) == 0 && (p.peer == localPeer || t.peers[p.peer].client)
}

// firstTaker returns the best path of a destination that others can have moved to, nil if there is none.
func (t *Table) firstTaker(d *dest) *path {
	w := t.walk(d)
	for id := w.next(); id != 0; id = w.next() {
		if p := t.paths.at(id); t.takes(p) {
			return p
		}
	}
	return nil
}

// setMoved changes the mark of a path.
func (t *Table) setMoved(id uint32, set, clear pathFlags) {
	p := t.paths.at(id)
	t.shift(t.peers[p.peer], p.dest, t.at(p.dest), id, func() sight {
		p.flags = p.flags&^clear | set
		return fullSight
	})
}
