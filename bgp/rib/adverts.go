package rib

import "iter"

// adverts is what an update group advertises: of each destination a list, as nearly always it
// is short, or a table by path identifier where it is not. The zero value is empty.
type adverts struct {
	heads  [nFamilies][]*advertPage // by destination: the list, 0 if there is none, or inTable
	lists  slab[advertNode]         // nodes of the lists, of all families
	tables map[destID]*advertTable  // by destination whose head is inTable; nil: none
}

// advert is one advertised path of a destination.
type advert struct {
	attr attrID // with a reference
	out  uint16 // path identifier, 0 without ADD-PATH
	src  uint16 // number of the peer that the path comes from, and is not sent to; localPeer if it goes to all: see group.returns
}

type advertNode struct {
	next uint32 // the next node of the list; 0: none
	advert
}

type advertPage struct {
	n    int              // destinations of the page that have adverts
	head [slabSize]uint32 // by destination: the first node, 0, or inTable
}

// advertTable holds the adverts of a destination by path identifier; attr is 0 where there is
// none.
type advertTable struct {
	n     int      // adverts in it
	byOut []advert // by path identifier for sending
}

// inTable is the head of a destination with a table.
const inTable = ^uint32(0)

func (s *adverts) head(id destID) uint32 {
	pages, i := s.heads[familyAt(id)], id&destMask
	if no := int(i >> slabBits); no < len(pages) && pages[no] != nil {
		return pages[no].head[i&slabMask]
	}
	return 0
}

// setHead sets the head of a destination, and frees the page with its last one.
func (s *adverts) setHead(id destID, at uint32) {
	pages, i := &s.heads[familyAt(id)], id&destMask
	no := int(i >> slabBits)
	for no >= len(*pages) {
		*pages = append(*pages, nil)
	}
	p := (*pages)[no]
	if p == nil {
		if at == 0 {
			return
		}
		p = new(advertPage)
		(*pages)[no] = p
	}
	h := &p.head[i&slabMask]
	switch {
	case *h == 0 && at != 0:
		p.n++
	case *h != 0 && at == 0:
		p.n--
	}
	*h = at
	if p.n == 0 {
		(*pages)[no] = nil
	}
}

// next returns the first destination of a family at or after id for which something is
// advertised, 0 if there is none.
func (s *adverts) next(family int, id destID) destID {
	i := id & destMask
	pages := s.heads[family]
	for no := int(i >> slabBits); no < len(pages); no++ {
		if p := pages[no]; p != nil {
			for k := i & slabMask; k < slabSize; k++ {
				if p.head[k] != 0 {
					return uint32(family)<<familyShift | uint32(no)<<slabBits | k
				}
			}
		}
		i = uint32(no+1) << slabBits
	}
	return 0
}

// of returns what is advertised for a destination.
func (s *adverts) of(id destID) iter.Seq[advert] {
	return func(yield func(advert) bool) {
		at := s.head(id)
		if at == inTable {
			for _, a := range s.tables[id].byOut {
				if a.attr != 0 && !yield(a) {
					return
				}
			}
			return
		}
		for at != 0 {
			n := s.lists.at(at)
			if at = n.next; !yield(n.advert) {
				return
			}
		}
	}
}

// get returns what is advertised with a path identifier; attr is 0 if nothing is.
func (s *adverts) get(id destID, out uint16) advert {
	if t := s.tables[id]; t != nil {
		if int(out) < len(t.byOut) {
			return t.byOut[out]
		}
		return advert{}
	}
	for a := range s.of(id) {
		if a.out == out {
			return a
		}
	}
	return advert{}
}

// put replaces one advert in the table of a destination; one without attr takes it out. A list is
// moved to a table. It reports how the number of adverts changed from 0, or to 0: +1, -1 or 0.
func (s *adverts) put(id destID, a advert) (pins int) {
	t := s.table(id)
	before := t.n
	for int(a.out) >= len(t.byOut) {
		t.byOut = append(t.byOut, advert{})
	}
	at := &t.byOut[a.out]
	t.n += used(a) - used(*at)
	*at = a
	if t.n == 0 {
		delete(s.tables, id)
		s.setHead(id, 0)
		return min(before, 1) * -1
	}
	t.byOut = trim(t.byOut)
	return 1 - min(before, 1)
}

// trim cuts the zero values at the end of a slice off, and frees memory that it no longer
// needs.
func trim[T comparable](s []T) []T {
	var zero T
	n := len(s)
	for n > 0 && s[n-1] == zero {
		n--
	}
	if s = s[:n]; n < cap(s)/8 {
		s = append(make([]T, 0, 2*n), s...)
	}
	return s
}

func used(a advert) int {
	if a.attr != 0 {
		return 1
	}
	return 0
}

// table returns the table of a destination, and makes it.
func (s *adverts) table(id destID) *advertTable {
	if t := s.tables[id]; t != nil {
		return t
	}
	t := &advertTable{}
	for at := s.head(id); at != 0; {
		n := s.lists.at(at)
		for int(n.out) >= len(t.byOut) {
			t.byOut = append(t.byOut, advert{})
		}
		t.byOut[n.out] = n.advert
		t.n++
		next := n.next
		s.lists.free(at)
		at = next
	}
	if s.tables == nil {
		s.tables = map[destID]*advertTable{}
	}
	s.tables[id] = t
	s.setHead(id, inTable)
	return t
}

// forget takes all adverts of a destination out.
func (s *adverts) forget(id destID) {
	if at := s.head(id); at == inTable {
		delete(s.tables, id)
	} else {
		for at != 0 {
			next := s.lists.at(at).next
			s.lists.free(at)
			at = next
		}
	}
	s.setHead(id, 0)
}
