package rib

import (
	"iter"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Lookup returns all paths to exactly this prefix, best first, deferred ones included;
// nil if there are none.
func (t *Table) Lookup(prefix netip.Prefix) []Path {
	if !prefix.IsValid() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.find(prefix.Masked())
	if id == 0 {
		return nil
	}
	return t.everyPath(nil, t.at(id))
}

// everyPath is appendPaths without any limit.
func (t *Table) everyPath(list []Path, d *dest) []Path {
	rank := 0
	var first *path
	for at := d.first; at != 0; {
		p := t.paths.at(at)
		if first != nil && t.compareMultipath(first, p) != 0 {
			rank++
			first = nil
		}
		if first == nil {
			first = p
		}
		list = append(list, t.pathView(p, rank))
		at = p.next
	}
	return list
}

// All iterates over the prefixes of a family and all paths to each, best first, in no
// particular order of prefixes. The table is locked for a few hundred prefixes at a time, so
// this is no snapshot of one moment: a prefix that comes or goes meanwhile may be missed.
// The Change is valid until the next one.
func (t *Table) All(fam wire.Family) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		page := make([]Change, 256)
		for id := destID(0); ; {
			n := 0
			t.mu.Lock()
			for id = t.prefixes.next(fam, id); id != 0 && n < len(page); id = t.prefixes.next(fam, id+1) {
				if d := t.at(id); d.first != 0 {
					page[n].Prefix = t.prefix(id)
					page[n].Paths = t.everyPath(page[n].Paths[:0], d)
					n++
				}
			}
			t.mu.Unlock()
			for _, c := range page[:n] {
				if !yield(c) {
					return
				}
			}
			if id == 0 {
				return
			}
		}
	}
}

// Stats describes the size of a table.
type Stats struct {
	Prefixes [2]int // IPv4 and IPv6 prefixes, some perhaps without paths, to be forgotten
	Paths    int
	Attrs    int // distinct attribute sets
	Groups   int // update groups
	Peers    int
	Backlog  int // octets of encoded messages that wait for slow members of update groups
}

// Stats returns the size of the table.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Prefixes: [2]int{t.d4.n, t.d6.n}, Paths: t.paths.n, Attrs: t.attrs.sets.n,
		Groups: len(t.groups), Peers: len(t.peers) - 1 - len(t.spare)}
	for _, g := range t.groups {
		s.Backlog += g.backlog
	}
	return s
}
