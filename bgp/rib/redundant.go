package rib

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// DropRedundant drops the paths of a family for whose destination another peer offers a
// path that is not stale: the way to this peer is dead, but its last paths may be kept
// (RFC 5882, Section 4.3.2). Paths whose next hop is in except stay.
func (in *In) DropRedundant(fam wire.Family, except ...netip.Prefix) {
	t := in.t
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if t.leadsTo(p, except) {
			return
		}
		if t.freshPath(t.at(p.dest), in.no) {
			in.dropPath(id, ReasonPathFailed)
		}
	})
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
