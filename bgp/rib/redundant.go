package rib

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// DropRedundant drops the paths of a family for whose destination another peer offers a
// path that is not stale: the way to this peer is dead, but its last paths may be kept
// (RFC 5882, Section 4.3.2). Each of these goes as soon as another peer, or [Table.Originate], offers
// a path to its destination: when that is withdrawn, nobody has said that the kept one is right. A path
// that the peer announces again is an ordinary one. Paths whose next hop is in except stay.
func (in *In) DropRedundant(fam wire.Family, except ...netip.Prefix) {
	t := in.t
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		switch {
		case t.leadsTo(p, except):
		case t.freshPath(t.at(p.dest), in.no):
			in.dropPath(id, ReasonPathFailed)
		case p.flags&pathFailed == 0:
			in.reflag(id, pathFailed, 0)
		}
	})
}

// dropFailed drops the paths of a destination that others than a peer had kept by DropRedundant: the
// peer offers one now.
func (t *Table) dropFailed(d *dest, but uint16) {
	if t.failed == 0 || d.indexed && t.indexes[d.first].failed == t.indexes[d.first].peers[but].failed {
		return
	}
	t.redundant = t.which(t.redundant[:0], d, func(p *path) bool { return p.peer != but && p.flags&pathFailed != 0 })
	for _, id := range t.redundant {
		t.peers[t.paths.at(id).peer].dropPath(id, ReasonPathFailed)
	}
}

// which appends the paths of a destination that are wanted to list.
func (t *Table) which(list []uint32, d *dest, wanted func(*path) bool) []uint32 {
	add := func(id uint32) {
		if wanted(t.paths.at(id)) {
			list = append(list, id)
		}
	}
	if d.indexed {
		for _, id := range t.indexes[d.first].byOut {
			if id != 0 {
				add(id)
			}
		}
		return list
	}
	for id := d.first; id != 0; id = t.paths.at(id).next {
		add(id)
	}
	return list
}

// freshPath reports whether another peer offers a path to a destination that is not stale.
func (t *Table) freshPath(d *dest, but uint16) bool {
	if d.indexed {
		return t.indexes[d.first].fresh(but) > 0
	}
	for id := d.first; id != 0; id = t.paths.at(id).next {
		if p := t.paths.at(id); p.peer != but && p.flags&pathStale == 0 {
			return true
		}
	}
	return false
}

// DropOnLink drops the paths of a family whose next hop is not in except: the way to this
// peer is dead, and with it what is on the same link, but except is reached by others.
func (in *In) DropOnLink(fam wire.Family, except ...netip.Prefix) {
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if !in.t.leadsTo(p, except) {
			in.dropPath(id, ReasonPathFailed)
		}
	})
}

// leadsTo reports whether the next hop of a path is in one of the networks.
func (t *Table) leadsTo(p *path, networks []netip.Prefix) bool {
	if len(networks) == 0 {
		return false
	}
	hop := t.attrs.view(p.attr).NextHop().Addr
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(hop) })
}
