package firewall

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// set is a set of the table and what is in it. The kernel finds a key in constant time
// (one of addresses with intervals in logarithmic time), so that the number of rules does not grow with the
// guests.
type set struct {
	*nftables.Set
	elements []nftables.SetElement
	seed     *seed // of what it begins with besides; nil: nothing
}

// set adds an empty set of a concatenation of types, or of a single one.
func (b *builder) set(name, comment string, types ...nftables.SetDatatype) *set {
	s := &set{Set: &nftables.Set{Table: b.table.Table, Name: name, ID: b.id(), Comment: comment, KeyType: types[0]}}
	if len(types) > 1 {
		s.KeyType, s.Concatenation = nftables.MustConcatSetType(types...), true
	} else if types[0] == nftables.TypeIFName {
		s.KeyByteOrder = binaryutil.NativeEndian // how nft prints names
	}
	b.table.sets = append(b.table.sets, s)
	return s
}

func (b *builder) id() uint32 {
	b.ids++
	return b.ids
}

// names makes a set of interface names.
func (b *builder) names(name, comment string, interfaces []string) *set {
	s := b.set(name, comment, nftables.TypeIFName)
	for _, i := range interfaces {
		s.add(ifname(i))
	}
	return s
}

// oneOf makes a set that stands in a rule.
func (b *builder) oneOf(kind nftables.SetDatatype, values ...[]byte) *set {
	s := &set{Set: &nftables.Set{Table: b.table.Table, Name: "__set%d", ID: b.id(), Anonymous: true, Constant: true, KeyType: kind}}
	for _, v := range values {
		s.add(v)
	}
	b.table.sets = append(b.table.sets, s)
	return s
}

// remembered makes a set to which packets add keys, that forgets them after a while. One
// that is full takes no more.
func (b *builder) remembered(name, comment string, size uint32, timeout time.Duration, types ...nftables.SetDatatype) *set {
	s := b.set(name, comment, types...)
	s.Dynamic, s.HasTimeout, s.Timeout, s.Size = true, true, timeout, size
	return s
}

func (s *set) add(key ...[]byte) {
	s.elements = append(s.elements, nftables.SetElement{Key: slices.Concat(key...)})
}

// prefix adds the addresses of p to a set of addresses: an interval is its first key and
// the first behind it.
func (s *set) prefix(p netip.Prefix) {
	s.Interval = true
	first, last := p.Masked().Addr().AsSlice(), lastOf(p)
	s.elements = append(s.elements, nftables.SetElement{Key: first})
	if behind, _ := netip.AddrFromSlice(last); behind.Next().IsValid() {
		s.elements = append(s.elements, nftables.SetElement{Key: behind.Next().AsSlice(), IntervalEnd: true})
	}
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) []byte {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return b
}

// ifname is a name as nftables keeps it: padded to IFNAMSIZ.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// mac is an Ethernet address as a part of a key: padded to whole registers.
func mac(m ether.MAC) []byte { return append(m[:], 0, 0) }

// field is a part of a key: where it stands in a packet, and its type.
type field struct {
	kind nftables.SetDatatype
	load expr.Any // its register is set by key
}

var (
	iifField    = field{nftables.TypeIFName, &expr.Meta{Key: expr.MetaKeyIIFNAME}}
	oifField    = field{nftables.TypeIFName, &expr.Meta{Key: expr.MetaKeyOIFNAME}}
	sdifField   = field{nftables.TypeIFName, &expr.Meta{Key: metaSDIFNAME}}
	etherSource = field{nftables.TypeEtherAddr, &expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6}}
	source4     = field{nftables.TypeIPAddr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: saddr4, Len: 4}}
	dest4       = field{nftables.TypeIPAddr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: daddr4, Len: 4}}
	source6     = field{nftables.TypeIP6Addr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: saddr6, Len: 16}}
	dest6       = field{nftables.TypeIP6Addr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: daddr6, Len: 16}}
	// The packet that an ICMP error is about begins behind the 8 octets of its header
	// (RFC 792; RFC 4443, Section 3).
	quotedSource4 = field{nftables.TypeIPAddr, &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 8 + saddr4, Len: 4}}
	quotedDest4   = field{nftables.TypeIPAddr, &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 8 + daddr4, Len: 4}}
	quotedSource6 = field{nftables.TypeIP6Addr, &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 8 + saddr6, Len: 16}}
	quotedDest6   = field{nftables.TypeIP6Addr, &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 8 + daddr6, Len: 16}}
	// The target of a neighbour advertisement (RFC 4861, Section 4.4).
	target6 = field{nftables.TypeIP6Addr, &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 8, Len: 16}}
	// Sender's addresses in ARP over Ethernet (RFC 826).
	arpEther = field{nftables.TypeEtherAddr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 6}}
	arpIP    = field{nftables.TypeIPAddr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 14, Len: 4}}
)

// key loads fields into registers that follow each other, each padded to 4 octets.
func key(fields ...field) (m match) {
	at := uint32(0)
	for _, f := range fields {
		register := unix.NFT_REG32_00 + at/4
		if at%16 == 0 {
			register = unix.NFT_REG_1 + at/16 // another name of the same; nft uses it
		}
		switch load := f.load.(type) {
		case *expr.Meta:
			m = append(m, &expr.Meta{Key: load.Key, Register: register})
		case *expr.Payload:
			m = append(m, &expr.Payload{Base: load.Base, Offset: load.Offset, Len: load.Len, DestRegister: register})
		}
		at += (f.kind.Bytes + 3) &^ 3
	}
	return m
}

func kinds(fields ...field) (list []nftables.SetDatatype) {
	for _, f := range fields {
		list = append(list, f.kind)
	}
	return list
}

// among matches packets whose key is in a set, notAmong all others.
// among matches a key that is in a set. It is no map: Linux 6.1, which Debian 12 has, refuses to look for
// the keys of one without their values.
func among(s *set, fields ...field) match    { return append(key(fields...), s.lookup(false)) }
func notAmong(s *set, fields ...field) match { return append(key(fields...), s.lookup(true)) }

func (s *set) lookup(invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: s.Name, SetID: s.ID, Invert: invert}
}

// overRate matches packets beyond so many a second, and a burst, for each key.
func overRate(s *set, perSecond uint64, burst uint32, fields ...field) match {
	return append(key(fields...), &expr.Dynset{
		SrcRegKey: reg, SetName: s.Name, SetID: s.ID, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE),
		Exprs: []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: perSecond, Unit: expr.LimitTimeSecond, Burst: burst, Over: true}},
	})
}

// remember adds the key to a set; what follows happens only if it is there then.
func remember(s *set, fields ...field) match {
	return append(key(fields...), &expr.Dynset{SrcRegKey: reg, SetName: s.Name, SetID: s.ID, Operation: uint32(unix.NFT_DYNSET_OP_ADD)})
}
