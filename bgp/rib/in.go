package rib

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// PeerConfig describes a peer to the table.
type PeerConfig struct {
	// Addr is the peer's address. It is the last but one tie-breaker between paths.
	Addr netip.Addr
	// AS is the peer's AS: our own makes it an iBGP peer.
	AS uint32
	// RouterID is the identifier in the peer's OPEN.
	RouterID netip.Addr
	// Client makes an iBGP peer a client of ours: we reflect its paths (RFC 4456, Section 6).
	Client bool
	// AllowOwnAS is how often our own AS may occur in AS_PATH. 0 refuses every path that
	// came through our AS; a fabric whose routers share an AS needs 1.
	AllowOwnAS int
	// EBGP is what an external peer has beyond that; no other peer heeds it.
	EBGP EBGP
	// Import decides on every path that the peer announces; nil accepts all.
	Import Policy
	// Limits bounds what the peer may announce in each family; one that is not in it has no
	// limit.
	Limits map[wire.Family]PrefixLimit
	// KeepRefused is how many routes that are refused are kept in each of IPv4 and IPv6 unicast, for
	// [In.Refused]: an operator's question why a route is not there. 0 keeps none.
	KeepRefused int
}

// In is the Adj-RIB-In of one peer: the paths that it announced and that were accepted.
// It outlives the session, so that paths can wait for a peer that restarts. It is safe
// for concurrent use with everything else of its Table.
//
// Paths that are refused are not kept, but for those that [In.Refused] tells of: when the import policy
// changes, ask the peer for a route refresh.
type In struct {
	t        *Table              // the table, whose mutex guards the In
	no       uint16              // the peer's number in the table
	closed   bool                // Close was called
	client   bool                // a route reflector client of ours
	external bool                // an eBGP peer
	addr     netip.Addr          // the peer's address
	as       uint32              // the peer's AS number
	routerID uint32              // the peer's BGP Identifier, as a number
	imports  Policy              // changes or refuses what the peer announces
	ownAS    int                 // AllowOwnAS
	ebgp     EBGP                // the zero value of an iBGP peer
	own      [2]netip.Addr       // our addresses of the session, as next hops
	lists    [nFamilies]pathList // by family
	out      *Out                // of the session, if there is one
}

// pathList holds the paths of one peer and family.
type pathList struct {
	head     uint32   // the first path; the others follow by path.later
	n        int      // paths
	stale    int      // of these, stale ones
	limit    limiter  // what PrefixLimit allows
	refused  refusals // for In.Refused
	walked   bool     // a walk has let the mutex go and will come back to cursor
	cursor   uint32   // where a walk goes on that let the mutex go
	counters Counters // for InStatus
}

func (in *In) list(d destID) *pathList { return &in.lists[familyAt(d)] }

func (in *In) listOf(fam wire.Family) *pathList {
	return &in.lists[familyIndex(fam)]
}

// NewIn adds a peer, without paths.
func (t *Table) NewIn(c PeerConfig) (*In, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := &In{t: t}
	if err := in.configure(c); err != nil {
		return nil, err
	}
	if err := t.addPeer(in); err != nil {
		return nil, err
	}
	return in, nil
}

// Configure changes the peer's configuration, as when a new session brings another router
// id. Paths that are there keep what the old import policy made of them, but compete and are
// advertised as the new configuration wants. An Out that is open keeps the kind of peer that it
// was opened for: close it before AS or Client change.
func (in *In) Configure(c PeerConfig) error {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	old := *in
	if err := in.configure(c); err != nil {
		return err
	}
	if in.routerID != old.routerID || in.addr != old.addr || in.external != old.external || in.client != old.client {
		for _, x := range in.t.indexes {
			if x != nil && x.peers[in.no].all > 0 {
				x.sort(in.t)
			}
		}
		for f := range in.lists {
			in.walk(&in.lists[f], in.resort)
		}
	}
	return nil
}

func (in *In) configure(c PeerConfig) error {
	switch {
	case c.AS == 0:
		return fmt.Errorf("rib: peer %v: AS is required", c.Addr)
	case c.KeepRefused < 0:
		return fmt.Errorf("rib: peer %v: KeepRefused is negative", c.Addr)
	}
	for fam, l := range c.Limits {
		if err := l.Check(); err != nil {
			return fmt.Errorf("rib: peer %v: %v: %w", c.Addr, fam, err)
		}
	}
	if err := c.EBGP.Check(); err != nil {
		return fmt.Errorf("rib: peer %v: %w", c.Addr, err)
	}
	in.addr, in.as, in.routerID = c.Addr, c.AS, id32(c.RouterID)
	in.external = c.AS != in.t.as
	in.client = c.Client && !in.external
	in.imports, in.ownAS = c.Import, c.AllowOwnAS
	in.ebgp = EBGP{}
	if in.external {
		in.ebgp = c.EBGP
	}
	for f, fam := range families {
		in.lists[f].limit.configure(c.Limits[fam])
		in.lists[f].refused.configure(c.KeepRefused)
	}
	in.t.attrs.trim(0)
	return nil
}

// resort puts the paths to a destination in the order that the peer's new configuration wants.
func (in *In) resort(_ uint32, p *path, _ *pathList) {
	if e := in.t.at(p.dest); !e.indexed {
		in.t.rank(e)
	}
	in.t.changed(in, p.dest, levelBest, p.out)
	in.t.showMoved(in.t.at(p.dest))
}

// Close drops all paths of the peer and forgets it. Its Out must be closed before. The
// In must not be used afterwards.
func (in *In) Close() {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if in.closed {
		return
	}
	in.closed = true
	for f := range in.lists {
		in.dropAll(&in.lists[f], ReasonSessionEnded)
	}
	in.t.attrs.trim(0)
	in.t.peers[in.no] = in.t.peers[localPeer]
	in.t.spare = append(in.t.spare, in.no)
}

// accept enters a path that passed import; it takes over the reference on attr. It returns why it
// does not, 0 if it does.
func (in *In) accept(n *name, attr attrID) Reason {
	t := in.t
	d := t.prefixes.getName(n)
	e := t.at(d)
	l := in.list(d)
	old := t.search(e, in.no, n.PathID)
	known := old != 0 && t.paths.at(old).flags&pathStale == 0
	if !known {
		if why := in.refuseNew(l, d, e, n, old); why != 0 {
			t.attrs.release(attr)
			return why
		}
	}
	if old != 0 {
		p := t.paths.at(old)
		p.flags &^= pathUnconfirmed
		if known && p.attr == attr && p.flags&pathFailed == 0 {
			t.attrs.release(attr)
			return 0
		}
		t.replace(in, d, e, old, attr)
		t.dropFailed(e, in.no)
		return 0
	}
	out := t.freeOut(e)
	id := t.newPath(in, d, e, n.PathID, out, attr)
	was := t.shape(e)
	t.insert(e, id)
	t.changed(in, d, levelOf(t.standing(e, id), was, t.shape(e)), out)
	t.dropFailed(e, in.no)
	t.hideMoved(e, id)
	t.showMoved(e)
	return 0
}

// refuseNew returns why a path that is not there, or only a stale one that has an id, cannot be
// entered, 0 if it can. The stale one goes then, as the peer does not offer it any more.
func (in *In) refuseNew(l *pathList, d destID, e *dest, n *name, stale uint32) (why Reason) {
	t := in.t
	switch {
	case stale == 0 && t.prefixes.full(familyAt(d)) && t.best(e) == 0:
		why = ReasonTableFull
	case stale == 0 && e.indexed && t.freeOut(e) == 0:
		why = ReasonTooManyPaths
	case l.limit.active() && !l.limit.has(n) && !in.mayAdd(l, d, n):
		why = ReasonOverLimit
	default:
		if len(l.limit.refused) > 0 {
			l.limit.drop(n)
		}
		return 0
	}
	if stale != 0 {
		in.remove(stale)
	} else {
		t.settle(d, e)
	}
	return why
}

// replace sets new attributes of a path (taking over the reference), clears its stale mark
// and puts it where it belongs now.
func (t *Table) replace(in *In, d destID, e *dest, id uint32, attr attrID) {
	p := t.paths.at(id)
	old := p.attr
	t.move(in, d, e, id, func() sight {
		p.attr = attr
		seen := noSight
		if p.flags&pathStale != 0 {
			p.flags &^= pathStale | pathTwiceStale
			in.list(d).stale--
			seen = watchedSight
		}
		p.flags &^= pathFailed | pathMoved
		if old != attr {
			seen = fullSight
		}
		return seen
	})
	t.attrs.release(old)
}

// sight is who sees a change of a path that leaves all paths of the destination where they are.
type sight uint8

const (
	noSight      sight = iota // nobody
	watchedSight              // watchers: it is in Path, and no peer is sent it
	fullSight                 // watchers and peers
)

// move changes something of a path, and puts it where it belongs then. change reports who sees the
// change as such.
func (t *Table) move(in *In, d destID, e *dest, id uint32, change func() sight) {
	t.shift(in, d, e, id, change)
	t.showMoved(e)
}

// shift is move without what follows for other paths that have moved.
func (t *Table) shift(in *In, d destID, e *dest, id uint32, change func() sight) {
	p := t.paths.at(id)
	was, standing := t.shape(e), t.standing(e, id)
	prev := t.unlink(e, id)
	seen := change()
	stays := t.insert(e, id) == prev && prev != noPath
	now, l := t.shape(e), t.standing(e, id)
	switch {
	case !stays || seen == fullSight || l != standing || now != was:
		t.changed(in, d, levelOf(min(standing, l), was, now), p.out)
	case seen == watchedSight && !t.deferred:
		t.touchWatchers(d, l)
	}
}

// withdraw removes a path if it is there. It reports whether it was, and was not stale.
func (in *In) withdraw(n *name) (known bool) {
	d := in.t.prefixes.findName(n)
	if d == 0 || in.closed { // closed while a long UPDATE had let the mutex go: the number may be another peer's
		return false
	}
	id := in.t.search(in.t.at(d), in.no, n.PathID)
	if id == 0 {
		return false
	}
	known = in.t.paths.at(id).flags&pathStale == 0
	in.remove(id)
	return known
}

// remove removes a path of the peer.
func (in *In) remove(id uint32) {
	t := in.t
	p := t.paths.at(id)
	d, out := p.dest, p.out
	e := t.at(d)
	was, standing := t.shape(e), t.standing(e, id)
	t.unlink(e, id)
	t.freePath(id, e)
	t.attrs.trim(min(t.paths.n, recentSets))
	t.changed(in, d, levelOf(standing, was, t.shape(e)), out)
	t.showMoved(e)
	t.settle(d, e)
}

// changed reports to readers that the path of a destination with an identifier for sending has
// changed, unless selection is deferred.
func (t *Table) changed(in *In, d destID, l level, out uint16) {
	if t.deferred && in.no != localPeer {
		return
	}
	t.touch(d, l, out)
}
