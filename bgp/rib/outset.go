package rib

import "math/bits"

// outSet is a set of path identifiers for sending. The zero value is empty.
type outSet struct {
	words []uint64 // a bit an identifier
	low   int      // no word before it has a bit
}

// add adds an identifier.
func (s *outSet) add(out uint16) {
	w := int(out >> 6)
	for w >= len(s.words) {
		s.words = append(s.words, 0)
	}
	s.words[w] |= 1 << (out & 63)
	s.low = min(s.low, w)
}

// addUpTo adds 1 to most.
func (s *outSet) addUpTo(most uint16) {
	for out := range most {
		s.add(out + 1)
	}
}

// pop takes the lowest identifier out, or returns 0 if there is none. 0 itself is no member.
func (s *outSet) pop() uint16 {
	for ; s.low < len(s.words); s.low++ {
		if w := s.words[s.low]; w != 0 {
			s.words[s.low] &= w - 1
			return uint16(s.low<<6 | bits.TrailingZeros64(w))
		}
	}
	return 0
}

// outPool hands out the path identifiers for sending of a destination, the lowest first. The
// zero value has all of them, 1 to pathsMax.
type outPool struct {
	used []uint64 // a bit an identifier
	low  int      // every word before it is full
}

// lowest returns the lowest identifier that is not taken, 0 if there is none.
func (s *outPool) lowest() uint16 {
	for ; s.low < len(s.used); s.low++ {
		if w := s.used[s.low]; w != ^uint64(0) {
			return uint16(s.low<<6 | bits.TrailingZeros64(^w))
		}
	}
	if s.low > pathsMax>>6 {
		return 0
	}
	return max(uint16(s.low<<6), 1)
}

// take marks an identifier as used.
func (s *outPool) take(out uint16) {
	w := int(out >> 6)
	for w >= len(s.used) {
		s.used = append(s.used, 0)
	}
	s.used[0] |= 1 // 0 is none
	s.used[w] |= 1 << (out & 63)
}

// give takes an identifier back.
func (s *outPool) give(out uint16) {
	s.used[out>>6] &^= 1 << (out & 63)
	s.low = min(s.low, int(out>>6))
}
