package rib

import "slices"

// sortedIDs is a sorted list of ids, in blocks so short that a change moves little. The order
// is the caller's: the zero value is an empty list.
type sortedIDs struct {
	blocks [][]uint32 // none is empty
}

// blockMax is the length at which a block is cut in two: with 65535 ids there are 256 to
// 512 blocks.
const blockMax = 256

// place is a place in a sortedIDs, good until the next change.
type place struct{ block, i int }

// search returns the place of the first id of which before is false, the end if there is none.
func (s *sortedIDs) search(before func(id uint32) bool) place {
	lo, hi := 0, len(s.blocks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if b := s.blocks[mid]; before(b[len(b)-1]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	at := place{block: lo}
	if lo == len(s.blocks) {
		return at
	}
	b := s.blocks[lo]
	lo, hi = 0, len(b)-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if before(b[mid]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	at.i = lo
	return at
}

// at returns the id at a place, 0 at the end.
func (s *sortedIDs) at(p place) uint32 {
	if p.block == len(s.blocks) {
		return 0
	}
	return s.blocks[p.block][p.i]
}

func (s *sortedIDs) first() uint32 { return s.at(place{}) }

// before returns the id before a place, 0 if there is none.
func (s *sortedIDs) before(p place) uint32 {
	if p.i > 0 {
		return s.blocks[p.block][p.i-1]
	}
	if p.block == 0 {
		return 0
	}
	b := s.blocks[p.block-1]
	return b[len(b)-1]
}

// next returns the place after one that is not the end.
func (s *sortedIDs) next(p place) place {
	if p.i+1 < len(s.blocks[p.block]) {
		return place{p.block, p.i + 1}
	}
	return place{block: p.block + 1}
}

// insert puts an id before the one at a place.
func (s *sortedIDs) insert(p place, id uint32) {
	if p.block == len(s.blocks) {
		if p.block == 0 {
			s.blocks = append(s.blocks, []uint32{id})
			return
		}
		p.block--
		p.i = len(s.blocks[p.block])
	}
	b := slices.Insert(s.blocks[p.block], p.i, id)
	s.blocks[p.block] = b
	if len(b) > blockMax {
		s.blocks = slices.Insert(s.blocks, p.block+1, slices.Clone(b[blockMax/2:]))
		s.blocks[p.block] = b[:blockMax/2]
	}
}

// remove takes out the id at a place.
func (s *sortedIDs) remove(p place) {
	b := slices.Delete(s.blocks[p.block], p.i, p.i+1)
	s.blocks[p.block] = b
	if len(b) == 0 {
		s.blocks = slices.Delete(s.blocks, p.block, p.block+1)
		return
	}
	if n := p.block + 1; n < len(s.blocks) && len(b)+len(s.blocks[n]) <= blockMax/2 {
		s.blocks[p.block] = append(b, s.blocks[n]...)
		s.blocks = slices.Delete(s.blocks, n, n+1)
	}
}
