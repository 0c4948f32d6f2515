package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
)

// SegmentType is the type of an AS_PATH segment (RFC 4271, Section 4.3; RFC 5065, Section 3).
type SegmentType uint8

// Segment types.
const (
	ASSet            SegmentType = 1
	ASSequence       SegmentType = 2
	ASConfedSequence SegmentType = 3
	ASConfedSet      SegmentType = 4
)

// ASPath is the value of an AS_PATH attribute with 4-octet AS numbers: segments of Type (1),
// number of AS numbers (1), AS numbers (4 each). It is
// well-formed if it comes from Attrs of a parsed UPDATE.
type ASPath []byte

// Segment is one segment of an AS_PATH: its AS numbers, 4 octets each.
type Segment struct {
	Type SegmentType // set or sequence
	Raw  []byte      // as on the wire
}

// Len is the number of AS numbers in s.
func (s Segment) Len() int { return len(s.Raw) / 4 }

// At returns the i-th AS number of s.
func (s Segment) At(i int) uint32 { return binary.BigEndian.Uint32(s.Raw[4*i:]) }

// Segments iterates over the segments of p.
func (p ASPath) Segments() iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		for b := []byte(p); len(b) >= 2; {
			n := 2 + 4*int(b[1])
			if n > len(b) || !yield(Segment{SegmentType(b[0]), b[2:n]}) {
				return
			}
			b = b[n:]
		}
	}
}

// All iterates over the AS numbers of p, those of sets included.
func (p ASPath) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for s := range p.Segments() {
			for i := range s.Len() {
				if !yield(s.At(i)) {
					return
				}
			}
		}
	}
}

// Len is the length of p as the decision process counts it: a set is 1, segments of
// confederations are 0 (RFC 4271, Section 9.1.2.2; RFC 5065, Section 5.3).
func (p ASPath) Len() int { return pathLen(p, 4) }

// pathLen counts a path whose AS numbers have size octets.
func pathLen(b []byte, size int) (n int) {
	for len(b) >= 2 {
		switch SegmentType(b[0]) {
		case ASSequence:
			n += int(b[1])
		case ASSet:
			n++
		}
		b = b[min(2+size*int(b[1]), len(b)):]
	}
	return n
}

// First returns the neighbouring AS: the first of p, if p starts with a sequence.
// It is what MULTI_EXIT_DISC is compared by.
func (p ASPath) First() (uint32, bool) {
	for s := range p.Segments() {
		switch {
		case s.Type == ASConfedSequence || s.Type == ASConfedSet:
			continue
		case s.Type == ASSequence && s.Len() > 0:
			return s.At(0), true
		}
		break
	}
	return 0, false
}

// Origin returns the AS that originated the route: the last of p, if p ends with a
// sequence.
func (p ASPath) Origin() (as uint32, ok bool) {
	for s := range p.Segments() {
		if ok = s.Type == ASSequence && s.Len() > 0; ok {
			as = s.At(s.Len() - 1)
		}
	}
	return as, ok
}

// Contains reports whether as occurs anywhere in p: the loop check of RFC 4271,
// Section 9.1.2.
func (p ASPath) Contains(as uint32) bool { return p.Count(as) > 0 }

// Count is how often as occurs in p.
func (p ASPath) Count(as uint32) (n int) {
	for a := range p.All() {
		if a == as {
			n++
		}
	}
	return n
}

// String writes sequences bare, sets in braces, confederations in parentheses.
func (p ASPath) String() string {
	var b strings.Builder
	for s := range p.Segments() {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		open, sep, end := "", " ", ""
		switch s.Type {
		case ASSet:
			open, sep, end = "{", ",", "}"
		case ASConfedSequence:
			open, end = "(", ")"
		case ASConfedSet:
			open, sep, end = "[", ",", "]"
		}
		b.WriteString(open)
		for i := range s.Len() {
			if i > 0 {
				b.WriteString(sep)
			}
			fmt.Fprint(&b, s.At(i))
		}
		b.WriteString(end)
	}
	return b.String()
}

// AppendSequence appends as as AS_SEQUENCE segments to the value b.
func AppendSequence(b []byte, as ...uint32) []byte {
	for len(as) > 0 {
		n := min(len(as), 255)
		b = append(b, byte(ASSequence), byte(n))
		for _, a := range as[:n] {
			b = binary.BigEndian.AppendUint32(b, a)
		}
		as = as[n:]
	}
	return b
}

// AppendPrepend appends to b the path p with as prepended n times, 0 to 255, as an eBGP speaker
// does: to the first segment if that is a sequence with room for them, else as one of their own
// (RFC 4271, Section 5.1.2).
func (p ASPath) AppendPrepend(b []byte, as uint32, n int) []byte {
	if n == 0 {
		return append(b, p...)
	}
	rest, size := p, n
	if len(p) > 0 && SegmentType(p[0]) == ASSequence && int(p[1])+n <= 255 {
		rest, size = p[2:], int(p[1])+n
	}
	b = append(b, byte(ASSequence), byte(size))
	for range n {
		b = binary.BigEndian.AppendUint32(b, as)
	}
	return append(b, rest...)
}
