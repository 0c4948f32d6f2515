package rib

import (
	"bytes"
	"iter"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Lookup returns all paths to exactly this prefix, best first, deferred ones included;
// nil if there are none.
func (t *Table) Lookup(prefix netip.Prefix) []Path {
	if !prefix.IsValid() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.find(prefix.Masked())
	if id == 0 {
		return nil
	}
	return t.everyPath(nil, t.at(id))
}

// LookupEVPN is [Table.Lookup] for the EVPN route with a key (see [wire.EVPN]). What it carries beside its key
// is in the attributes of each path: [Attrs.EVPN].
func (t *Table) LookupEVPN(key []byte) []Path { return t.lookupKey(evpnFamily, key) }

// LookupMembership is [Table.Lookup] for a route target membership, whatever its PathID.
func (t *Table) LookupMembership(m wire.Membership) []Path {
	return t.lookupKey(constraintFamily, m.AppendKey(nil))
}

func (t *Table) lookupKey(family int, key []byte) []Path {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.findKey(family, key)
	if id == 0 {
		return nil
	}
	return t.everyPath(nil, t.at(id))
}

// Match returns the longest prefix that contains an address and has paths, and all paths to it,
// best first, deferred ones included. ok is false if there is none.
func (t *Table) Match(addr netip.Addr) (c Change, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	addr = addr.WithZone("")
	for bits := addr.BitLen(); bits >= 0; bits-- {
		p, err := addr.Prefix(bits)
		if err != nil {
			break
		}
		if id := t.find(p); id != 0 && t.best(t.at(id)) != 0 {
			return Change{Family: familyOf(id), Prefix: p, Paths: t.everyPath(nil, t.at(id))}, true
		}
	}
	return Change{}, false
}

// everyPath is appendPaths without any limit.
func (t *Table) everyPath(list []Path, d *dest) []Path {
	rank := 0
	var first, last *path
	w := t.walk(d)
	for at := w.next(); at != 0; at = w.next() {
		p := t.paths.at(at)
		if first != nil && !t.equal(first, p) {
			rank++
			first = nil
		}
		if first == nil {
			first = p
		}
		v := t.pathView(p, rank)
		if last != nil {
			_, v.Lost = t.compare(last, p)
		}
		list = append(list, v)
		last = p
	}
	return list
}

// All iterates over the prefixes of a family and all paths to each, best first, in no
// particular order of prefixes. The table is locked for a few hundred prefixes at a time, so
// this is no snapshot of one moment: a prefix that comes or goes meanwhile may be missed.
// The Change is valid until the next one.
func (t *Table) All(fam wire.Family) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		page := make([]Change, 256)
		for id := destID(0); ; {
			n := 0
			t.mu.Lock()
			paths := 0
			for id = t.prefixes.next(fam, id); id != 0 && n < len(page) && paths < pathsAtOnce; id = t.prefixes.next(fam, id+1) {
				if d := t.at(id); t.best(d) != 0 {
					page[n].Family, page[n].Prefix, page[n].Key = fam, t.prefix(id), append(page[n].Key[:0], t.key(id)...)
					page[n].Paths = t.everyPath(page[n].Paths[:0], d)
					paths += len(page[n].Paths)
					n++
				}
			}
			t.mu.Unlock()
			for _, c := range page[:n] {
				if !yield(c) {
					return
				}
			}
			if id == 0 {
				return
			}
		}
	}
}

// Advert is one path as it is, or is about to be, advertised to a peer.
type Advert struct {
	Prefix netip.Prefix // the destination; the zero Prefix of one with a Key
	Key    []byte       // of an EVPN route or a route target membership, see [wire.Keyed]; empty otherwise
	PathID uint32       // 0 without ADD-PATH
	From   netip.Addr   // the peer that announced it to us; the zero Addr for a local path, or a membership that goes to all clients
	Attrs  Attrs        // as they were sent
}

// Advertised returns what the Adj-RIB-Out of the session has for exactly this prefix. A change
// that no member of the update group has asked for yet is not in it; one that this session
// has not sent yet may be.
func (o *Out) Advertised(prefix netip.Prefix) []Advert {
	if !prefix.IsValid() {
		return nil
	}
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	id := o.t.find(prefix.Masked())
	if id == 0 || o.closed {
		return nil
	}
	return o.appendAdverts(nil, id)
}

func (o *Out) appendAdverts(list []Advert, id destID) []Advert {
	for a := range o.g.adverts.of(id) {
		if a.src != o.in.no && o.wants(id, a.attr) {
			list = append(list, Advert{o.t.prefix(id), bytes.Clone(o.t.key(id)), uint32(a.out), o.t.peers[a.src].addr, o.t.attrs.view(a.attr)})
		}
	}
	return list
}

// All iterates over the Adj-RIB-Out of the session, as Advertised describes it, and locks the
// table as [Table.All] does.
func (o *Out) All(fam wire.Family) iter.Seq[Advert] {
	return func(yield func(Advert) bool) {
		var page []Advert
		for id := destID(0); ; {
			page, id = o.page(page[:0], familyIndex(fam), id)
			for _, a := range page {
				if !yield(a) {
					return
				}
			}
			if id == 0 {
				return
			}
		}
	}
}

// page appends some adverts from a destination on and returns where to go on, 0 at the end.
func (o *Out) page(list []Advert, family int, id destID) ([]Advert, destID) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if o.closed {
		return nil, 0
	}
	for id = o.g.adverts.next(family, id); id != 0 && len(list) < 256; id = o.g.adverts.next(family, id+1) {
		list = o.appendAdverts(list, id)
	}
	return list, id
}

// Stats describes the size of a table.
type Stats struct {
	Prefixes [4]int // IPv4 prefixes, IPv6 prefixes, EVPN routes and route target memberships, some perhaps without paths, to be forgotten
	Paths    int    // of all peers
	Attrs    int    // distinct attribute sets, whatever the ESIs, labels and gateways of EVPN routes are
	Groups   int    // update groups
	Peers    int    // with an In
	Backlog  int    // octets of encoded messages that wait for slow members of update groups
}

// Stats returns the size of the table.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Prefixes: [...]int{t.count(0), t.count(1), t.count(2), t.count(3)}, Paths: t.paths.n, Attrs: t.attrs.sets.n - t.attrs.based,
		Groups: len(t.groups), Peers: len(t.peers) - 1 - len(t.spare)}
	for _, g := range t.groups {
		s.Backlog += g.backlog
	}
	return s
}
