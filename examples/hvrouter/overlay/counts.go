package overlay

import (
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Counts is how an overlay stands.
type Counts struct {
	Overlay string
	// Announced and Withheld count routes of ours; Imported and Unused those of others with a route target that
	// the overlay imports: which it can use, be others better or not, and which it cannot.
	Announced, Withheld, Imported, Unused int
	Imports                               []config.RouteTarget // what is imported has one of them
	Moves                                 tally                // by kind, since the overlay is there
	Duplicates                            []Duplicated         // that were reported and are still so, by MAC
	Frozen                                []Duplicated         // whose MAC has moved too often, by MAC, also if the guest has left
}

// Duplicated is a guest whose MAC another VTEP has, too.
type Duplicated struct {
	Guest string
	MAC   MAC
}

// Counts returns how each overlay stands, by name. What it takes grows with the guests that are here, not with the
// routes of others.
func (c *Core) Counts() (list []Counts) {
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		list = append(list, c.segments[name].counts())
	}
	return list
}

func (s *segment) counts() Counts {
	c := Counts{Overlay: s.config.Name, Announced: len(s.originated), Withheld: 1, Imported: len(s.entries), Unused: len(s.unused), Imports: s.config.EVPN.Imports(), Moves: *s.moves}
	for _, mac := range sortedMACs(s.locals) {
		l := s.locals[mac]
		c.Withheld += 1 + len(l.Addresses)
		if l.superseded && l.reported {
			c.Duplicates = append(c.Duplicates, Duplicated{l.Guest, mac})
		}
	}
	for _, mac := range sortedMACs(s.history) {
		if m := s.history[mac]; m.frozen {
			c.Frozen = append(c.Frozen, Duplicated{m.guest, mac})
		}
	}
	c.Withheld -= c.Announced
	return c
}
