package rib

import "fmt"

// audit counts anew what the table counts as it goes: references and holds on attribute sets, pins
// of destinations, paths of peers. It is to be called when nobody works with the table.
func (t *Table) audit() error {
	a := audit{refs: map[attrID]uint32{}, holds: map[attrID]uint32{}, pins: map[destID]uint16{}, lists: map[*pathList][2]int{}}
	for id := t.paths.next(0); id != 0; id = t.paths.next(id + 1) {
		p := t.paths.at(id)
		a.refs[p.attr]++
		c := a.lists[t.peers[p.peer].list(p.dest)]
		c[0]++
		if p.flags&pathStale != 0 {
			c[1]++
		}
		if p.flags&pathFailed != 0 {
			a.failed++
		}
		a.lists[t.peers[p.peer].list(p.dest)] = c
	}
	for _, id := range t.attrs.recent {
		a.refs[id]++
	}
	for _, g := range t.groups {
		for f := range families {
			for id := g.adverts.next(f, 0); id != 0; id = g.adverts.next(f, id+1) {
				a.pins[id]++
				for x := range g.adverts.of(id) {
					a.refs[x.attr]++
				}
			}
		}
		for _, o := range g.members {
			a.dirty(&o.todo)
		}
	}
	for _, r := range t.readers {
		a.dirty(&r.dirty)
	}
	return a.compare(t)
}

type audit struct {
	refs, holds map[attrID]uint32
	pins        map[destID]uint16
	lists       map[*pathList][2]int // paths, stale ones
	failed      int                  // paths with pathFailed
}

func (a *audit) dirty(d *dirty) {
	for _, id := range d.queue[d.head:] {
		a.pins[id]++
	}
}

func (a *audit) compare(t *Table) error {
	if t.failed != a.failed {
		return fmt.Errorf("%d paths were kept although the way to the peer has failed, counted are %d", t.failed, a.failed)
	}
	for id := t.attrs.sets.next(0); id != 0; id = t.attrs.sets.next(id + 1) {
		s := t.attrs.at(id)
		if s.base != 0 {
			a.refs[s.base]++
			if s.holds > 0 || len(s.edges) > 0 || t.attrs.at(s.base).base != 0 {
				return fmt.Errorf("attribute set %d has a base, and %d holds and %d edges, or that has one, too", id, s.holds, len(s.edges))
			}
		}
		if s.refs == 0 && len(s.edges) > 0 {
			return fmt.Errorf("attribute set %d is not in use, but has %d edges", id, len(s.edges))
		}
		for _, e := range s.edges {
			for _, to := range [...]attrID{e.from, e.to} {
				if to != 0 && to != id {
					a.holds[to]++
				}
			}
		}
	}
	for id := t.attrs.sets.next(0); id != 0; id = t.attrs.sets.next(id + 1) {
		if s := t.attrs.at(id); s.refs != a.refs[id] || s.holds != a.holds[id] || s.refs+s.holds == 0 || s.bucket != 0 {
			return fmt.Errorf("attribute set %d has %d references and %d holds, counted are %d and %d (bucket %d)", id, s.refs, s.holds, a.refs[id], a.holds[id], s.bucket)
		}
	}
	for _, fam := range families {
		for id := t.prefixes.next(fam, 0); id != 0; id = t.prefixes.next(fam, id+1) {
			if d := t.at(id); d.pins != a.pins[id] || d.pins == 0 && t.best(d) == 0 {
				return fmt.Errorf("%v has %d pins, counted are %d", t.prefix(id), d.pins, a.pins[id])
			}
		}
	}
	for _, in := range t.peers {
		for f := range in.lists {
			if l := &in.lists[f]; in.t != nil && (l.n != a.lists[l][0] || l.stale != a.lists[l][1]) {
				return fmt.Errorf("peer %d has %d paths, %d stale; counted are %v", in.no, l.n, l.stale, a.lists[l])
			}
		}
	}
	return nil
}
