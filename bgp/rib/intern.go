package rib

import (
	"bytes"
	"hash/maphash"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// attrID names an interned attribute set; 0 is none. Two sets are equal if and only
// if their ids are.
type attrID = uint32

// attrSet is one interned attribute set with what the decision process wants of it.
//
// It is in use while it has refs: from paths, from what is advertised, from the code that works with
// it. A set in use remembers by its edges what policies made of it. An edge keeps the sets alive
// that it names, by holds. A set that only has holds forgets its own edges: so edges cannot
// keep each other alive in a circle, however policies lead from one set to another and back,
// and what is remembered is bounded by the sets in use.
type attrSet struct {
	octets []byte // the attributes in canonical form, then the tail
	hash   uint64 // of octets
	edges  []edge // what policies made of the set
	refs   uint32 // users of the set; 0: it is remembered by holds alone
	holds  uint32 // edges that name the set
	nh     uint16 // where the tail starts in octets: see appendTail
	summary
	kept   bool   // see attrStore.keep
	bucket uint32 // scratch of batch: 1 + the bucket in use for this set
}

func (a *attrSet) view() Attrs {
	return Attrs{wire.Attrs(a.octets[:a.nh:a.nh]), a.octets[a.nh:]}
}

// attrStore interns attribute sets and counts references to them.
type attrStore struct {
	sets slab[attrSet] // an attrID is an index here
	ix   index         // finds a set by its octets
	seed maphash.Seed  // random: nobody can choose attributes that collide
	own  own           // who we are, for each set's loop checks
	room []byte        // for change

	recent []attrID // see keep; oldest first
}

func (s *attrStore) at(id attrID) *attrSet   { return s.sets.at(id) }
func (s *attrStore) hashOf(id uint32) uint64 { return s.sets.at(id).hash }
func (s *attrStore) retain(id attrID) attrID { s.sets.at(id).refs++; return id }
func (s *attrStore) view(id attrID) Attrs    { return s.sets.at(id).view() }
func (s *attrStore) sum(id attrID) *summary  { return &s.sets.at(id).summary }

// intern returns the id of a set, with a reference for the caller. octets are in
// canonical form with the tail at nh; they are copied if the set is new.
func (s *attrStore) intern(octets []byte, nh int) attrID {
	h := maphash.Bytes(s.seed, octets)
	h ^= uint64(nh) * 0x9e3779b97f4a7c15
	if len(s.ix.slots) > 0 {
		mask := uint64(len(s.ix.slots) - 1)
		tag := slotFor(h, 0)
		for i := h & mask; s.ix.slots[i] != 0; i = (i + 1) & mask {
			slot := s.ix.slots[i]
			if slot == slotGone || slot&^slotIDMask != tag {
				continue
			}
			id := slot & slotIDMask
			if a := s.sets.at(id); a.hash == h && int(a.nh) == nh && bytes.Equal(a.octets, octets) {
				a.refs++
				return id
			}
		}
	}
	id := s.sets.alloc()
	a := s.sets.at(id)
	a.octets, a.hash, a.refs, a.nh = bytes.Clone(octets), h, 1, uint16(nh)
	a.summary = summarize(a.octets[:nh], s.own)
	s.ix.add(h, id, s.hashOf)
	return id
}

// release gives a reference back.
func (s *attrStore) release(id attrID) {
	a := s.sets.at(id)
	if a.refs--; a.refs > 0 {
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
// paths of one set costs three internings.
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
// the new set to its argument and returns it with the place of the tail; it is called
// only the first time.
func (s *attrStore) change(root, id attrID, o op, arg [16]byte, apply func(dst []byte, from Attrs) ([]byte, int)) attrID {
	r := s.sets.at(root)
	for i := range r.edges {
		if e := &r.edges[i]; e.from == id && e.op == o && e.arg == arg {
			if e.to != 0 {
				s.retain(e.to)
			}
			return e.to
		}
	}
	octets, nh := apply(s.room[:0], s.sets.at(id).view())
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
