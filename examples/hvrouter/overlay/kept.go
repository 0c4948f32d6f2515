package overlay

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// Kept is what is remembered of a guest's MAC over a restart of the daemon: without it a guest that has stayed is not
// told from one that has just come, and the source of a migration would take its guest back from the target.
type Kept struct {
	Overlay  string
	MAC      MAC
	IfIndex  int // of the guest's interface, which is another one if the guest has left and come again
	Sequence uint32
}

// Restore takes what an earlier run has kept, before there are guests. A guest whose interface is the same has stayed:
// its sequence number is what it was, and who has announced a higher one meanwhile has taken its MAC over. What belongs
// to no guest is forgotten with [Core.Synced].
func (c *Core) Restore(list []Kept) {
	for _, k := range list {
		if c.earlier[k.Overlay] == nil {
			c.earlier[k.Overlay] = map[MAC]Kept{}
		}
		c.earlier[k.Overlay][k.MAC] = k
	}
	for name, s := range c.segments {
		s.earlier = c.earlier[name]
	}
}

// Kept returns what is to be kept, sorted. A guest of which it is not known yet whether it has come or stayed is not in
// it; what an earlier run has kept is, until then.
func (c *Core) Kept() (list []Kept) {
	for name, s := range c.segments {
		for mac, l := range s.locals {
			if s.synced || l.stayed {
				list = append(list, Kept{name, mac, l.IfIndex, l.mobility.Sequence})
			}
		}
	}
	for _, all := range c.earlier {
		list = slices.AppendSeq(list, maps.Values(all))
	}
	slices.SortFunc(list, func(a, b Kept) int {
		return cmp.Or(cmp.Compare(a.Overlay, b.Overlay), bytes.Compare(a.MAC[:], b.MAC[:]))
	})
	return list
}
