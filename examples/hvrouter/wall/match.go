package wall

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// match is a part of a rule; parts are joined with [join].
type match []expr.Any

func join(parts ...match) (m match) {
	for _, p := range parts {
		m = append(m, p...)
	}
	return m
}

// reg is the register that every comparison uses: values never outlive the next
// expression.
const reg = 1

func meta(key expr.MetaKey, then ...expr.Any) match {
	return append(match{&expr.Meta{Key: key, Register: reg}}, then...)
}

func is(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

func in(set *nftables.Set, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: set.Name, SetID: set.ID, Invert: invert}
}

func iif(set *nftables.Set) match    { return meta(expr.MetaKeyIIFNAME, in(set, false)) }
func notIIF(set *nftables.Set) match { return meta(expr.MetaKeyIIFNAME, in(set, true)) }
func oif(set *nftables.Set) match    { return meta(expr.MetaKeyOIFNAME, in(set, false)) }

func family(nfproto byte) match { return meta(expr.MetaKeyNFPROTO, is([]byte{nfproto})) }

func protocol(p byte) match { return meta(expr.MetaKeyL4PROTO, is([]byte{p})) }

// dport matches the destination port of TCP, UDP and others that have it in the
// same place.
func dport(proto byte, port uint16) match {
	return join(protocol(proto), transport(2, 2, is(binaryutil.BigEndian.PutUint16(port))))
}

func sport(port uint16) match {
	return transport(0, 2, is(binaryutil.BigEndian.PutUint16(port)))
}

func icmp6(kind byte) match {
	return join(protocol(unix.IPPROTO_ICMPV6), transport(0, 1, is([]byte{kind})))
}

func transport(offset, length uint32, then expr.Any) match {
	return match{&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}, then}
}

// Offsets of the addresses in the network header.
const (
	saddr4, daddr4 = 12, 16
	saddr6, daddr6 = 8, 24
)

// address compares a source or destination address; the offset says which.
func address(offset4, offset6 uint32, a netip.Addr) match {
	data := a.AsSlice()
	nfproto, offset := byte(unix.NFPROTO_IPV4), offset4
	if a.Is6() {
		nfproto, offset = unix.NFPROTO_IPV6, offset6
	}
	return join(family(nfproto), network(offset, uint32(len(data)), is(data)))
}

func network(offset, length uint32, then ...expr.Any) match {
	load := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
	return append(match{load}, then...)
}

// linkLocal matches sources in fe80::/10.
func linkLocal() match {
	return network(saddr6, 2,
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 2, Mask: []byte{0xff, 0xc0}, Xor: []byte{0, 0}},
		is([]byte{0xfe, 0x80}))
}

// noWayBack matches packets whose source is not routed to the interface that they
// came from, by their mark if there are marks.
func noWayBack(marked bool) match {
	return match{
		&expr.Fib{Register: reg, FlagSADDR: true, FlagMARK: marked, FlagIIF: true, ResultOIF: true},
		is(binaryutil.NativeEndian.PutUint32(0)),
	}
}

func accept() match  { return match{&expr.Verdict{Kind: expr.VerdictAccept}} }
func notrack() match { return match{&expr.Notrack{}} }

// translate rewrites the destination address.
func translate(to netip.Addr) match {
	nfproto := uint32(unix.NFPROTO_IPV4)
	if to.Is6() {
		nfproto = unix.NFPROTO_IPV6
	}
	return match{
		&expr.Immediate{Register: reg, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: nfproto, RegAddrMin: reg},
	}
}
