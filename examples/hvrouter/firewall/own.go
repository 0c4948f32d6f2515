package firewall

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// own is the prefixes of guests of one family, by interface: a set for each length, whose
// keys are found by what is left of an address under the mask of that length.
//
// One set with intervals would do, and packets would be lost by it: the kernel keeps the
// intervals of a concatenation (nft_set_pipapo) in two copies and puts the new one in the
// place of the old one when the rules of a transaction already hold (nf_tables_commit:
// nft_set_commit_update comes last). In a table that has just been made such a set is
// empty until then, for milliseconds with a thousand guests.
type own struct {
	of   field
	sets []lengthSet // the longest first
}

type lengthSet struct {
	*set
	length int
}

// own makes the sets of a family. Those of common lengths are always there: the rules stay
// as they are when the first guest comes who has one.
func (b *builder) own(name string, of field, common ...int) own {
	o := own{of: of}
	lengths := common
	for _, g := range b.spec.Guests {
		for _, p := range g.Prefixes {
			if o.has(p) {
				lengths = append(lengths, p.Bits())
			}
		}
	}
	slices.Sort(lengths)
	for _, n := range slices.Backward(slices.Compact(lengths)) {
		o.sets = append(o.sets, lengthSet{b.set(fmt.Sprintf("%s_%d", name, n), "guests' own", kinds(iifField, of)...), n})
	}
	return o
}

// has reports whether p is of the family.
func (o own) has(p netip.Prefix) bool { return p.Addr().BitLen() == int(8*o.of.kind.Bytes) }

// add adds a prefix of the guest on an interface.
func (o own) add(name []byte, p netip.Prefix) {
	for _, s := range o.sets {
		if s.length == p.Bits() {
			s.add(name, p.Masked().Addr().AsSlice())
		}
	}
}

// with yields matches, each of packets with an address there that is in a prefix of one
// length.
func (o own) with(address field) iter.Seq[match] { return o.lookups(address, false) }

// without matches packets with an address there that is in none of the guest's prefixes.
func (o own) without(address field) match {
	return join(slices.Collect(o.lookups(address, true))...)
}

func (o own) lookups(address field, invert bool) iter.Seq[match] {
	return func(yield func(match) bool) {
		for _, s := range o.sets {
			if !yield(join(key(iifField, address), o.mask(s.length), match{s.lookup(invert)})) {
				return
			}
		}
	}
}

// mask leaves the first n bits of the address in a key.
func (o own) mask(n int) match {
	octets := int(o.of.kind.Bytes)
	if n == 8*octets {
		return nil
	}
	ones, _ := netip.AddrFromSlice(slices.Repeat([]byte{0xff}, octets))
	mask, _ := ones.Prefix(n)
	const register = unix.NFT_REG_1 + unix.IFNAMSIZ/16 // behind the name
	return match{&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: uint32(octets), Mask: mask.Addr().AsSlice(), Xor: make([]byte, octets)}}
}
