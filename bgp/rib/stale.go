package rib

import "github.com/hyperfib/hyperfib/bgp/wire"

// MarkStale keeps the paths of a family although the session ended (RFC 4724, Section
// 4.2): they stay selected and advertised until the peer announces them again, or
// [In.Sweep]. Those that were stale already, from an earlier restart, are dropped.
func (in *In) MarkStale(fam wire.Family) {
	in.each(fam, func(id uint32, p *path, l *pathList) {
		if p.flags&pathStale != 0 {
			in.dropPath(id, NotRenewed)
			return
		}
		in.reflag(id, pathStale, 0)
		l.stale++
	})
}

// MarkLongLived turns the stale paths of a family into long-lived stale ones (RFC 9494,
// Section 4.2): they get the community LLGR_STALE, by which they lose against every
// other path, and those that carry NO_LLGR are dropped.
func (in *In) MarkLongLived(fam wire.Family) {
	t := in.t
	in.each(fam, func(id uint32, p *path, l *pathList) {
		switch s := t.attrs.sum(p.attr); {
		case p.flags&pathStale == 0:
		case s.marks&markNoLLGR != 0:
			in.dropPath(id, NoLongLived)
		case s.marks&markLLGRStale == 0:
			attr := t.attrs.addCommunity(p.attr, wire.CommunityLLGRStale)
			t.replace(in, p.dest, t.at(p.dest), id, attr)
			in.reflag(id, pathStale, 0)
			l.stale++
		}
	})
}

// Sweep drops the paths of a family that are still stale: the stale timer fired, or the
// peer came back without having kept its forwarding state.
func (in *In) Sweep(fam wire.Family) {
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if p.flags&pathStale != 0 {
			in.dropPath(id, NotRenewed)
		}
	})
}

// EndOfRIB takes in the peer's End-of-RIB: stale paths that it did not announce again are
// dropped.
func (in *In) EndOfRIB(fam wire.Family) { in.Sweep(fam) }

// BeginRefresh takes in the Beginning-of-RIB marker of an enhanced route refresh (RFC 7313):
// the paths of the family await confirmation.
func (in *In) BeginRefresh(fam wire.Family) {
	in.each(fam, func(_ uint32, p *path, _ *pathList) { p.flags |= pathUnconfirmed })
}

// EndRefresh takes in the End-of-RIB marker of an enhanced route refresh: paths that were
// not announced again since [In.BeginRefresh] are dropped. Call it also when the peer takes
// too long.
func (in *In) EndRefresh(fam wire.Family) {
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if p.flags&pathUnconfirmed != 0 {
			in.dropPath(id, NotRenewed)
		}
	})
}

// Drop drops all paths of a family: the session ended, and nobody is to wait for the peer.
func (in *In) Drop(fam wire.Family) {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if !in.closed {
		in.dropAll(in.listOf(fam), SessionEnded)
	}
}

// Counters returns the counters of a family.
func (in *In) Counters(fam wire.Family) Counters {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	l := in.listOf(fam)
	c := l.counters
	c.Paths, c.Stale = l.n, l.stale
	return c
}

// each calls f for every path of a family. f may drop the path.
func (in *In) each(fam wire.Family, f func(id uint32, p *path, l *pathList)) {
	t := in.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.closed {
		return
	}
	l := in.listOf(fam)
	for id := l.head; id != 0; {
		p := t.paths.at(id)
		later := p.later
		f(id, p, l)
		id = later
	}
}

func (in *In) dropAll(l *pathList, why Reason) {
	l.counters.Dropped[why] += uint64(l.n)
	for l.head != 0 {
		in.remove(l.head)
	}
}

func (in *In) dropPath(id uint32, why Reason) {
	in.list(in.t.paths.at(id).dest).counters.Dropped[why]++
	in.remove(id)
}

// reflag changes the flags of a path and puts it where it belongs now.
func (in *In) reflag(id uint32, set, clear pathFlags) {
	t := in.t
	p := t.paths.at(id)
	d := p.dest
	e := t.at(d)
	was, place := e.shape(), t.place(e, id)
	t.unlink(e, id)
	p.flags = p.flags&^clear | set
	t.insert(e, id)
	now := t.place(e, id)
	if now == place && e.shape() == was && !was.ranked {
		return
	}
	t.changed(in, d, levelOf(min(place, now), was, e.shape()))
}
