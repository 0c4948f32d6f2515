package rib

import "slices"

// appendPaths appends the paths of a destination.
func (t *Table) appendPaths(list []Path, d *dest, all bool) []Path {
	rank, start := 0, len(list)
	var first, last *path
	depth := t.limits.depth
	if all {
		depth *= 4
	}
	w := t.walk(d)
	for range depth {
		at := w.next()
		if at == 0 {
			break
		}
		p := t.paths.at(at)
		if t.deferred && p.peer != localPeer {
			break
		}
		if first != nil && !t.equal(first, p) {
			if !all {
				break
			}
			rank++
			start = len(list)
			first = nil
		}
		if first == nil {
			first = p
		}
		if len(list)-start >= t.multipath {
			if !all {
				break
			}
			continue
		}
		v := t.pathView(p, rank)
		if last != nil {
			_, v.Lost = t.compare(last, p)
		}
		last = p
		if !slices.ContainsFunc(list[start:], func(x Path) bool { return x.Gateway() == v.Gateway() && !v.Local }) {
			list = append(list, v)
		}
	}
	return list
}

func (t *Table) pathView(p *path, rank int) Path {
	a := t.attrs.view(p.attr)
	in := t.peers[p.peer]
	return Path{NextHop: a.NextHop(), Local: p.peer == localPeer, Peer: in.addr, PathID: p.id,
		Rank: rank, Weight: linkBandwidth(a), Stale: p.flags&pathStale != 0, Moved: p.flags&pathMoved != 0, Attrs: a}
}
