package rib

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// destID names a destination: a prefix that has paths, or that a reader still has to
// hear about. The bit v6 is the family; the rest is an index of its slab.
type destID = uint32

const v6 destID = 1 << 25 // maxDests of each family; see slotIDBits

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

// prefixes holds the destinations of both families and finds them by prefix.
type prefixes struct {
	d4     slab[dest4] // IPv4 destinations
	d6     slab[dest6] // IPv6 destinations
	ix4    index       // finds one of d4
	ix6    index       // finds one of d6
	k0, k1 uint64      // random: nobody can choose prefixes that collide
}

func (p *prefixes) at(id destID) *dest {
	if id&v6 == 0 {
		return &p.d4.at(id).dest
	}
	return &p.d6.at(id &^ v6).dest
}

func (p *prefixes) prefix(id destID) netip.Prefix {
	if id&v6 == 0 {
		d := p.d4.at(id)
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], d.addr)
		return netip.PrefixFrom(netip.AddrFrom4(a), int(d.plen))
	}
	d := p.d6.at(id &^ v6)
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

// get returns the destination of a prefix, a new one if there is none.
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
	if id&v6 == 0 {
		p.ix4.remove(p.hashOf4(id), id, p.hashOf4)
		p.d4.free(id)
		return
	}
	id &^= v6
	p.ix6.remove(p.hashOf6(id), id, p.hashOf6)
	p.d6.free(id)
}

// next returns the first destination of fam at or after id, 0 if there is none.
// Start with 0.
func (p *prefixes) next(fam wire.Family, id destID) destID {
	if fam == wire.IPv4Unicast {
		return p.d4.next(id)
	}
	if id = p.d6.next(id &^ v6); id != 0 {
		id |= v6
	}
	return id
}

// full reports whether no more destinations of fam fit.
func (p *prefixes) full(fam wire.Family) bool {
	if fam == wire.IPv4Unicast {
		return p.d4.n >= int(v6)-2*slabSize
	}
	return p.d6.n >= int(v6)-2*slabSize
}

func familyOf(id destID) wire.Family {
	if id&v6 == 0 {
		return wire.IPv4Unicast
	}
	return wire.IPv6Unicast
}
