package rib

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"slices"
)

// attrID names an interned attribute set; 0 is none. Two sets are equal if and only
// if their ids are.
type attrID = uint32

// attrSet is one interned attribute set with what the decision process wants of it.
//
// What of an EVPN route does not name it, the rest of its NLRI, is as much an attribute as the others ("to be
// treated as route attributes", RFC 7432, Section 7.2): it is shared by the routes that have the same, replaced
// with them, and handed to those who want to know. But one UPDATE may have a thousand of them beside 64 kB of other
// attributes. So a set with a rest has a base, the set that is the same without it, and only its tail is its
// own. Whatever changes attributes changes bases: they alone have edges and holds.
//
// It is in use while it has refs: from paths, from what is advertised, from the code that works with
// it. A set in use remembers by its edges what policies made of it. An edge keeps the sets alive
// that it names, by holds. A set that only has holds forgets its own edges: so edges cannot
// keep each other alive in a circle, however policies lead from one set to another and back,
// and what is remembered is bounded by the sets in use.
type attrSet struct {
	octets []byte // the attributes in canonical form, then the tail; with a base the tail alone
	hash   uint64 // of octets, and of base
	edges  []edge // what policies made of the set
	base   attrID // the set whose attributes these are, with a reference; 0: they are in octets, and there is no rest
	refs   uint32 // users of the set; 0: it is remembered by holds alone
	holds  uint32 // edges that name the set
	nh     uint16 // where the tail starts in octets: see appendTail
	summary
	kept   bool   // see attrStore.keep
	bucket uint32 // scratch of batch: 1 + the bucket in use for this set
}

// attrStore interns attribute sets and counts references to them.
type attrStore struct {
	sets  slab[attrSet] // an attrID is an index here
	ix    index         // finds a set by its octets
	seed  maphash.Seed  // random: nobody can choose attributes that collide
	own   own           // who we are, for each set's loop checks
	based int           // sets that have a base
	room  []byte        // for change
	made  int           // octets of attributes that were entered or made since it was set to 0: see Table.pause

	recent []attrID // see keep; oldest first
}

func (s *attrStore) at(id attrID) *attrSet   { return s.sets.at(id) }
func (s *attrStore) hashOf(id uint32) uint64 { return s.sets.at(id).hash }
func (s *attrStore) retain(id attrID) attrID { s.sets.at(id).refs++; return id }
func (s *attrStore) sum(id attrID) *summary  { return &s.sets.at(id).summary }

func (s *attrStore) view(id attrID) Attrs {
	a := s.sets.at(id)
	own := a
	if a.base != 0 {
		own = s.sets.at(a.base)
	}
	return Attrs{own.octets[:own.nh:own.nh], a.octets[a.nh:]}
}

// baseOf returns the base of a set, the set itself if it has none.
func (s *attrStore) baseOf(id attrID) attrID {
	if b := s.sets.at(id).base; b != 0 {
		return b
	}
	return id
}

// intern returns the id of a set without a rest, with a reference for the caller. octets are in
// canonical form with the tail at nh; they are copied if the set is new.
func (s *attrStore) intern(octets []byte, nh int) attrID {
	s.made += len(octets)
	h := maphash.Bytes(s.seed, octets)
	h ^= uint64(nh) * 0x9e3779b97f4a7c15
	if id := s.find(h, 0, octets, nh); id != 0 {
		return s.retain(id)
	}
	id := s.enter(h, bytes.Clone(octets), nh)
	s.at(id).summary = summarize(octets[:nh], s.own)
	return id
}

// with returns the id of the set that has a rest beside what is in base, which has none, with a reference for the
// caller: base itself if the rest is empty. known is the tail of another set, perhaps the same, or nil.
func (s *attrStore) with(base attrID, rest, known []byte) attrID {
	if len(rest) == 0 {
		return s.retain(base)
	}
	b := s.at(base)
	var room [64]byte
	tail := append(append(room[:0], b.octets[b.nh:]...), rest...)
	s.made += len(tail)
	h := maphash.Bytes(s.seed, tail) ^ bits.RotateLeft64(b.hash, 32)
	if id := s.find(h, base, tail, 0); id != 0 {
		return s.retain(id)
	}
	if !bytes.Equal(known, tail) {
		known = bytes.Clone(tail)
	}
	id := s.enter(h, known, 0)
	s.based++
	a := s.at(id)
	a.base, a.summary = s.retain(base), b.summary
	return id
}

// find returns the id of a set with a hash, 0 if there is none.
func (s *attrStore) find(h uint64, base attrID, octets []byte, nh int) attrID {
	slots := s.ix.slots
	if len(slots) == 0 {
		return 0
	}
	mask, tag := uint64(len(slots)-1), slotFor(h, 0)
	for i := h & mask; slots[i] != 0; i = (i + 1) & mask {
		slot := slots[i]
		if slot == slotGone || slot&^slotIDMask != tag {
			continue
		}
		id := slot & slotIDMask
		if a := s.sets.at(id); a.hash == h && a.base == base && int(a.nh) == nh && bytes.Equal(a.octets, octets) {
			return id
		}
	}
	return 0
}

// enter makes a set of octets, which never change from now on.
func (s *attrStore) enter(h uint64, octets []byte, nh int) attrID {
	id := s.sets.alloc()
	a := s.sets.at(id)
	a.octets, a.hash, a.refs, a.nh = octets, h, 1, uint16(nh)
	s.ix.add(h, id, s.hashOf)
	return id
}

// release gives a reference back.
func (s *attrStore) release(id attrID) {
	a := s.sets.at(id)
	if a.refs--; a.refs > 0 {
		return
	}
	if base := a.base; base != 0 {
		s.based--
		s.free(id)
		s.release(base)
		return
	}
	edges := a.edges
	a.edges = nil
	for i := range edges {
		s.unlink(id, &edges[i])
	}
	if a.holds == 0 {
		s.free(id)
	}
}

func (s *attrStore) free(id attrID) {
	s.ix.remove(s.sets.at(id).hash, id, s.hashOf)
	s.sets.free(id)
}

// link has an edge of root hold its sets. Root itself need not be held, and 0 is no set.
func (s *attrStore) link(root attrID, e *edge) {
	for _, id := range [...]attrID{e.from, e.to} {
		if id != root && id != 0 {
			s.sets.at(id).holds++
		}
	}
}

// unlink is the reverse, for an edge that goes.
func (s *attrStore) unlink(root attrID, e *edge) {
	for _, id := range [...]attrID{e.from, e.to} {
		if id == root || id == 0 {
			continue
		}
		a := s.sets.at(id)
		if a.holds--; a.holds == 0 && a.refs == 0 {
			s.free(id)
		}
	}
}

// An edge of a set, its root, remembers what a change made of the set, or of another one that
// changes before it had made of the set: so a policy that sets three communities on 100,000
// paths of one set costs three internings. All sets of an edge are bases.
type edge struct {
	op
	arg      [16]byte // what the change is made with
	from, to attrID   // to is 0 if the change yields nothing
}

// op is a kind of change of an attribute set.
type op struct {
	kind opKind // which change
	who  uint32 // from opExport on: the export group's identity
}

// maxEdges bounds the edges of a set. It is enough for the export groups of a large
// reflector; beyond it the oldest is forgotten, which costs time, not correctness.
const maxEdges = 64

// change returns the id of the set that an op makes of the set id, with a reference for
// the caller. The caller has a reference on root, which id was made of, or is. apply appends
// the new set without the rest, which stays, to its argument and returns it with the place of the tail; it is called
// only the first time, with a set that has no rest.
func (s *attrStore) change(root, id attrID, o op, arg [16]byte, apply func(dst []byte, from Attrs) ([]byte, int)) attrID {
	root = s.baseOf(root)
	base := s.baseOf(id)
	to := s.changeBase(root, base, o, arg, apply)
	if base == id || to == 0 {
		return to
	}
	from := s.view(id)
	all := s.with(to, from.rest(), from.tail)
	s.release(to)
	return all
}

// changeBase is change for a set without a rest.
func (s *attrStore) changeBase(root, id attrID, o op, arg [16]byte, apply func(dst []byte, from Attrs) ([]byte, int)) attrID {
	r := s.sets.at(root)
	for i := range r.edges {
		if e := &r.edges[i]; e.from == id && e.op == o && e.arg == arg {
			if e.to != 0 {
				s.retain(e.to)
			}
			return e.to
		}
	}
	octets, nh := apply(s.room[:0], s.view(id))
	to := attrID(0)
	if octets != nil {
		s.room = octets
		to = s.intern(octets, nh)
	}
	if len(r.edges) == maxEdges {
		oldest := r.edges[0]
		r.edges = append(r.edges[:0], r.edges[1:]...)
		s.unlink(root, &oldest)
	}
	r.edges = append(r.edges, edge{o, arg, id, to})
	s.link(root, &r.edges[len(r.edges)-1])
	return to
}

// forget drops the edges of an export group that is gone, and those to sets that nobody uses.
// Otherwise every session that comes and goes would leave its sets behind for as long as the paths
// live that they were made of.
func (s *attrStore) forget(who uint32) {
	for id := s.sets.next(0); id != 0; id = s.sets.next(id + 1) {
		s.prune(id, func(e *edge) bool {
			return e.kind >= opExport && e.who == who || e.to != 0 && s.sets.at(e.to).refs == 0
		})
	}
}

// prune drops the edges of a set that gone names, and those that lead on from these.
func (s *attrStore) prune(root attrID, gone func(*edge) bool) {
	a := s.sets.at(root)
	reached := func(id attrID) bool {
		return id == root || slices.ContainsFunc(a.edges, func(e edge) bool { return e.to == id })
	}
	for {
		i := slices.IndexFunc(a.edges, func(e edge) bool { return gone(&e) || !reached(e.from) })
		if i < 0 {
			return
		}
		e := a.edges[i]
		a.edges = slices.Delete(a.edges, i, i+1)
		s.unlink(root, &e)
	}
}

// recentSets is how many attribute sets as received are kept because an import policy looked at
// them: enough for feeds that interleave some hundred sets.
const recentSets = 1024

// keep holds on to a set as received, one of most at most. If the import policy changes it,
// no path uses it, and what the policy made of it would be made again with every message.
func (s *attrStore) keep(id attrID, most int) {
	a := s.at(id)
	if a.kept || most == 0 {
		return
	}
	a.kept = true
	s.recent = append(s.recent, s.retain(id))
	s.trim(min(most, recentSets))
}

// trim forgets the oldest kept sets until most are left.
func (s *attrStore) trim(most int) {
	n := len(s.recent) - most
	if n <= 0 {
		return
	}
	for _, id := range s.recent[:n] {
		s.at(id).kept = false
		s.release(id)
	}
	s.recent = slices.Delete(s.recent, 0, n)
	if most == 0 {
		s.recent = nil
	}
}
