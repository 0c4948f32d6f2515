package rib

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// destID names a destination: a prefix or an EVPN route that has paths, or that a reader still has
// to hear about. Everything but this file knows it by this number alone, so that a family with names of
// another kind is a slab and an index here. The bits from familyShift on are the family's place in
// families; the rest is an index of its slab.
type destID = uint32

const (
	familyShift        = 25               // maxDests of each family are 1 << 25; see slotIDBits
	maxDests           = 1 << familyShift // destinations of a family
	destMask    destID = maxDests - 1     // the index in the slab
	v6          destID = 1 << familyShift // what IPv6 destinations have set
	ofEVPN      destID = 2 << familyShift // what EVPN destinations have set
)

// familyAt is the place of a destination's family in families.
func familyAt(id destID) int { return int(id >> familyShift) }

// name is what an announcement or a withdrawal is about: the prefix of NLRI, or an EVPN route.
type name struct {
	wire.NLRI
	key []byte // see wire.EVPN.AppendKey; empty: the prefix counts
}

// nameEVPN returns a name with room for the key of an EVPN route. There is one room in a table: a name is
// set anew after the mutex has been let go.
func (t *Table) nameEVPN() name { return name{key: t.keyRoom[:0]} }

// setEVPN makes n the name of a route. It reports false at the malformed end of a list that Update.Parse has
// not checked.
func (n *name) setEVPN(e *wire.EVPN) bool {
	if len(e.Octets) == 0 {
		return false
	}
	n.key, n.PathID = e.AppendKey(n.key[:0]), e.PathID
	return true
}

// family is the place in families.
func (n *name) family() int {
	switch {
	case len(n.key) > 0:
		return 2
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

// destE is an EVPN destination: 52 octets, whatever its address.
type destE struct {
	dest
	size uint16         // octets of the key; more than fit into key: see prefixes.long
	key  [evpnRoom]byte // see wire.EVPN.AppendKey
}

// evpnRoom is what the key of a route with an IPv6 address needs, the longest of types 1 to 5: route type (1),
// RD (8), tag (4), MAC (7), address (17), and one more that alignment leaves free.
const evpnRoom = 38

// prefixes holds the destinations of all families and finds them by name.
type prefixes struct {
	d4     slab[dest4]       // IPv4 destinations
	d6     slab[dest6]       // IPv6 destinations
	dE     slab[destE]       // EVPN destinations
	ix4    index             // finds one of d4
	ix6    index             // finds one of d6
	ixE    index             // finds one of dE
	long   map[uint32][]byte // keys of dE that are longer than evpnRoom: of types that are not known
	k0, k1 uint64            // random: nobody can choose prefixes that collide
	seed   maphash.Seed      // the same for keys of octets
}

func (p *prefixes) at(id destID) *dest {
	switch {
	case id < v6:
		return &p.d4.at(id).dest
	case id < ofEVPN:
		return &p.d6.at(id & destMask).dest
	}
	return &p.dE.at(id & destMask).dest
}

// key returns the key of an EVPN destination, nil of another. It is good until the destination is
// dropped, and not to be changed.
func (p *prefixes) key(id destID) []byte {
	if id < ofEVPN {
		return nil
	}
	return p.keyOf(id & destMask)
}

func (p *prefixes) keyOf(id uint32) []byte {
	d := p.dE.at(id)
	if d.size > evpnRoom {
		return p.long[id]
	}
	return d.key[:d.size]
}

// prefix returns the prefix of a destination, the zero Prefix of an EVPN route.
func (p *prefixes) prefix(id destID) netip.Prefix {
	if id >= ofEVPN {
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

func (p *prefixes) hashOfE(id uint32) uint64 { return maphash.Bytes(p.seed, p.keyOf(id)) }

// find returns the destination of a prefix, 0 if there is none.
func (p *prefixes) find(pfx netip.Prefix) destID {
	id, _ := p.lookup(pfx)
	return id
}

// findName is find for any name.
func (p *prefixes) findName(n *name) destID {
	if len(n.key) > 0 {
		id, _ := p.lookupEVPN(n.key)
		return id
	}
	return p.find(n.Prefix)
}

func (p *prefixes) lookupEVPN(key []byte) (id destID, hash uint64) {
	hash = maphash.Bytes(p.seed, key)
	slots := p.ixE.slots
	if len(slots) == 0 {
		return 0, hash
	}
	mask, tag := uint64(len(slots)-1), slotFor(hash, 0)
	for i := hash & mask; slots[i] != 0; i = (i + 1) & mask {
		if s := slots[i]; s&^slotIDMask == tag && s != slotGone {
			if bytes.Equal(p.keyOf(s&slotIDMask), key) {
				return s&slotIDMask | ofEVPN, hash
			}
		}
	}
	return 0, hash
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
	id, hash := p.lookupEVPN(n.key)
	if id != 0 {
		return id
	}
	id = p.dE.alloc()
	d := p.dE.at(id)
	d.size = uint16(len(n.key))
	if copy(d.key[:], n.key) < len(n.key) {
		if p.long == nil {
			p.long = map[uint32][]byte{}
		}
		p.long[id] = bytes.Clone(n.key)
	}
	p.ixE.add(hash, id, p.hashOfE)
	return id | ofEVPN
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
	case id < ofEVPN:
		id &= destMask
		p.ix6.remove(p.hashOf6(id), id, p.hashOf6)
		p.d6.free(id)
	default:
		id &= destMask
		p.ixE.remove(p.hashOfE(id), id, p.hashOfE)
		delete(p.long, id)
		p.dE.free(id)
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
		id = p.dE.next(id)
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
	return p.dE.n
}

func familyOf(id destID) wire.Family { return families[familyAt(id)] }
