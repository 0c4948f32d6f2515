package rib

// path is one path of a destination: 32 octets. The paths of a destination form a
// list, best first; those that one peer sent form another.
type path struct {
	dest   destID    // where it leads
	next   uint32    // next path of the destination, if these are a list
	later  uint32    // neighbours in the list of the peer
	sooner uint32    // the other neighbour in that list; 0: none
	attr   attrID    // its attributes after the import policy, with a reference
	id     uint32    // path identifier as received
	peer   uint16    // number of the peer that it comes from
	out    uint16    // path identifier as sent: unique in the destination, stable
	flags  pathFlags // see pathStale and the others
	rank   uint8     // see decide.go: how many better MEDs the neighbouring AS offers
}

type pathFlags uint8

const (
	// pathStale: kept although the session ended (RFC 4724, Section 4.2).
	pathStale pathFlags = 1 << iota
	// pathUnconfirmed: not yet announced again since the refresh began (RFC 7313, Section 4).
	pathUnconfirmed
	// pathTwiceStale: stale since before the last restart of several: see MarkTwiceStale. Only with
	// pathStale.
	pathTwiceStale
	// pathFailed: the way to its peer has failed, and it was kept because no other peer offered a path:
	// it goes as soon as one does. See DropRedundant. It is changed only while the path is not among
	// those of its destination, since these are counted.
	pathFailed
	// pathMoved: another client has added a path since this one is stale, and it is not advertised: see
	// hideMoved. Only with pathStale; changed as pathFailed is.
	pathMoved
)

// newPath adds a path of a peer, and takes over the reference on attr. The path is not yet among
// those that are sorted: see insert.
func (t *Table) newPath(in *In, d destID, e *dest, pathID uint32, out uint16, attr attrID) uint32 {
	if !e.indexed && int(e.paths) == t.limits.list {
		t.makeIndex(e)
	}
	id := t.paths.alloc()
	p := t.paths.at(id)
	*p = path{dest: d, peer: in.no, id: pathID, out: out, attr: attr}
	e.outMax = max(e.outMax, out)
	if e.indexed {
		t.indexes[e.first].enter(id, p)
	}
	l := in.list(d)
	p.later = l.head
	if l.head != 0 {
		t.paths.at(l.head).sooner = id
	}
	l.head = id
	l.n++
	in.interestChanged(d)
	return id
}

// freePath is the reverse, for a path that is no longer among those that are sorted.
func (t *Table) freePath(id uint32, e *dest) {
	p := t.paths.at(id)
	if e.indexed {
		t.indexes[e.first].leave(p)
	}
	l := t.peers[p.peer].list(p.dest)
	if p.sooner != 0 {
		t.paths.at(p.sooner).later = p.later
	} else {
		l.head = p.later
	}
	if p.later != 0 {
		t.paths.at(p.later).sooner = p.sooner
	}
	if l.cursor == id {
		l.cursor = p.later
	}
	l.n--
	if p.flags&pathStale != 0 {
		l.stale--
	}
	t.peers[p.peer].interestChanged(p.dest)
	t.attrs.release(p.attr)
	t.paths.free(id)
}
