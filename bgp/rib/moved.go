package rib

// A stale path of a route reflector's client leads to what was there when the client went. If another
// client adds a path to the destination since, that has moved, and the stale path is not advertised any
// more: who is sent both cannot tell them apart, and would look for it in both places until the client
// is back. Both paths of an anycast destination that two clients offered before are advertised on. It is
// an ordinary stale path again when the best path is no fresh one of a client, or ours: the move was
// taken back, or who added it has gone.

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

// showMoved has the paths of a destination that have moved advertised again, if the best path is no
// fresh one of a client, or ours. It is called when a path of the destination has changed.
func (t *Table) showMoved(d *dest) {
	if t.moved == 0 || d.indexed && t.indexes[d.first].moved == 0 {
		return
	}
	if best := t.best(d); best != 0 {
		if p := t.paths.at(best); p.flags&pathStale == 0 && (p.peer == localPeer || t.peers[p.peer].client) {
			return
		}
	}
	t.movers = t.which(t.movers[:0], d, func(p *path) bool { return p.flags&pathMoved != 0 })
	for _, id := range t.movers {
		t.setMoved(id, 0, pathMoved)
	}
}

// setMoved changes the mark of a path, on which its place does not depend.
func (t *Table) setMoved(id uint32, set, clear pathFlags) {
	p := t.paths.at(id)
	d := t.at(p.dest)
	t.unlink(d, id)
	p.flags = p.flags&^clear | set
	t.insert(d, id)
	t.changed(t.peers[p.peer], p.dest, levelAny, p.out)
}
