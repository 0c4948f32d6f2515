package rib

import (
	"bytes"
	"hash/maphash"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// attrID names an interned attribute set; 0 is none. Two sets are equal if and only
// if their ids are.
type attrID = uint32

// attrSet is one interned attribute set with what the decision process wants of it.
type attrSet struct {
	octets []byte // the attributes in canonical form, then the next hop
	hash   uint64
	edges  []edge
	refs   uint32
	nh     uint16 // where the next hop starts in octets
	summary
	kept   bool   // see attrStore.keep
	bucket uint32 // scratch of batch: 1 + the bucket in use for this set
}

func (a *attrSet) view() Attrs {
	return Attrs{wire.Attrs(a.octets[:a.nh:a.nh]), a.octets[a.nh:]}
}

// attrStore interns attribute sets and counts references to them.
type attrStore struct {
	sets slab[attrSet]
	ix   index
	seed maphash.Seed
	own  own
	room []byte // for change

	recent []attrID // see keep
	oldest int
}

func (s *attrStore) at(id attrID) *attrSet   { return s.sets.at(id) }
func (s *attrStore) hashOf(id uint32) uint64 { return s.sets.at(id).hash }
func (s *attrStore) retain(id attrID) attrID { s.sets.at(id).refs++; return id }
func (s *attrStore) view(id attrID) Attrs    { return s.sets.at(id).view() }
func (s *attrStore) sum(id attrID) *summary  { return &s.sets.at(id).summary }

// intern returns the id of a set, with a reference for the caller. octets are in
// canonical form with the next hop at nh; they are copied if the set is new.
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
	a.refs--
	if a.refs > 0 {
		return
	}
	s.ix.remove(a.hash, id, s.hashOf)
	edges := a.edges
	s.sets.free(id)
	for _, e := range edges {
		if e.to != id && e.to != 0 {
			s.release(e.to)
		}
	}
}

// An edge remembers what a change made of a set, so that a policy that sets the same
// community on 100,000 paths of one set costs one interning. It holds a reference
// on its target unless that is the set itself.
type edge struct {
	op
	arg [16]byte
	to  attrID
}

// op is a kind of change of an attribute set.
type op struct {
	kind opKind
	who  uint32 // from opExport on: the export group's identity
}

// maxEdges bounds the edges of a set. It is enough for the export groups of a large
// reflector; beyond it the oldest is forgotten, which costs time, not correctness.
const maxEdges = 32

// change returns the id of the set that an op makes of another, with a reference for
// the caller. apply appends the new set to its argument and returns it with the place
// of the next hop; it is called only the first time.
func (s *attrStore) change(id attrID, o op, arg [16]byte, apply func(dst []byte, from Attrs) ([]byte, int)) attrID {
	a := s.sets.at(id)
	for i := range a.edges {
		if e := &a.edges[i]; e.op == o && e.arg == arg {
			if e.to != 0 {
				s.retain(e.to)
			}
			return e.to
		}
	}
	octets, nh := apply(s.room[:0], a.view())
	to := attrID(0)
	if octets != nil {
		s.room = octets
		to = s.intern(octets, nh)
	}
	a = s.sets.at(id)
	if len(a.edges) == maxEdges {
		old := a.edges[0].to
		a.edges = append(a.edges[:0], a.edges[1:]...)
		if old != id && old != 0 {
			s.release(old)
		}
	}
	if to != id && to != 0 {
		s.retain(to)
	}
	a.edges = append(a.edges, edge{o, arg, to})
	return to
}

// forget drops the edges of an export group that is gone, and those to sets that nobody uses.
// Otherwise every session that comes and goes would leave its sets behind for as long as the paths
// live that they were made of.
func (s *attrStore) forget(who uint32) {
	for id := s.sets.next(0); id != 0; id = s.sets.next(id + 1) {
		a := s.sets.at(id)
		kept := a.edges[:0]
		var gone []attrID
		for _, e := range a.edges {
			idle := e.to != 0 && e.to != id && s.sets.at(e.to).refs == 1
			switch {
			case !idle && (e.kind < opExport || e.who != who):
				kept = append(kept, e)
			case e.to != 0 && e.to != id:
				gone = append(gone, e.to)
			}
		}
		a.edges = kept
		for _, to := range gone {
			s.release(to)
		}
	}
}

// recentSets is how many attribute sets as received are kept because an import policy looked at
// them: enough for feeds that interleave some hundred sets.
const recentSets = 1024

// keep holds on to a set as received. If the import policy changes it, no path does, and what the
// policy made of it would be forgotten and made again with every message.
func (s *attrStore) keep(id attrID) {
	a := s.at(id)
	if a.kept {
		return
	}
	a.kept = true
	s.retain(id)
	if len(s.recent) < recentSets {
		s.recent = append(s.recent, id)
		return
	}
	old := s.recent[s.oldest]
	s.recent[s.oldest] = id
	s.oldest = (s.oldest + 1) % recentSets
	s.at(old).kept = false
	s.release(old)
}

// forgetRecent is the end of keep, when a session ends.
func (s *attrStore) forgetRecent() {
	for _, id := range s.recent {
		s.at(id).kept = false
		s.release(id)
	}
	s.recent, s.oldest = nil, 0
}
