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
	// Client makes an iBGP peer a client of ours: we reflect its paths (RFC 4456).
	Client bool
	// AllowOwnAS is how often our own AS may occur in AS_PATH. 0 refuses every path that
	// came through our AS; a fabric whose routers share an AS needs 1.
	AllowOwnAS int
	// Import decides on every path that the peer announces; nil accepts all.
	Import Policy
	// MaxPrefixes bounds the accepted paths of each family; 0 means no limit.
	MaxPrefixes int
}

// In is the Adj-RIB-In of one peer: the paths that it announced and that were accepted.
// It outlives the session, so that paths can wait for a peer that restarts. It is safe
// for concurrent use with everything else of its Table.
//
// Paths that are refused are not kept: when the import policy changes, ask the peer for a
// route refresh.
type In struct {
	t        *Table
	no       uint16
	closed   bool
	client   bool
	external bool
	addr     netip.Addr
	as       uint32
	routerID uint32
	imports  Policy
	ownAS    int // AllowOwnAS
	max      int
	own      [2]netip.Addr // our addresses of the session, as next hops
	lists    [2]pathList
}

// pathList holds the paths of one peer and family.
type pathList struct {
	head     uint32
	n        int // paths
	stale    int // of these, stale ones
	walked   bool
	cursor   uint32 // where a walk goes on that let the mutex go
	counters Counters
}

func (in *In) list(d destID) *pathList { return &in.lists[d/v6&1] }

func (in *In) listOf(fam wire.Family) *pathList {
	if fam == wire.IPv6Unicast {
		return &in.lists[1]
	}
	return &in.lists[0]
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
		for f := range in.lists {
			in.walk(&in.lists[f], in.resort)
		}
	}
	return nil
}

func (in *In) configure(c PeerConfig) error {
	if c.AS == 0 {
		return fmt.Errorf("rib: peer %v: AS is required", c.Addr)
	}
	if c.MaxPrefixes < 0 {
		return fmt.Errorf("rib: peer %v: MaxPrefixes %d is negative", c.Addr, c.MaxPrefixes)
	}
	in.addr, in.as, in.routerID = c.Addr, c.AS, id32(c.RouterID)
	in.external = c.AS != in.t.as
	in.client = c.Client && !in.external
	in.imports, in.max, in.ownAS = c.Import, c.MaxPrefixes, c.AllowOwnAS
	in.t.attrs.forgetRecent()
	return nil
}

// resort puts the paths to a destination in the order that the peer's new configuration wants.
func (in *In) resort(_ uint32, p *path, _ *pathList) {
	in.t.rank(in.t.at(p.dest))
	in.t.changed(in, p.dest, levelBest)
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
		in.dropAll(&in.lists[f], SessionEnded)
	}
	in.t.attrs.forgetRecent()
	in.t.peers[in.no] = in.t.peers[localPeer]
	in.t.spare = append(in.t.spare, in.no)
}

// LimitError says that a peer announced more prefixes than it may. The session is to be
// ended with Cease, subcode 1 (RFC 4486).
type LimitError struct {
	Peer   netip.Addr
	Family wire.Family
	Limit  int
}

// Error names peer, family and limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("rib: peer %v: more than %d %v prefixes", e.Peer, e.Limit, e.Family)
}

// accept enters a path that passed import; it takes over the reference on attr.
func (in *In) accept(prefix netip.Prefix, pathID uint32, attr attrID) {
	t := in.t
	d := t.prefixes.get(prefix)
	e := t.at(d)
	old, out := t.search(e, in.no, pathID)
	if old != 0 {
		p := t.paths.at(old)
		p.flags &^= pathUnconfirmed
		if p.attr == attr && p.flags&pathStale == 0 {
			t.attrs.release(attr)
			return
		}
		t.replace(in, d, e, old, attr)
		return
	}
	id, p := t.newPath(in, d)
	p.attr, p.id, p.out = attr, pathID, out
	e.outMax = max(e.outMax, out)
	was := e.shape()
	t.insert(e, id)
	t.changed(in, d, levelOf(t.place(e, id), was, e.shape()))
}

// replace gives a path new attributes (taking over the reference), clears its stale mark
// and puts it where it belongs now.
func (t *Table) replace(in *In, d destID, e *dest, id uint32, attr attrID) {
	p := t.paths.at(id)
	was, place := e.shape(), t.place(e, id)
	same := p.attr == attr && !e.ranked
	t.unlink(e, id)
	t.attrs.release(p.attr)
	p.attr = attr
	if p.flags&pathStale != 0 {
		p.flags &^= pathStale
		in.list(d).stale--
	}
	t.insert(e, id)
	now := t.place(e, id)
	if same && now == place && e.shape() == was {
		return // nothing that anybody sees
	}
	t.changed(in, d, levelOf(min(place, now), was, e.shape()))
}

// withdraw removes a path if it is there.
func (in *In) withdraw(prefix netip.Prefix, pathID uint32) bool {
	d := in.t.prefixes.find(prefix)
	if d == 0 {
		return false
	}
	id, _ := in.t.search(in.t.at(d), in.no, pathID)
	if id == 0 {
		return false
	}
	in.remove(id)
	return true
}

// remove removes a path of the peer.
func (in *In) remove(id uint32) {
	t := in.t
	d := t.paths.at(id).dest
	e := t.at(d)
	was, place := e.shape(), t.place(e, id)
	t.unlink(e, id)
	t.freePath(id)
	t.changed(in, d, levelOf(place, was, e.shape()))
	t.settle(d, e)
}

// changed tells readers, unless selection is deferred.
func (t *Table) changed(in *In, d destID, l level) {
	if t.deferred && in.no != localPeer {
		return
	}
	t.touch(d, l)
}

// shape is what a change of one path may do to the rest of a destination: the size of its
// multipath set, and whether MEDs rank its paths.
type shape struct {
	multi  uint8
	ranked bool
}

func (d *dest) shape() shape { return shape{d.multi, d.ranked} }

// levelOf says how deep a change goes: place is the best place in the list that the path
// had or has. With MEDs, a path may change the order of others without being among them.
func levelOf(place int, was, now shape) level {
	switch {
	case place == 0 || was.ranked || now.ranked:
		return levelBest
	case was != now || place < int(now.multi):
		return levelMulti
	}
	return levelAny
}

// place returns the place of a path in the list of its destination, 255 if it is
// further down.
func (t *Table) place(d *dest, id uint32) int {
	at := d.first
	for i := range 255 {
		if at == id {
			return i
		}
		at = t.paths.at(at).next
	}
	return 255
}

// search finds a peer's path, or else a path identifier that no path of the destination
// has, for sending.
func (t *Table) search(d *dest, peer uint16, pathID uint32) (id uint32, free uint16) {
	var used [4]uint64 // identifiers 1 to 256
	for id := d.first; id != 0; {
		p := t.paths.at(id)
		if p.peer == peer && p.id == pathID {
			return id, 0
		}
		if o := p.out - 1; o < 256 {
			used[o>>6] |= 1 << (o & 63)
		}
		id = p.next
	}
	for i, w := range used {
		if w != ^uint64(0) {
			return 0, uint16(i*64+trailingOnes(w)) + 1
		}
	}
	return 0, t.searchOut(d)
}
