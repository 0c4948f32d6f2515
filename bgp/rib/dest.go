package rib

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// destID names a destination: a prefix, an EVPN route or a route target membership that has paths, or that a
// reader still has to hear about. Everything but this file knows it by this number alone, so that a family with names of
// another kind is a slab and an index here. The bits from familyShift on are the family's place in
// families; the rest is an index of its slab.
type destID = uint32

const (
	familyShift        = 25               // maxDests of each family are 1 << 25; see slotIDBits
	maxDests           = 1 << familyShift // destinations of a family
	destMask    destID = maxDests - 1     // the index in the slab
	v6          destID = 1 << familyShift // what IPv6 destinations have set
	ofKeyed     destID = 2 << familyShift // the least that keyed destinations have: those with a key, EVPN and memberships
)

// Places in families of those whose destinations are keyed.
const (
	evpnFamily       = 2
	constraintFamily = 3
	keyedFamilies    = nFamilies - evpnFamily
)

// familyAt is the place of a destination's family in families.
func familyAt(id destID) int { return int(id >> familyShift) }

// name is what an announcement or a withdrawal is about: the prefix of NLRI, or what has a key.
type name struct {
	wire.NLRI
	key []byte // see wire.Keyed; empty: the prefix counts
	fam int    // of a key: the place of its family in families
}

// nameKeyed returns a name with room for a key. There is one room in a table: a name is set anew after
// the mutex has been let go.
func (t *Table) nameKeyed() name { return name{key: t.keyRoom[:0]} }

// setKeyed makes n the name of a keyed NLRI. It reports false of one that is malformed and has no name, and at the
// malformed end of a list that Update.Parse has not checked.
func (n *name) setKeyed(k *wire.Keyed) bool {
	if len(k.Octets) == 0 {
		return false
	}
	n.key, n.PathID, n.fam = k.AppendKey(n.key[:0]), k.PathID, familyIndex(k.Family)
	return true
}

// setMembership makes n the name of a membership.
func (n *name) setMembership(m *wire.Membership) { n.key, n.fam = m.AppendKey(nil), constraintFamily }

// family is the place in families.
func (n *name) family() int {
	switch {
	case len(n.key) > 0:
		return n.fam
	case n.Prefix.Addr().Is4():
		return 0
	}
	return 1
}

// dest is what is kept for each prefix, 12 octets before its address.
type dest struct {
	first   uint32 // best path, which heads the list of all, 0 if there is none; or the number of the index
	pins    uint16 // readers that have it dirty, export groups that advertise it
	outMax  uint16 // highest ADD-PATH identifier ever given to one of its paths
	paths   uint8  // in the list
	plen    uint8  // prefix length in bits
	ranked  bool   // a path of the list has a MED, so ranks among paths must be computed
	indexed bool   // there were more paths than a list takes: see pathIndex
}

type dest4 struct {
	dest
	addr uint32 // as a number
}

type dest6 struct {
	dest
	addr [16]byte // in network order
}

// destK is a keyed destination: 52 octets, whatever its key.
type destK struct {
	dest
	size uint16        // octets of the key; more than fit into key: see keyed.long
	key  [keyRoom]byte // see wire.Keyed.AppendKey
}

// keyRoom is what the key of an EVPN route with an IPv6 address needs, the longest of types 1 to 5: route type
// (1), RD (8), tag (4), MAC (7), address (17), and one more that alignment leaves free. A membership needs 13.
const keyRoom = 38

// keyed holds the destinations of a family whose destinations have keys, and finds them by key.
type keyed struct {
	d    slab[destK]       // by the index in their numbers
	ix   index             // finds one of d
	long map[uint32][]byte // keys that are longer than keyRoom: EVPN routes of types that are not known
	seed maphash.Seed      // random: nobody can choose keys that collide
}

func (k *keyed) keyOf(id uint32) []byte {
	d := k.d.at(id)
	if d.size > keyRoom {
		return k.long[id]
	}
	return d.key[:d.size]
}

func (k *keyed) hash(key []byte) uint64 { return maphash.Bytes(k.seed, key) }

func (k *keyed) hashOf(id uint32) uint64 { return k.hash(k.keyOf(id)) }

// find returns the index of the destination with a key, 0 if there is none.
func (k *keyed) find(key []byte, hash uint64) uint32 {
	slots := k.ix.slots
	if len(slots) == 0 {
		return 0
	}
	mask, tag := uint64(len(slots)-1), slotFor(hash, 0)
	for i := hash & mask; slots[i] != 0; i = (i + 1) & mask {
		if s := slots[i]; s&^slotIDMask == tag && s != slotGone {
			if bytes.Equal(k.keyOf(s&slotIDMask), key) {
				return s & slotIDMask
			}
		}
	}
	return 0
}

// get is find, and makes a destination if there is none.
func (k *keyed) get(key []byte) uint32 {
	hash := k.hash(key)
	if id := k.find(key, hash); id != 0 {
		return id
	}
	id := k.d.alloc()
	d := k.d.at(id)
	d.size = uint16(len(key))
	if copy(d.key[:], key) < len(key) {
		if k.long == nil {
			k.long = map[uint32][]byte{}
		}
		k.long[id] = bytes.Clone(key)
	}
	k.ix.add(hash, id, k.hashOf)
	return id
}

func (k *keyed) drop(id uint32) {
	k.ix.remove(k.hashOf(id), id, k.hashOf)
	delete(k.long, id)
	k.d.free(id)
}

// prefixes holds the destinations of all families and finds them by name.
type prefixes struct {
	d4     slab[dest4]          // IPv4 destinations
	d6     slab[dest6]          // IPv6 destinations
	ix4    index                // finds one of d4
	ix6    index                // finds one of d6
	k0, k1 uint64               // random: nobody can choose prefixes that collide
	keyed  [keyedFamilies]keyed // those with keys, by the place of their family after evpnFamily
}

// keyedAt returns where a keyed destination is.
func (p *prefixes) keyedAt(id destID) *keyed { return &p.keyed[familyAt(id)-evpnFamily] }

// keyedOf returns where the destinations of a family are, by its place in families.
func (p *prefixes) keyedOf(family int) *keyed { return &p.keyed[family-evpnFamily] }

func (p *prefixes) at(id destID) *dest {
	switch {
	case id < v6:
		return &p.d4.at(id).dest
	case id < ofKeyed:
		return &p.d6.at(id & destMask).dest
	}
	return &p.keyedAt(id).d.at(id & destMask).dest
}

// key returns the key of a destination, nil of a prefix. It is good until the destination is dropped, and
// not to be changed.
func (p *prefixes) key(id destID) []byte {
	if id < ofKeyed {
		return nil
	}
	return p.keyedAt(id).keyOf(id & destMask)
}

// prefix returns the prefix of a destination, the zero Prefix of one with a key.
func (p *prefixes) prefix(id destID) netip.Prefix {
	if id >= ofKeyed {
		return netip.Prefix{}
	}
	if id&v6 == 0 {
		d := p.d4.at(id)
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], d.addr)
		return netip.PrefixFrom(netip.AddrFrom4(a), int(d.plen))
	}
	d := p.d6.at(id & destMask)
	return netip.PrefixFrom(netip.AddrFrom16(d.addr), int(d.plen))
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func (p *prefixes) hash4(addr uint32, plen uint8) uint64 {
	return mix(uint64(addr)<<8|uint64(plen)^p.k0, p.k1)
}

func (p *prefixes) hash6(a *[16]byte, plen uint8) uint64 {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return mix(mix(hi^p.k0, lo^p.k1)^uint64(plen), p.k1)
}

func (p *prefixes) hashOf4(id uint32) uint64 {
	d := p.d4.at(id)
	return p.hash4(d.addr, d.plen)
}

func (p *prefixes) hashOf6(id uint32) uint64 {
	d := p.d6.at(id)
	return p.hash6(&d.addr, d.plen)
}

// find returns the destination of a prefix, 0 if there is none.
func (p *prefixes) find(pfx netip.Prefix) destID {
	id, _ := p.lookup(pfx)
	return id
}

// findName is find for any name.
func (p *prefixes) findName(n *name) destID {
	if len(n.key) > 0 {
		return p.findKey(n.fam, n.key)
	}
	return p.find(n.Prefix)
}

// findKey is find for a key of a family.
func (p *prefixes) findKey(family int, key []byte) destID {
	k := p.keyedOf(family)
	id := k.find(key, k.hash(key))
	if id != 0 {
		id |= uint32(family) << familyShift
	}
	return id
}

func (p *prefixes) lookup(pfx netip.Prefix) (id destID, hash uint64) {
	plen := uint8(pfx.Bits())
	if pfx.Addr().Is4() {
		a := pfx.Addr().As4()
		addr := binary.BigEndian.Uint32(a[:])
		hash = p.hash4(addr, plen)
		return p.find4(addr, plen, hash), hash
	}
	a := pfx.Addr().As16()
	hash = p.hash6(&a, plen)
	return p.find6(&a, plen, hash), hash
}

func (p *prefixes) find4(addr uint32, plen uint8, hash uint64) destID {
	slots := p.ix4.slots
	if len(slots) == 0 {
		return 0
	}
	mask, tag := uint64(len(slots)-1), slotFor(hash, 0)
	for i := hash & mask; slots[i] != 0; i = (i + 1) & mask {
		if s := slots[i]; s&^slotIDMask == tag && s != slotGone {
			if d := p.d4.at(s & slotIDMask); d.addr == addr && d.plen == plen {
				return s & slotIDMask
			}
		}
	}
	return 0
}

func (p *prefixes) find6(addr *[16]byte, plen uint8, hash uint64) destID {
	slots := p.ix6.slots
	if len(slots) == 0 {
		return 0
	}
	mask, tag := uint64(len(slots)-1), slotFor(hash, 0)
	for i := hash & mask; slots[i] != 0; i = (i + 1) & mask {
		if s := slots[i]; s&^slotIDMask == tag && s != slotGone {
			if d := p.d6.at(s & slotIDMask); d.addr == *addr && d.plen == plen {
				return s&slotIDMask | v6
			}
		}
	}
	return 0
}

// getName returns the destination of a name, a new one if there is none.
func (p *prefixes) getName(n *name) destID {
	if len(n.key) == 0 {
		return p.get(n.Prefix)
	}
	return p.keyedOf(n.fam).get(n.key) | uint32(n.fam)<<familyShift
}

// get is getName for a prefix.
func (p *prefixes) get(pfx netip.Prefix) destID {
	id, hash := p.lookup(pfx)
	if id != 0 {
		return id
	}
	plen := uint8(pfx.Bits())
	if pfx.Addr().Is4() {
		a := pfx.Addr().As4()
		id = p.d4.alloc()
		d := p.d4.at(id)
		d.addr, d.plen = binary.BigEndian.Uint32(a[:]), plen
		p.ix4.add(hash, id, p.hashOf4)
		return id
	}
	id = p.d6.alloc()
	d := p.d6.at(id)
	d.addr, d.plen = pfx.Addr().As16(), plen
	p.ix6.add(hash, id, p.hashOf6)
	return id | v6
}

// drop forgets a destination that has neither paths nor pins.
func (p *prefixes) drop(id destID) {
	switch {
	case id < v6:
		p.ix4.remove(p.hashOf4(id), id, p.hashOf4)
		p.d4.free(id)
	case id < ofKeyed:
		id &= destMask
		p.ix6.remove(p.hashOf6(id), id, p.hashOf6)
		p.d6.free(id)
	default:
		p.keyedAt(id).drop(id & destMask)
	}
}

// next returns the first destination of fam at or after id, 0 if there is none.
// Start with 0.
func (p *prefixes) next(fam wire.Family, id destID) destID {
	id &= destMask
	family := familyIndex(fam)
	switch family {
	case 0:
		return p.d4.next(id)
	case 1:
		id = p.d6.next(id)
	default:
		id = p.keyedOf(family).d.next(id)
	}
	if id != 0 {
		id |= uint32(family) << familyShift
	}
	return id
}

// full reports whether no more destinations of a family fit.
func (p *prefixes) full(family int) bool { return p.count(family) >= maxDests-2*slabSize }

// count returns how many destinations a family has.
func (p *prefixes) count(family int) int {
	switch family {
	case 0:
		return p.d4.n
	case 1:
		return p.d6.n
	}
	return p.keyedOf(family).d.n
}

func familyOf(id destID) wire.Family { return families[familyAt(id)] }
