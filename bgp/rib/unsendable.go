package rib

// lack is why a path that may go out to a group cannot be put into an UPDATE for it.
type lack uint8

// Lacks are bits: of several paths to a destination each may have its own.
const (
	lackNextHop lack = 1 << iota // no next hop of the family, and none of our own
	lackRoom                     // its attributes are longer than a message
)

// unsendable is the destinations of a group with paths that cannot be sent. It costs a bit
// each, and nothing as long as there are none.
type unsendable struct {
	found lack     // of the destination that is being looked at
	sets  [2]idSet // destinations by lack: lackNextHop, lackRoom
}

// note records what was found for a destination.
func (u *unsendable) note(id destID) {
	u.sets[0].set(id, u.found&lackNextHop != 0)
	u.sets[1].set(id, u.found&lackRoom != 0)
	u.found = 0
}

// noteOne keeps what was found for one path of a destination that has many. The others are
// not looked at, so that the destination counts until they are, or are few.
func (u *unsendable) noteOne(id destID) {
	for i, l := range []lack{lackNextHop, lackRoom} {
		if u.found&l != 0 {
			u.sets[i].set(id, true)
		}
	}
	u.found = 0
}

// idSet is a set of destinations.
type idSet struct {
	words [nFamilies][]uint64 // by family: a bit a destination
	n     [nFamilies]int      // by family: members
}

func (s *idSet) set(id destID, on bool) {
	f, word, bit := bitOf(id)
	if !on && word >= len(s.words[f]) {
		return
	}
	for word >= len(s.words[f]) {
		s.words[f] = append(s.words[f], 0)
	}
	w := &s.words[f][word]
	switch {
	case on && *w&bit == 0:
		*w |= bit
		s.n[f]++
	case !on && *w&bit != 0:
		*w &^= bit
		if s.n[f]--; s.n[f] == 0 {
			s.words[f] = nil
		}
	}
}
