package firewall

import (
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Types of ICMP errors: destination unreachable, source quench, redirect, time exceeded,
// parameter problem (RFC 792).
var icmpErrors = []byte{3, 4, 5, 11, 12}

// Types that ask, answer, and concern neighbours.
const (
	icmpEchoReply, icmpEcho   = 0, 8
	icmp6Echo, icmp6EchoReply = 128, 129
	icmp6Solicit, icmp6Advert = 135, 136
	icmp6RouterSolicit        = 133
	icmp6RouterAdvert         = 134
	icmp6Redirect             = 137
	icmp6Parameter            = 4
	icmp6Listeners, icmp6Gone = 131, 132
	icmp6Listeners2           = 143
)

// What one guest may have the kernel do, a second.
const (
	// Fragments that are put together, for 30 s at the most (ipfrag_time), each with some
	// 2.3 KB of what all share (ipfrag_high_thresh; see domain.Sysctls). A whole ping of
	// 64 KiB has 45, hence the burst.
	guestFragments   = 8
	fragmentBurst    = 64
	trackedFragments = 50 // for one transparent address; see [builder.track]

	newFlows, flowBurst = 500, 5000 // that are tracked, for one transparent address
	guestErrors         = 1         // ICMP errors taken in, each of which may make a route exception of 600 s
	errorBurst          = 8
	parameterProblems   = 8 // ICMPv6 errors that we send, to all: see [builder.errorsSent]
	parameterBurst      = 16
	guestDHCP           = 20 // requests: all guests share the server's socket
	dhcpBurst           = 40

	rateTime    = time.Minute      // after which a rate that is not used is forgotten
	resolveTime = 30 * time.Second // after which an address counts as new
)

// guestSets makes the sets of what guests are and have.
func (b *builder) guestSets() {
	b.guests = b.names("guests", "attached", nil)
	b.gateways4 = b.set("gateways4", "what guests may ping", kinds(iifField, dest4)...)
	b.gateways6 = b.set("gateways6", "", kinds(iifField, dest6)...)
	b.neighbors6 = b.set("neighbors6", "whose solicitations the kernel hears: it has a permanent entry", kinds(iifField, etherSource, source6)...)
	b.resolved6 = b.set("resolved6", "the same, for guests whom the kernel must ask", kinds(iifField, source6)...)
	b.own4, b.own6 = b.own("prefixes4", source4, 32), b.own("prefixes6", source6, 64, 128)
	b.translated, b.translatedTo, b.translatedBy = map[byte]*set{}, map[byte]*set{}, map[byte]*set{}
	for _, g := range b.spec.Guests {
		name := ifname(g.Interface)
		b.guests.add(name)
		for _, a := range g.Gateways {
			if a.Is4() {
				b.gateways4.add(name, a.AsSlice())
			} else {
				b.gateways6.add(name, a.AsSlice())
			}
		}
		for _, a := range g.Neighbors {
			switch {
			case a.Is4(): // see arpTable
			case g.Resolved || g.MAC.IsZero():
				b.resolved6.add(name, a.AsSlice())
			default:
				b.neighbors6.add(name, mac(g.MAC), a.AsSlice())
			}
		}
		for _, p := range g.Prefixes {
			if b.own4.has(p) {
				b.own4.add(name, p)
			} else {
				b.own6.add(name, p)
			}
		}
		b.translations(g)
	}
}

// translations adds a guest's transparent addresses. What the guest sends from its own
// address behind one is tracked as well: only connection tracking knows whether it is an
// answer.
func (b *builder) translations(g Guest) {
	for _, t := range g.Translations {
		f := ip4
		if t.Address.Is6() {
			f = ip6
		}
		m := b.translated[f.proto]
		if m == nil {
			m = b.set("transparent"+f.suffix, "translated to guests' own", f.dest.kind)
			m.IsMap, m.DataType = true, f.dest.kind
			b.translated[f.proto] = m
			b.translatedTo[f.proto] = b.set("to_transparent"+f.suffix, "the keys of transparent"+f.suffix, f.dest.kind)
			b.translatedBy[f.proto] = b.set("behind_transparent"+f.suffix, "", kinds(iifField, f.source)...)
		}
		m.elements = append(m.elements, nftables.SetElement{Key: t.Address.AsSlice(), Val: t.To.AsSlice()})
		b.translatedTo[f.proto].add(t.Address.AsSlice())
		b.translatedBy[f.proto].add(ifname(g.Interface), t.To.AsSlice())
	}
}

// fromGuest is what holds for every packet from a guest, wherever it is to go.
func (b *builder) fromGuest() {
	c := chain{name: "from_guest"}
	c.add(ipv6, hop("from_guest6"))
	// RFC 7126, Section 4, lets most options pass by default and advises to make it configurable; on
	// the way from a guest none of them has a use, and the answer to a timestamp shows an
	// address of ours.
	c.drop("ip-options", options())
	b.toBePutTogether(&c, ip4)
	b.sources4(&c)
	c.add(ip4.errors(b), hop("errors4"))
	b.put(c)
	b.put(b.fromGuest6())
}

// sources4 is not left to rp_filter: the kernel looks at sources only after it has found
// a route to the destination (ip_route_input_slow), so that a packet to an unreachable
// prefix is answered with an ICMP error to whomever it names as its sender, in the private
// network, too. And strict rp_filter takes any interface of a VRF for the right one. A
// guest's own prefixes come first, since nftables looks routes up as lo does, for which
// there is not always a rule that leads to the guests' table. A client without an address
// speaks from 0.0.0.0 to a DHCP server (RFC 2131, Section 4.1).
func (b *builder) sources4(c *chain) {
	c.add(source(ip4.unspecified), dport(unix.IPPROTO_UDP, 67), sport(68), accept())
	c.drop("spoofed-source", ipv4, b.own4.without(source4), noReturnRoute(len(b.spec.Marks) > 0))
}

func (b *builder) fromGuest6() chain {
	c := chain{name: "from_guest6"}
	b.toBePutTogether(&c, ip6)
	// Duplicate address detection (RFC 4862, Section 5.4.2), router solicitations and
	// listener reports come from nowhere.
	c.add(source(ip6.unspecified), b.icmp6(icmp6RouterSolicit, icmp6Solicit, icmp6Listeners2), accept())
	// What has our own link-local address as its source would be answered to ourselves.
	c.drop("spoofed-source", linkLocal(true), ours())
	c.drop("spoofed-source", linkLocal(false), noReturnRoute(len(b.spec.Marks) > 0))
	b.offLink(&c)
	// nftables reads what is in a later fragment of IPv6 as if it were a transport header
	// (seen on Linux 6.18; not in IPv4). Without the first one, which is looked at, it comes
	// to nothing.
	c.add(later6(), accept())
	c.add(ip6.errors(b), hop("errors6"))
	return c
}

// offLink: "Routers must not forward any packets with Link-Local source or destination
// addresses to other links" (RFC 4291, Section 2.5.6). Linux does not, but it tells the
// source so, or looks for the destination where it came from, before a rule of chain
// forward is asked (ip6_forward): a neighbour entry for each that is made up.
func (b *builder) offLink(c *chain) {
	c.drop("link-local-forwarded", toLinkLocal(), destinationType(isNot(rtnLocal)))
	c.drop("link-local-forwarded", linkLocal(true), unicast6(), destinationType(isNot(rtnLocal)))
}

// errorsSent bounds the errors by which the kernel answers before a rule of ours is asked:
// it reads hop-by-hop options on the way in (ip6_rcv_core, ipv6_parse_hopopts), from
// whatever source on whatever interface. Each may have it ask for a neighbour.
func (b *builder) errorsSent(c *chain) {
	c.drop("icmp-error-sent", notOIF(b.uplinks), notOIF(b.host), icmp6Error(), toLinkLocal())
	c.drop("icmp-error-sent", b.icmp6(icmp6Parameter), beyond(parameterProblems, parameterBurst))
}

// toBePutTogether bounds the fragments that the hypervisor keeps of one guest: of what is sent to it, and to all on a link
// (224.0.0.1, broadcast, ff02::1), which it puts together as well.
func (b *builder) toBePutTogether(c *chain, f ip) {
	kept := []match{destinationType(isNot(rtnUnicast))}
	if f.proto == unix.NFPROTO_IPV6 { // other routes than those of table local are looked up there
		kept = []match{destinationType(is(rtnLocal)), multicast6()}
	}
	rates := b.rates("fragments"+f.suffix, "to the hypervisor", iifField)
	for _, to := range kept {
		c.drop("fragments", f.fragment, to, overRate(rates, guestFragments, fragmentBurst, iifField))
	}
}

// errors: RFC 5927, Section 4.1, and RFC 8201, Section 6: a guest's ICMP error is about a
// packet that was sent to the guest. A redirect or a source quench (RFC 6633, Section 3) never is of
// use. One whose quotation does not show that, because it is in another fragment, is
// dropped as well.
func (b *builder) errors() {
	c4, c6 := chain{name: "errors4"}, chain{name: "errors6"}
	for m := range b.own4.with(quotedDest4) {
		c4.add(b.icmp(3, 11, 12), m, accept())
	}
	c4.drop("icmp-error")
	for m := range b.own6.with(quotedDest6) {
		c6.add(m, accept())
	}
	c6.drop("icmp-error")
	b.put(c4)
	b.put(c6)
}

// toHypervisor is what guests may say to the hypervisor itself.
func (b *builder) toHypervisor(c *chain) {
	in := b.from()
	c.add(ipv6, protocol(unix.IPPROTO_ICMPV6), hop("icmpv6"))
	b.knownLinkLocal(c)
	c.drop("icmp-error", b.icmp(icmpErrors...), overRate(b.rates("errors4_rate", "ICMP errors to the hypervisor", in), guestErrors, errorBurst, in))
	c.add(b.icmp(append([]byte{icmpEchoReply}, icmpErrors...)...), accept())
	c.add(b.icmp(icmpEcho), among(b.gateways4, in, dest4), accept())
	// DHCP clients send from port 68 to port 67: RFC 2131, Section 4.1.
	dhcp := join(ipv4, dport(unix.IPPROTO_UDP, 67), sport(68))
	c.drop("dhcp-flood", dhcp, overRate(b.rates("dhcp_rate", "DHCP requests", in), guestDHCP, dhcpBurst, in))
	c.add(dhcp, accept())
	for _, p := range b.spec.Open {
		c.add(dport(p.Protocol, p.Port), accept())
	}
	c.drop("guest-to-hypervisor")
}

// knownLinkLocal: the answer to a link-local address that has no permanent entry would
// make the kernel ask for it, and keep what it heard, or did not hear.
func (b *builder) knownLinkLocal(c *chain) {
	in := b.from()
	c.drop("link-local-unknown", linkLocal(true), ethernet, notAmong(b.neighbors6, in, etherSource, source6), notAmong(b.resolved6, in, source6))
}

// icmp6Input: the kernel makes an entry for the source of a neighbour solicitation
// (ndisc_recv_ns: __neigh_lookup with creat) and of a router solicitation
// (ndisc_recv_rs), and for whom it answers (ip6_finish_output2). It hears those for whom
// it has one already; the daemon answers all others, from a packet socket that hears them
// before they are dropped here.
func (b *builder) icmp6Input() chain {
	c := chain{name: "icmpv6"}
	in, neighbor := b.from(), b.fromNeighbor()
	// The kernel puts IPv6 fragments together behind this chain; see fromGuest.
	c.add(later6(), accept())
	c.add(source(ip6.unspecified), b.icmp6(icmp6Solicit), accept())
	c.add(ipv6, ethernet, b.icmp6(icmp6Solicit), among(b.neighbors6, neighbor, etherSource, source6), accept())
	c.add(ipv6, b.icmp6(icmp6Solicit), among(b.resolved6, neighbor, source6), accept())
	c.add(b.icmp6(icmp6Advert), among(b.resolved6, neighbor, target6), accept())
	c.leave(b.icmp6(icmp6RouterSolicit, icmp6Solicit, icmp6Advert))
	c.add(b.icmp6(icmp6Listeners, icmp6Gone, icmp6Listeners2), accept())
	b.knownLinkLocal(&c)
	c.drop("icmp-error", icmp6Error(), overRate(b.rates("errors6_rate", "ICMPv6 errors to the hypervisor", in), guestErrors, errorBurst, in))
	c.add(icmp6Error(), accept())
	c.add(b.icmp6(icmp6EchoReply), accept())
	c.add(ipv6, b.icmp6(icmp6Echo), among(b.gateways6, in, dest6), accept())
	c.drop("guest-to-hypervisor")
	return c
}

// from is the interface that a packet to the hypervisor came in on.
func (b *builder) from() field {
	if b.spec.VRF {
		return sdifField
	}
	return iifField
}

// fromNeighbor is the same of neighbour discovery. In a VRF it is on the interface that it came in on, which therefore is
// not that "by which it came into its VRF": vrf_ip6_rcv, "if packet is NDISC then keep the ingress interface". What has an
// extension header before its ICMPv6 is not taken for neighbour discovery there (ipv6_ndisc_frame), and is as all else: from a
// guest, no solicitation or advertisement of that kind is heard.
func (b *builder) fromNeighbor() field { return iifField }
