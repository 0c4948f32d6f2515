package firewall

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

// reg is the register that every comparison uses, and in which every key begins: values
// never outlive the next expression.
const reg = unix.NFT_REG_1

func meta(key expr.MetaKey, then ...expr.Any) match {
	return append(match{&expr.Meta{Key: key, Register: reg}}, then...)
}

func is(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

func isNot(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data} }

func iif(s *set) match    { return among(s, iifField) }
func notIIF(s *set) match { return notAmong(s, iifField) }
func oif(s *set) match    { return among(s, oifField) }
func notOIF(s *set) match { return notAmong(s, oifField) }

func family(nfproto byte) match { return meta(expr.MetaKeyNFPROTO, is([]byte{nfproto})) }

var (
	ipv4 = family(unix.NFPROTO_IPV4)
	ipv6 = family(unix.NFPROTO_IPV6)
)

// ethernet matches frames whose source is where a key with etherSource looks for it.
var ethernet = meta(expr.MetaKeyIIFTYPE, is(binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)))

func protocol(p byte) match { return meta(expr.MetaKeyL4PROTO, is([]byte{p})) }

// dport matches the destination port of TCP, UDP and others that have it in the
// same place.
func dport(proto byte, port uint16) match {
	return join(protocol(proto), transport(2, 2, is(binaryutil.BigEndian.PutUint16(port))))
}

func sport(port uint16) match {
	return transport(0, 2, is(binaryutil.BigEndian.PutUint16(port)))
}

// dports matches one of several ports.
func (b *builder) dports(proto byte, ports ...uint16) match {
	var values [][]byte
	for _, p := range ports {
		values = append(values, append(binaryutil.BigEndian.PutUint16(p), 0, 0)[:2])
	}
	return join(protocol(proto), transport(2, 2, b.oneOf(nftables.TypeInetService, values...).lookup(false)))
}

// icmp and icmp6 match one of several types.
func (b *builder) icmp(types ...byte) match {
	return join(ipv4, protocol(unix.IPPROTO_ICMP), b.icmpType(nftables.TypeICMPType, types))
}

func (b *builder) icmp6(types ...byte) match {
	return join(protocol(unix.IPPROTO_ICMPV6), b.icmpType(nftables.TypeICMP6Type, types))
}

func (b *builder) icmpType(kind nftables.SetDatatype, types []byte) match {
	if len(types) == 1 {
		return transport(0, 1, is(types))
	}
	var values [][]byte
	for _, t := range types {
		values = append(values, []byte{t})
	}
	return transport(0, 1, b.oneOf(kind, values...).lookup(false))
}

// icmp6Error matches ICMPv6 types below 128 (RFC 4443, Section 2.1).
func icmp6Error() match {
	return join(protocol(unix.IPPROTO_ICMPV6), transport(0, 1, &expr.Cmp{Op: expr.CmpOpLt, Register: reg, Data: []byte{128}}))
}

func transport(offset, length uint32, then expr.Any) match {
	return match{&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}, then}
}

// Offsets of the addresses in the network header.
const (
	saddr4, daddr4 = 12, 16
	saddr6, daddr6 = 8, 24
)

func network(offset, length uint32, then ...expr.Any) match {
	load := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
	return append(match{load}, then...)
}

func masked(mask ...byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
}

// source matches one source address.
func source(a netip.Addr) match {
	if a.Is4() {
		return join(ipv4, network(saddr4, 4, is(a.AsSlice())))
	}
	return join(ipv6, network(saddr6, 16, is(a.AsSlice())))
}

// linkLocal matches IPv6 sources in fe80::/10, or all others.
func linkLocal(yes bool) match { return inLinkLocal(saddr6, yes) }

// toLinkLocal, unicast6 and multicast6 match IPv6 destinations: in fe80::/10, outside of ff00::/8, and in it.
func toLinkLocal() match { return inLinkLocal(daddr6, true) }
func unicast6() match    { return join(ipv6, network(daddr6, 1, isNot([]byte{0xff}))) }
func multicast6() match  { return join(ipv6, network(daddr6, 1, is([]byte{0xff}))) }

func inLinkLocal(offset uint32, yes bool) match {
	compare := is
	if !yes {
		compare = isNot
	}
	mask, want := [16]byte{0xff, 0xc0}, [16]byte{0xfe, 0x80}
	return join(ipv6, network(offset, 16, masked(mask[:]...), compare(want[:])))
}

// options matches IPv4 headers of more than 5 words (RFC 791, Section 3.1).
func options() match {
	return join(ipv4, network(0, 1, masked(0x0f), &expr.Cmp{Op: expr.CmpOpGt, Register: reg, Data: []byte{5}}))
}

// fragment4 matches all fragments: more of them follow, or the offset is not 0.
func fragment4() match { return join(ipv4, network(6, 2, masked(0x3f, 0xff), isNot([]byte{0, 0}))) }

func fragment6() match { return inFragments6(1) }

// whole6 matches IPv6 packets that are not fragments.
func whole6() match { return inFragments6(0) }

func inFragments6(present byte) match {
	return join(ipv6, match{
		&expr.Exthdr{DestRegister: reg, Type: unix.IPPROTO_FRAGMENT, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOpIpv6}, is([]byte{present})})
}

// later6 matches fragments whose offset is not 0: there is nothing of the transport
// header in them.
func later6() match {
	return join(ipv6, match{
		&expr.Exthdr{DestRegister: reg, Type: unix.IPPROTO_FRAGMENT, Offset: 2, Len: 2, Op: expr.ExthdrOpIpv6}, masked(0xff, 0xf8), isNot([]byte{0, 0})})
}

// rtnLocal is RTN_LOCAL: an address of ours. rtnUnicast is that of others.
var (
	rtnLocal   = binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)
	rtnUnicast = binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST)
)

func destinationType(then expr.Any) match {
	return match{&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, then}
}

// ours matches packets whose source is an address of the interface that they came from.
func ours() match {
	return match{&expr.Fib{Register: reg, FlagSADDR: true, FlagIIF: true, ResultADDRTYPE: true}, is(rtnLocal)}
}

// noReturnRoute matches packets whose source is not routed to the interface that they
// came from, by their mark if there are marks.
func noReturnRoute(marked bool) match {
	return match{
		&expr.Fib{Register: reg, FlagSADDR: true, FlagMARK: marked, FlagIIF: true, ResultOIF: true},
		is(binaryutil.NativeEndian.PutUint32(0)),
	}
}

// newFlow matches tracked packets that are the first of their flow: connection tracking
// makes their entry a confirmed one (IPS_CONFIRMED) when they leave the last hook. State
// "new" would match all packets of a flow that nobody answers, a stream of RTP or syslog.
func newFlow() match {
	const confirmed = 1 << 3
	return match{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg}, masked(binaryutil.NativeEndian.PutUint32(confirmed)...), is([]byte{0, 0, 0, 0})}
}

// beyond matches packets beyond so many a second, and a burst, of all that come here.
func beyond(perSecond uint64, burst uint32) match {
	return match{&expr.Limit{Type: expr.LimitTypePkts, Rate: perSecond, Unit: expr.LimitTimeSecond, Burst: burst, Over: true}}
}

func accept() match  { return match{&expr.Verdict{Kind: expr.VerdictAccept}} }
func back() match    { return match{&expr.Verdict{Kind: expr.VerdictReturn}} }
func notrack() match { return match{&expr.Notrack{}} }

func jump(chain string) match {
	return match{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

func hop(chain string) match {
	return match{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// translate rewrites the destination address as a map says.
func translate(m *set, nfproto byte, f field) match {
	return join(family(nfproto), key(f), match{
		&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(nfproto), RegAddrMin: reg},
	})
}
