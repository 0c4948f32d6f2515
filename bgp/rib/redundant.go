package rib

import "github.com/hyperfib/hyperfib/bgp/wire"

// DropRedundant drops the paths of a family for whose destination another peer offers a
// path that is not stale: the way to this peer is dead, but its last paths may be kept
// (RFC 5882, Section 4.3.2).
func (in *In) DropRedundant(fam wire.Family) {
	t := in.t
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		for other := t.at(p.dest).first; other != 0; other = t.paths.at(other).next {
			if q := t.paths.at(other); q.peer != in.no && q.flags&pathStale == 0 {
				in.dropPath(id, PathFailed)
				return
			}
		}
	})
}
