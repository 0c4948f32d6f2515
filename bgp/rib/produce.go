package rib

// view is one path of a destination as an export group shows it.
type view struct {
	attr attrID // with a reference
	out  uint16
	src  uint16
}

// produce brings what the group advertises up to date with the Loc-RIB, for as many dirty
// destinations as make a chunk, and publishes the differences.
func (g *group) produce() {
	t := g.t
	b := &t.batch
	following := g.following()
	for !g.empty() && !b.full(t) {
		id := g.pop()
		b.popped = append(b.popped, id)
		g.compare(id, following)
		if !following {
			b.octets += 16 // bounds the work all the same
		}
	}
	if len(b.items) > 0 {
		g.publish(b.encode(t, g))
	}
	b.reset(t)
}

// following reports whether any member is in step with the group.
func (g *group) following() bool { return g.lagging < len(g.members) }

// compare compares what should be advertised for a destination with what is.
func (g *group) compare(id destID, following bool) {
	t := g.t
	var room [8]view
	want := g.views(id, room[:0])
	had := g.head(id) != 0
	at := g.head(id)
	var keep uint32 // the new list, in reverse order
	for at != 0 {
		a := g.adverts.at(at)
		next := a.next
		if v, ok := takeView(want, a.out); !ok {
			g.say(id, a.out, bucketKey{src: a.src, kind: withdrawal}, following)
			t.attrs.release(a.attr)
			g.adverts.free(at)
		} else {
			g.renew(id, a, v, following)
			a.next, keep = keep, at
		}
		at = next
	}
	for i := range want {
		v := &want[i]
		if v.attr == 0 {
			continue
		}
		n := g.adverts.alloc()
		*g.adverts.at(n) = advert{keep, v.attr, v.out, v.src}
		keep = n
		g.say(id, v.out, bucketKey{attr: v.attr, src: v.src, kind: announcement}, following)
	}
	if keep != g.head(id) || had {
		g.setHead(id, keep)
	}
	switch d := t.at(id); {
	case had && keep == 0:
		d.pins-- // the queue still pins it
	case !had && keep != 0:
		d.pins++
	}
}

// takeView takes the view with a path identifier out of a list.
func takeView(list []view, out uint16) (view, bool) {
	for i, v := range list {
		if v.attr != 0 && v.out == out {
			list[i].attr = 0
			return v, true
		}
	}
	return view{}, false
}

// renew replaces an advert by a new view of the same path identifier.
func (g *group) renew(id destID, a *advert, v view, following bool) {
	if a.attr == v.attr && a.src == v.src {
		g.t.attrs.release(v.attr)
		return
	}
	if a.src != v.src && v.src != localPeer && g.memberOf(v.src) {
		g.say(id, a.out, bucketKey{src: v.src, kind: retraction}, following)
	}
	g.t.attrs.release(a.attr)
	a.attr, a.src = v.attr, v.src
	g.say(id, a.out, bucketKey{attr: v.attr, src: v.src, kind: announcement}, following)
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

// say tells the members: those in step by the batch, the others by their dirty set.
func (g *group) say(id destID, out uint16, k bucketKey, following bool) {
	if following {
		g.t.batch.add(g.t, id, out, k)
	}
	if g.lagging == 0 {
		return
	}
	for _, o := range g.members {
		if !o.behind || (k.kind == retraction) != (k.src == o.in.no) || !o.dump.seen(id) {
			continue
		}
		o.todo.put(g.t, id)
	}
}

// views lists what should be advertised for a destination. The paths of a sole member take
// a place among the best N, like anybody's, but are not listed.
func (g *group) views(id destID, list []view) []view {
	t := g.t
	addPath := g.key.addPath.Has(familyOf(id))
	n := 0
	for at := t.at(id).first; at != 0; {
		p := t.paths.at(at)
		if t.deferred && p.peer != localPeer {
			break
		}
		if own := g.sole != nil && g.sole.no == p.peer; !own || g.key.limit > 0 {
			v := view{g.exported(id, p), 0, p.peer}
			if addPath {
				v.out = p.out
			}
			if v.attr != 0 {
				n++
			}
			if own && v.attr != 0 {
				t.attrs.release(v.attr)
			} else if v.attr != 0 {
				list = append(list, v)
			}
		}
		if !addPath || g.key.limit > 0 && n == g.key.limit {
			break
		}
		at = p.next
	}
	return list
}
