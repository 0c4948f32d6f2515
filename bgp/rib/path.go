package rib

// path is one path of a destination: 32 octets. The paths of a destination form a
// list, best first; those that one peer sent form another.
type path struct {
	dest   destID
	next   uint32 // next path of the destination
	later  uint32 // neighbours in the list of the peer
	sooner uint32
	attr   attrID
	id     uint32 // path identifier as received
	peer   uint16
	out    uint16 // path identifier as sent: unique in the destination, stable
	flags  pathFlags
	rank   uint8 // see decide.go: how many better MEDs the neighbouring AS offers
}

type pathFlags uint8

const (
	// pathStale: kept although the session ended (RFC 4724).
	pathStale pathFlags = 1 << iota
	// pathUnconfirmed: not yet announced again since the refresh began (RFC 7313).
	pathUnconfirmed
)

// newPath links a new path of a peer; it is not in its destination's list yet.
func (t *Table) newPath(in *In, d destID) (uint32, *path) {
	id := t.paths.alloc()
	p := t.paths.at(id)
	p.dest, p.peer = d, in.no
	l := in.list(d)
	p.later = l.head
	if l.head != 0 {
		t.paths.at(l.head).sooner = id
	}
	l.head = id
	l.n++
	return id, p
}

// freePath is the reverse, for a path that is no longer in its destination's list.
func (t *Table) freePath(id uint32) {
	p := t.paths.at(id)
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
	t.attrs.release(p.attr)
	t.paths.free(id)
}
