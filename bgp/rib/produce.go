package rib

import "slices"

// produce brings what the group advertises up to date with the Loc-RIB, for as many dirty
// destinations as make a chunk, and publishes the differences.
func (g *group) produce() {
	t := g.t
	b := &t.batch
	following := g.following()
	for !g.empty() && !b.full(t) {
		id := g.oldest()
		octets, made := b.octets, t.attrs.made
		if g.originatesAt(id) && slices.Contains(b.popped, id) { // it came back by its condition: a batch has each once
			break
		}
		g.checkCondition(id)
		if some := g.dirtyPaths(id); some == nil {
			g.compare(id, following)
		} else if !g.comparePaths(id, some, following) {
			break
		}
		b.popped = append(b.popped, g.pop())
		if b.octets == octets { // nothing to say: this bounds the work all the same
			b.octets += 16 + t.attrs.made - made
		}
	}
	if len(b.items) > 0 {
		g.publish(b.encode(t, g))
	}
	b.reset(t)
	g.tidy()
}

// following reports whether any member is in step with the group.
func (g *group) following() bool { return g.lagging < len(g.members) }

// dirtyPaths returns which paths of a dirty destination are to be compared one by one, nil if
// the destination is to be compared as a whole.
func (g *group) dirtyPaths(id destID) *outSet {
	if !g.single[familyAt(id)] || g.originatesAt(id) {
		return nil
	}
	return g.some(g.t, id)
}

// compare compares what should be advertised for a destination with what is.
func (g *group) compare(id destID, following bool) {
	t := g.t
	var room [8]advert
	want := g.views(id, room[:0])
	g.unsendable.note(id)
	t.noteOuts(want)
	had := g.adverts.head(id)
	var keep uint32 // the new list, in reverse order
	for at := had; at != 0; {
		a := g.adverts.lists.at(at)
		next := a.next
		if i := t.outNote(a.out); i < 0 {
			g.say(id, a.out, bucketKey{src: a.src, kind: withdrawal}, audience{targets: a.attr}, following)
			g.carry(id, a.attr, 0)
			t.attrs.release(a.attr)
			g.adverts.lists.free(at)
		} else {
			g.renew(id, a.advert, want[i], following)
			a.advert, want[i].attr = want[i], 0
			a.next, keep = keep, at
		}
		at = next
	}
	for _, v := range want {
		t.forgetOut(v.out)
		if v.attr == 0 {
			continue
		}
		n := g.adverts.lists.alloc()
		*g.adverts.lists.at(n) = advertNode{keep, v}
		keep = n
		g.carry(id, 0, v.attr)
		g.say(id, v.out, bucketKey{attr: v.attr, src: v.src, kind: announcement}, audience{targets: v.attr}, following)
	}
	if keep != had {
		g.adverts.setHead(id, keep)
	}
	switch d := t.at(id); {
	case had != 0 && keep == 0:
		d.pins-- // the queue still pins it
	case had == 0 && keep != 0:
		d.pins++
	}
}

// noteOuts notes where in a list each path identifier is, for outNote.
func (t *Table) noteOuts(list []advert) {
	for i, v := range list {
		for int(v.out) >= len(t.outNotes) {
			t.outNotes = append(t.outNotes, 0)
		}
		t.outNotes[v.out] = uint32(i + 1)
	}
}

// outNote returns where in the list of noteOuts a path identifier is, -1 if it is not.
func (t *Table) outNote(out uint16) int {
	if int(out) >= len(t.outNotes) {
		return -1
	}
	return int(t.outNotes[out]) - 1
}

func (t *Table) forgetOut(out uint16) { t.outNotes[out] = 0 }

// comparePaths is compare for some paths of a destination with an index of its paths, in a group
// that is sent all paths. It reports false if the batch is full before it is done.
func (g *group) comparePaths(id destID, some *outSet, following bool) bool {
	t := g.t
	d := t.at(id)
	x := t.indexes[d.first]
	for !t.batch.full(t) {
		out := some.pop()
		if out == 0 {
			return true
		}
		t.batch.octets += 4 // bounds the work, whatever it yields
		old, new := g.adverts.get(id, out), advert{out: out}
		returns := g.returns(id)
		if p := x.path(t, out); p != nil && (!t.deferred || p.peer == localPeer) && (returns || g.sole == nil || g.sole.no != p.peer) {
			if new.attr = g.exported(id, p); !returns {
				new.src = p.peer
			}
			g.unsendable.noteOne(id)
		}
		switch {
		case old.attr == 0 && new.attr == 0:
			continue
		case new.attr == 0:
			g.say(id, out, bucketKey{src: old.src, kind: withdrawal}, audience{targets: old.attr}, following)
			g.carry(id, old.attr, 0)
			t.attrs.release(old.attr)
		case old.attr == 0:
			g.carry(id, 0, new.attr)
			g.say(id, out, bucketKey{attr: new.attr, src: new.src, kind: announcement}, audience{targets: new.attr}, following)
		default:
			g.renew(id, old, new, following)
		}
		switch g.adverts.put(id, new) {
		case -1:
			d.pins-- // the queue still pins it
		case 1:
			d.pins++
		}
	}
	return false
}

// renew says what becomes of an advert that is replaced by another one with its path identifier,
// and releases the reference of the old one.
func (g *group) renew(id destID, old, new advert, following bool) {
	if old != new {
		g.carry(id, old.attr, new.attr)
		if old.src != new.src && new.src != localPeer && g.memberOf(new.src) {
			g.say(id, old.out, bucketKey{src: new.src, kind: retraction}, audience{targets: old.attr}, following)
		}
		if g.constrains(id) && !g.sameTargets(old.attr, new.attr) {
			// For those that wanted it, and do not any more.
			g.say(id, old.out, bucketKey{src: new.src, kind: withdrawal}, audience{old.attr, new.attr}, following)
		}
		g.say(id, old.out, bucketKey{attr: new.attr, src: new.src, kind: announcement}, audience{targets: new.attr}, following)
	}
	g.t.attrs.release(old.attr)
}

// sameTargets reports whether two sets have the same extended communities, the route targets among them.
func (g *group) sameTargets(a, b attrID) bool {
	s := &g.t.attrs
	return s.baseOf(a) == s.baseOf(b) || string(s.view(a).ExtCommunities()) == string(s.view(b).ExtCommunities())
}

// memberOf reports whether a peer's session is in the group.
func (g *group) memberOf(peer uint16) bool {
	for _, o := range g.members {
		if o.in.no == peer {
			return true
		}
	}
	return false
}

// say records an announcement or a withdrawal for the members: in the batch for those in
// step, in their dirty sets for the others. Only of what the group is constrained in does who count.
func (g *group) say(id destID, out uint16, k bucketKey, who audience, following bool) {
	constrained := g.constrains(id)
	switch {
	case !following:
	case constrained:
		g.t.batch.addFor(g.t, id, out, k, who)
	default:
		g.t.batch.add(g.t, id, out, k)
	}
	if g.lagging == 0 {
		return
	}
	remember := func(o *Out) {
		if o.behind && (k.kind == retraction) == (k.src == o.in.no) && o.dump.seen(id) && (!constrained || o.concerned(who.targets)) {
			o.todo.putPath(g.t, id, out)
		}
	}
	if constrained {
		g.eachConcerned(who.targets, remember)
		return
	}
	for _, o := range g.members {
		remember(o)
	}
}

// views lists what should be advertised for a destination. The paths of a sole member take
// a place among the best N, like those of other peers, but are not listed. A default route of our own is
// alone.
func (g *group) views(id destID, list []advert) []advert {
	t := g.t
	d := t.at(id)
	addPath := g.key.addPath.Has(familyOf(id))
	if g.originatesAt(id) {
		if attr := g.originated(id); attr != 0 {
			return append(list, advert{attr, uint16(truth(addPath)), localPeer})
		}
	}
	if !addPath {
		if best := g.bestFor(id, d); best != 0 {
			list, _ = g.view(id, t.paths.at(best), 0, list)
		}
		return list
	}
	w := t.walk(d)
	n := 0
	for looked := 0; looked < g.key.limit+t.limits.depth || g.key.limit == 0; looked++ {
		at := w.next()
		if at == 0 {
			break
		}
		p := t.paths.at(at)
		var ok bool
		if list, ok = g.view(id, p, p.out, list); ok {
			n++
		}
		if g.key.limit > 0 && n == g.key.limit {
			break
		}
	}
	return list
}

// view appends a path to a list, as it is advertised with a path identifier, and reports whether it
// may be.
func (g *group) view(id destID, p *path, out uint16, list []advert) ([]advert, bool) {
	t := g.t
	own, src := g.sole != nil && g.sole.no == p.peer, p.peer
	if g.returns(id) {
		own, src = false, localPeer
	}
	if t.deferred && p.peer != localPeer || own && g.key.limit == 0 {
		return list, false
	}
	found := g.unsendable.found
	attr := g.exported(id, p)
	if own {
		g.unsendable.found = found // it does not go there anyway
	}
	switch {
	case attr == 0:
		return list, false
	case own:
		t.attrs.release(attr)
		return list, true
	}
	return append(list, advert{attr, out, src}), true
}
