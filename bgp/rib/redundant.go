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

// dropReplaced drops the paths of other peers that are kept only until somebody offers the
// destination: a path of it was entered now, and added says that its peer had not offered it before.
// These are the paths that DropRedundant has left, and those that have moved.
func (t *Table) dropReplaced(d *dest, entered uint32, added bool) {
	by := t.paths.at(entered)
	added = added && t.peers[by.peer].client
	if t.failed == 0 && !added {
		return
	}
	ids := t.redundant[:0]
	add := func(id uint32) {
		if p := t.paths.at(id); p.peer != by.peer && (p.flags&pathFailed != 0 || added && t.moved(p, by)) {
			ids = append(ids, id)
		}
	}
	if d.indexed {
		x := t.indexes[d.first]
		if own := x.peers[by.peer]; x.failed > own.failed || added && x.stale > own.stale {
			for _, id := range x.byOut {
				if id != 0 {
					add(id)
				}
			}
		}
	} else {
		for id := d.first; id != 0; id = t.paths.at(id).next {
			add(id)
		}
	}
	for _, id := range ids {
		p := t.paths.at(id)
		why := ReasonPathFailed
		if p.flags&pathFailed == 0 {
			why = ReasonMoved
		}
		t.peers[p.peer].dropPath(id, why)
	}
	t.redundant = ids[:0]
}

// moved reports whether what a path leads to is elsewhere, as a path says that another peer has
// added: both are clients of the route reflector, which offer what is with them, the first is stale,
// and not better by what it carries. What has left a client that restarts would otherwise be looked
// for there, too, until the client is back: a peer that is sent both paths cannot tell them apart.
func (t *Table) moved(p, to *path) bool {
	if p.flags&pathStale == 0 || !t.peers[p.peer].client {
		return false
	}
	c, _ := compareClass(to, p, t.attrs.sum(to.attr), t.attrs.sum(p.attr))
	return c <= 0
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
	hop := t.attrs.at(p.attr).view().NextHop().Addr
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(hop) })
}
