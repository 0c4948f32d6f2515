package rib

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// WatchConfig says what a [Watcher] wants to see. The zero value is the multipath set of
// every IPv4 and IPv6 prefix.
type WatchConfig struct {
	// Families are those to watch. Zero means IPv4 and IPv6 unicast.
	Families wire.FamilySet
	// AllPaths adds the paths that are not in the best multipath set; Path.Rank tells
	// them apart. Of a prefix that has more than 1024 paths, the best 1024 count.
	AllPaths bool
	// Notify, if not nil, is called when Next has something to yield after it yielded
	// nothing. See [OutConfig] for what it may do.
	Notify func()
}

// Watcher yields the best paths of a table: first those that are there, then every
// change. Changes are coalesced: a watcher that is slow sees the last state of each prefix,
// and costs no more than four octets and two bits for each. It is safe for concurrent use.
type Watcher struct {
	reader
	t         *Table              // the table, whose mutex guards the Watcher
	notify    func()              // called when there is something to read
	armed     bool                // notify is due at the next change
	closed    bool                // Close was called
	all       bool                // WatchConfig.AllPaths
	told      [nFamilies][]uint64 // destinations of which the last change had paths
	converged convergence         // whether the Change with Converged is due
	mark      uint64              // what w.queued was when the table converged
}

// convergence is what a watcher knows of Table.Converge.
type convergence uint8

const (
	diverging convergence = iota
	convergeMarked
	convergeTold
)

// Change is the state of one prefix, or the word that the table has converged.
type Change struct {
	// Converged is true in one Change of a watcher, which has no Prefix and no Paths: the table
	// has converged (see [Table.Converge]), and the Changes before this one are all there was
	// at that moment. What a program still holds from before its start, and has not been
	// handed, is gone then.
	Converged bool
	// Family is that of Prefix, or Key.
	Family wire.Family
	// Prefix is the zero Prefix with Converged, and of what has a Key.
	Prefix netip.Prefix
	// Key names an EVPN route or a route target membership (see [wire.Keyed]); it is empty otherwise.
	Key []byte
	// Paths are the paths, best first; none if the prefix is gone. The gateways of one
	// Rank are distinct, see [Path.Gateway].
	Paths []Path
}

// NextHops returns the gateways of the best paths, see [Path.Gateway]: none if the prefix is
// gone, or if it was originated here. It allocates; the result aliases nothing.
func (c *Change) NextHops() (addrs []netip.Addr) {
	for i := range c.Paths {
		if p := &c.Paths[i]; p.Rank == 0 && !p.Local {
			addrs = append(addrs, p.Gateway())
		}
	}
	return addrs
}

// Path is one path as a watcher sees it.
type Path struct {
	// NextHop is what the path was announced with; its Addr is not valid for a local path
	// without one.
	NextHop wire.NextHop
	// Local says that the path was originated here.
	Local bool
	// Peer is the address of the peer that announced it; the zero Addr if Local.
	Peer netip.Addr
	// PathID is the path identifier as received, or as given to Originate.
	PathID uint32
	// Rank is 0 for the best multipath set, 1 for the set that would be best without
	// it, and so on.
	Rank int
	// Weight is the share of traffic that the path asks for beside others of its Rank, by
	// its link bandwidth community (draft-ietf-idr-link-bandwidth), in octets per second;
	// 0 if it asks for none.
	Weight float32
	// Lost is the step of the decision process at which the path lost to the one before it in
	// the list; none for the best.
	Lost Step
	// Stale says that the path is kept for a peer whose session ended. A watcher of the path hears when
	// it becomes stale, and when the peer has announced it again.
	Stale bool
	// Moved: it is stale, and is not advertised, as another client of this route reflector has added a
	// path since that is as good. Lookup and a watcher of all paths return it.
	Moved bool
	// Attrs are its attributes.
	Attrs Attrs
}

// Gateway returns the address that packets for the path go to: NextHop.Addr, which for an IPv4
// prefix may be an IPv6 address (RFC 8950, Section 3). Where the peer itself has a link-local address it
// is NextHop.LinkLocal if there is one: the global address of such a peer may be that of a loopback, and
// on no link, while the link-local one is sent to those only who share a link with the next hop
// (RFC 2545, Section 3). A link-local gateway of such a peer has the zone of Peer, which is the
// interface of the session. It is not valid for a local path without a next hop.
func (p *Path) Gateway() netip.Addr {
	a := p.NextHop.Addr
	if !p.Peer.Is6() || !p.Peer.IsLinkLocalUnicast() {
		return a
	}
	if p.NextHop.LinkLocal.IsValid() {
		a = p.NextHop.LinkLocal
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		a = a.WithZone(p.Peer.Zone())
	}
	return a
}

// Watch returns a watcher. Close it when it is no longer needed.
func (t *Table) Watch(c WatchConfig) *Watcher {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Families == 0 {
		c.Families = wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)
	}
	w := &Watcher{t: t, notify: c.Notify, all: c.AllPaths}
	w.reader.wake = w.wakeUp
	for _, fam := range c.Families.Slice() {
		f := familyIndex(fam)
		w.families[f], w.interest[f] = true, levelMulti
		if c.AllPaths {
			w.interest[f] = levelAny
		}
		for id := t.prefixes.next(fam, 0); id != 0; id = t.prefixes.next(fam, id+1) {
			if t.visible(t.at(id)) {
				w.put(t, id)
			}
		}
	}
	t.readers = append(t.readers, &w.reader)
	t.watchers = append(t.watchers, w)
	if !t.deferred {
		w.converge()
	}
	return w
}

// visible reports whether a destination has a path that may be selected.
func (t *Table) visible(d *dest) bool {
	best := t.best(d)
	return best != 0 && (!t.deferred || t.paths.at(best).peer == localPeer)
}

// converge places the converged event behind what is dirty now.
func (w *Watcher) converge() {
	if w.converged == diverging {
		w.converged, w.mark = convergeMarked, w.queued
		w.wakeUp()
	}
}

func (w *Watcher) wakeUp() {
	if w.armed {
		w.armed = false
		if w.notify != nil {
			w.notify()
		}
	}
}

// Close ends the watch.
func (w *Watcher) Close() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	w.t.dropReader(&w.reader)
	w.t.watchers = slices.DeleteFunc(w.t.watchers, func(x *Watcher) bool { return x == w })
	w.clear(w.t)
}

// Next fills changes with what is new, and returns how many of them it filled; it reuses
// the room of their Paths. 0 means that there is nothing new; Notify tells when that
// changes. A Change of a prefix may say what the one before it said. The Change with
// Converged set is the last of its call.
func (w *Watcher) Next(changes []Change) (n int) {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.closed {
		return 0
	}
	for n < len(changes) && !w.empty() {
		id := w.pop()
		if w.yield(id, &changes[n]) {
			n++
		}
		t.unpin(id)
	}
	if w.converged == convergeMarked && w.popped >= w.mark && n < len(changes) {
		w.converged = convergeTold
		changes[n] = Change{Converged: true, Key: changes[n].Key[:0], Paths: changes[n].Paths[:0]}
		n++
	}
	w.armed = w.empty() && w.converged != convergeMarked
	return n
}

// yield describes a destination. It reports false if the watcher need not know.
func (w *Watcher) yield(id destID, c *Change) bool {
	t := w.t
	d := t.at(id)
	c.Converged, c.Family, c.Key = false, familyOf(id), append(c.Key[:0], t.key(id)...)
	f, word, bit := bitOf(id)
	if word >= len(w.told[f]) {
		w.told[f] = append(w.told[f], make([]uint64, word+1-len(w.told[f])+word/4)...)
	}
	had := w.told[f][word]&bit != 0
	if !t.visible(d) {
		w.told[f][word] &^= bit
		c.Prefix, c.Paths = t.prefix(id), c.Paths[:0]
		return had
	}
	w.told[f][word] |= bit
	c.Prefix, c.Paths = t.prefix(id), t.appendPaths(c.Paths[:0], d, w.all)
	return true
}
