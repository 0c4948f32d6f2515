package rib

import "math/bits"

// slabBits makes pages of 2048 entries: big enough that the runtime hands out
// whole spans, small enough that a table of fifty routes costs little.
const (
	slabBits = 11
	slabSize = 1 << slabBits
	slabMask = slabSize - 1
)

// slab is an array that grows and shrinks by pages, so that an index stays good
// for the life of its entry, nothing is ever copied, and memory goes back once a
// page is empty. Index 0 is never given out: it means "none".
type slab[T any] struct {
	pages   []*slabPage[T] // nil where the number is in vacant
	partial []uint32       // pages that may have room; stale entries are skipped
	vacant  []uint32       // page numbers without a page
	empties int            // pages held although they are empty, at most one
	n       int            // entries in use
}

type slabPage[T any] struct {
	used  [slabSize / 64]uint64 // a bit an entry
	n     int                   // entries in use
	hint  int                   // words of used before it are full
	items [slabSize]T           // the entries; used has which of them are in use
}

func (s *slab[T]) at(id uint32) *T { return &s.pages[id>>slabBits].items[id&slabMask] }

// alloc returns the index of a zeroed entry.
func (s *slab[T]) alloc() uint32 {
	no := s.room()
	p := s.pages[no]
	if p.n == 0 {
		s.empties--
	}
	w := p.hint
	for p.used[w] == ^uint64(0) {
		w++
	}
	p.hint = w
	b := bits.TrailingZeros64(^p.used[w])
	p.used[w] |= 1 << b
	p.n++
	s.n++
	return no<<slabBits | uint32(w<<6|b)
}

// room returns the number of a page with a free entry.
func (s *slab[T]) room() uint32 {
	for len(s.partial) > 0 {
		no := s.partial[len(s.partial)-1]
		if p := s.pages[no]; p != nil && p.n < slabSize {
			return no
		}
		s.partial = s.partial[:len(s.partial)-1]
	}
	var no uint32
	if k := len(s.vacant); k > 0 {
		no, s.vacant = s.vacant[k-1], s.vacant[:k-1]
		s.pages[no] = new(slabPage[T])
	} else {
		no = uint32(len(s.pages))
		s.pages = append(s.pages, new(slabPage[T]))
	}
	if no == 0 { // entry 0 is taken for ever
		s.pages[0].used[0] = 1
		s.pages[0].n = 1
	} else {
		s.empties++
	}
	s.partial = append(s.partial, no)
	return no
}

// free gives an entry back and zeroes it.
func (s *slab[T]) free(id uint32) {
	no, i := id>>slabBits, id&slabMask
	p := s.pages[no]
	var zero T
	p.items[i] = zero
	p.used[i>>6] &^= 1 << (i & 63)
	p.hint = min(p.hint, int(i>>6))
	if p.n == slabSize {
		s.partial = append(s.partial, no)
	}
	p.n--
	s.n--
	if p.n > 0 {
		return
	}
	if s.empties > 0 {
		s.pages[no] = nil
		s.vacant = append(s.vacant, no)
		return
	}
	s.empties++
}

// next returns the first entry in use at or after id, or 0.
func (s *slab[T]) next(id uint32) uint32 {
	id = max(id, 1)
	for no := int(id >> slabBits); no < len(s.pages); no++ {
		p := s.pages[no]
		if p == nil || p.n == 0 {
			id = uint32(no+1) << slabBits
			continue
		}
		for w := int(id&slabMask) >> 6; w < len(p.used); w++ {
			m := p.used[w] & (^uint64(0) << (id & 63))
			if m != 0 {
				return uint32(no)<<slabBits | uint32(w<<6|bits.TrailingZeros64(m))
			}
			id = uint32(no)<<slabBits | uint32(w+1)<<6
		}
		id = uint32(no+1) << slabBits
	}
	return 0
}
