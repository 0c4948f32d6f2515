package rib

import "github.com/hyperfib/hyperfib/bgp/wire"

// MarkStale keeps the paths of a family although the session ended (RFC 4724, Section
// 4.2): they stay selected and advertised until the peer announces them again, or
// [In.Sweep]. "To deal with possible consecutive restarts, a route (from the peer) previously
// marked as stale MUST be deleted", but for those of [In.MarkTwiceStale]. In a route reflector a
// stale path of a client is not advertised while there is a path as good that another client has added
// since: what it led to has moved.
func (in *In) MarkStale(fam wire.Family) {
	in.t.mu.Lock()
	in.listOf(fam).endSession()
	in.t.mu.Unlock()
	in.each(fam, func(id uint32, p *path, l *pathList) {
		switch {
		case p.flags&pathStale == 0:
			in.reflag(id, pathStale, 0)
			l.stale++
		case p.flags&pathTwiceStale == 0:
			in.dropPath(id, ReasonNotRenewed)
		}
	})
}

// MarkTwiceStale has the paths of a family that are stale survive the next [In.MarkStale]: they stay
// stale until the peer announces them again, [In.SweepTwiceStale] or [In.Sweep].
func (in *In) MarkTwiceStale(fam wire.Family) {
	in.each(fam, func(_ uint32, p *path, _ *pathList) {
		if p.flags&pathStale != 0 {
			p.flags |= pathTwiceStale
		}
	})
}

// SweepTwiceStale drops the paths of a family that [In.MarkTwiceStale] has marked and the peer has
// not announced again.
func (in *In) SweepTwiceStale(fam wire.Family) {
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if p.flags&pathTwiceStale != 0 {
			in.dropPath(id, ReasonNotRenewed)
		}
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
			in.dropPath(id, ReasonNoLongLived)
		case s.marks&markLLGRStale == 0:
			attr, kept := t.attrs.addCommunity(p.attr, p.attr, wire.CommunityLLGRStale), p.flags&(pathFailed|pathMoved)
			t.replace(in, p.dest, t.at(p.dest), id, attr)
			in.reflag(id, pathStale|kept, 0)
			l.stale++
		}
	})
}

// Sweep drops the paths of a family that are still stale: the stale timer fired, or the
// peer came back without having kept its forwarding state.
func (in *In) Sweep(fam wire.Family) {
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if p.flags&pathStale != 0 {
			in.dropPath(id, ReasonNotRenewed)
		}
	})
}

// EndOfRIB takes in the peer's End-of-RIB. RFC 4724, Section 4.2: the receiver "MUST immediately
// remove any routes from the peer that are still marked as stale for that address family".
func (in *In) EndOfRIB(fam wire.Family) { in.Sweep(fam) }

// BeginRefresh takes in the Beginning-of-RIB marker of an enhanced route refresh (RFC 7313, Section 4):
// the paths of the family await confirmation.
func (in *In) BeginRefresh(fam wire.Family) {
	in.t.mu.Lock()
	in.listOf(fam).limit.refresh++
	in.listOf(fam).refused.begin()
	in.t.mu.Unlock()
	in.each(fam, func(_ uint32, p *path, _ *pathList) { p.flags |= pathUnconfirmed })
}

// EndRefresh takes in the End-of-RIB marker of an enhanced route refresh: paths that were
// not announced again since [In.BeginRefresh] are dropped. Call it also when the peer takes
// too long.
func (in *In) EndRefresh(fam wire.Family) {
	in.endRefresh(fam)
	in.each(fam, func(id uint32, p *path, _ *pathList) {
		if p.flags&pathUnconfirmed != 0 {
			in.dropPath(id, ReasonNotRenewed)
		}
	})
}

// Drop drops all paths of a family: the session ended, and its paths are not to wait for the peer.
func (in *In) Drop(fam wire.Family) {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if !in.closed {
		in.t.attrs.trim(0)
		in.listOf(fam).endSession()
		in.dropAll(in.listOf(fam), ReasonSessionEnded)
	}
}

// Counters returns the counters of a family.
func (in *In) Counters(fam wire.Family) Counters {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	l := in.listOf(fam)
	c := l.counters
	c.Paths, c.Stale, c.Counted, c.Limit, c.NotKept = l.n, l.stale, l.counted(), l.limit.state, l.refused.more
	return c
}

// pathsAtOnce bounds how many paths are worked on before others get the mutex: 0.1 ms,
// and 5 ms at most where a prefix has very many paths.
const pathsAtOnce = 512

// nlriAtOnce is how many NLRI of an UPDATE are worked on before others get the mutex: more
// than fit into one of 4096 octets, so that most are taken in at once.
const nlriAtOnce = 2048

// octetsAtOnce is how many octets of attributes are made before others get the mutex, such as by an import policy
// that does something else to each path: a millisecond.
const octetsAtOnce = 1 << 20

// each calls f for every path of a family that is there now. f may drop the path. The mutex
// is let go now and then, so that the end of a large session delays no other user of the table.
func (in *In) each(fam wire.Family, f func(id uint32, p *path, l *pathList)) {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if !in.closed {
		in.walk(in.listOf(fam), f)
	}
}

func (in *In) walk(l *pathList, f func(id uint32, p *path, l *pathList)) {
	t := in.t
	var here uint32
	at := &here
	polite := !l.walked // else another walk is on its way: do this one in one go
	if polite {
		l.walked, at = true, &l.cursor
		defer func() { l.walked = false }()
	}
	*at = l.head
	for n := 1; *at != 0; n++ {
		id := *at
		p := t.paths.at(id)
		*at = p.later
		f(id, p, l)
		if polite {
			t.pause(n, pathsAtOnce)
		}
	}
}

func (in *In) dropAll(l *pathList, why Reason) {
	in.walk(l, func(id uint32, _ *path, _ *pathList) { in.dropPath(id, why) })
}

func (in *In) dropPath(id uint32, why Reason) {
	in.list(in.t.paths.at(id).dest).counters.Dropped[why]++
	in.remove(id)
}

// reflag changes the flags of a path and puts it where it belongs now.
func (in *In) reflag(id uint32, set, clear pathFlags) {
	t := in.t
	p := t.paths.at(id)
	t.move(in, p.dest, t.at(p.dest), id, func() sight {
		was := p.flags
		p.flags = p.flags&^clear | set
		if (was^p.flags)&pathStale != 0 {
			return watchedSight
		}
		return noSight
	})
}
