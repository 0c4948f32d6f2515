package config

import (
	"net/netip"
	"slices"
	"sort"
)

// prefixes are prefixes that do not overlap, by their addresses, and whose they are. They lie in sorted parts of bounded
// size, so that one more moves few others: of 300,000 that come from the last to the first each would move all. The zero
// value is empty.
type prefixes struct {
	parts [][]claimed // none is empty
}

type claimed struct {
	netip.Prefix
	who string
}

// mostInPart is how many prefixes a part has at most.
const mostInPart = 512

func (x prefixes) clone() prefixes {
	parts := make([][]claimed, len(x.parts))
	for i, part := range x.parts {
		parts[i] = slices.Clone(part)
	}
	return prefixes{parts}
}

// search returns where the prefix of an address is or would be: in which part, and where in it.
func (x prefixes) search(a netip.Addr) (part, at int) {
	part = max(0, sort.Search(len(x.parts), func(i int) bool { return x.parts[i][0].Addr().Compare(a) > 0 })-1)
	if len(x.parts) > 0 {
		at, _ = slices.BinarySearchFunc(x.parts[part], a, func(c claimed, a netip.Addr) int { return c.Addr().Compare(a) })
	}
	return part, at
}

// overlap returns the first prefix that overlaps p. It can only be one of those beside it.
func (x prefixes) overlap(p netip.Prefix) (c claimed, ok bool) {
	if len(x.parts) == 0 {
		return c, false
	}
	p = p.Masked()
	part, at := x.search(p.Addr())
	list := x.parts[part]
	beside := list[max(at-1, 0):min(at+1, len(list))]
	if at == len(list) && part+1 < len(x.parts) {
		beside = append(slices.Clip(beside), x.parts[part+1][0])
	}
	for _, c := range beside {
		if c.Overlaps(p) {
			return c, true
		}
	}
	return c, false
}

// add adds a prefix that overlaps none.
func (x *prefixes) add(c claimed) {
	if len(x.parts) == 0 {
		x.parts = [][]claimed{{c}}
		return
	}
	part, at := x.search(c.Addr())
	list := slices.Insert(x.parts[part], at, c)
	x.parts[part] = list
	if len(list) > mostInPart {
		half := slices.Clone(list[len(list)/2:])
		x.parts[part] = list[:len(list)/2]
		x.parts = slices.Insert(x.parts, part+1, half)
	}
}

// remove removes a prefix, if it is there.
func (x *prefixes) remove(c claimed) {
	if len(x.parts) == 0 {
		return
	}
	part, at := x.search(c.Addr())
	list := x.parts[part]
	if at == len(list) || list[at] != c {
		return
	}
	if list = slices.Delete(list, at, at+1); len(list) > 0 {
		x.parts[part] = list
	} else {
		x.parts = slices.Delete(x.parts, part, part+1)
	}
}
