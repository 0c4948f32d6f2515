package firewall

import (
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Peer is a neighbour on an uplink that is never limited.
type Peer struct {
	Interface string
	Address   netip.Addr
}

// Bounds on how many neighbours the kernel notes because they ask for us on an uplink: the sender of an ARP request
// for an address of ours (arp_process: neigh_event_ns), the source of a neighbour or router solicitation
// (ndisc_recv_ns, ndisc_recv_rs: __neigh_lookup). All namespaces share its table. What we ask for ourselves is not
// limited: answers make no entries.
//
// Those who have got in are known: they may ask as often as they like. A new one gets in at once as long as there is
// room in the first rate. If there is none, it is noted that it has asked, and it gets in by the second rate when it
// asks again, as all do after a second (RFC 4861, Section 10, RETRANS_TIMER; Linux's ARP as well): who forges
// another source each time leaves that rate to others.
//
// With n entries of the table for each uplink (gc_thresh3 divided by [Shares]), n/4 are known, which all may be in
// the table, and n/8 more come in one burst of each rate. Afterwards an entry that was made for an ARP request can be evicted
// after 5 s (neigh_forced_gc), since the kernel answers without using it: with n/32 a second of each rate there are
// 5n/16. One that was made for a solicitation can't for up to 45 s if its sender answers for it (see [advertRate]): with
// n/256 a second there are 3n/8. The sum is seven eighths of the table at the most. A fabric of 1,000 hosts that all ask at once,
// as after a power cut, with four entries each (docs/scale.md) is in after a second: 500 at once, 500 when they
// ask again.
const (
	knownShare = 4
	burstShare = 8
	rateShare4 = 32
	rateShare6 = 256

	defaultRoom = 1024 // gc_thresh3, neigh_table_init (arp_tbl, nd_tbl)

	knownTime   = time.Hour       // after which one that has not asked is new again
	waitingTime = 4 * time.Second // in which one asks again: Linux gives up after three questions, one a second
	waitingRoom = 65536           // who asked once: 16,000 a second
)

// Shares returns in how many parts a table is divided among uplinks: so many as there are, or a few more, so that
// the tables are seldom replaced when one comes or goes.
func Shares(uplinks int) uint32 {
	n := uint32(2)
	for n < uint32(uplinks) {
		n *= 2
	}
	return n
}

// asking is who asks for us on uplinks, in one family.
type asking struct {
	rate          uint64 // a second, of each uplink
	burst         uint32
	peers         *set
	known         *set
	waiting       *set
	first, second *set
}

// asking makes the sets of a family.
func (b *builder) asking(suffix string, room uint32, address field) asking {
	if room == 0 {
		room = defaultRoom / Shares(len(b.spec.Uplinks))
	}
	types := kinds(iifField, address)
	share, family := uint32(rateShare4), uint8(unix.AF_INET)
	if address.kind == nftables.TypeIP6Addr {
		share, family = rateShare6, unix.AF_INET6
	}
	a := asking{rate: uint64(max(1, room/share)), burst: max(8, room/burstShare),
		peers:   b.set("peers"+suffix, "neighbours of the configuration on uplinks", types...),
		known:   b.remembered("known"+suffix, "neighbours that have asked for us on uplinks", max(16, room*Shares(len(b.spec.Uplinks))/knownShare), knownTime, types...),
		waiting: b.remembered("waiting"+suffix, "new ones that have asked once", waitingRoom, waitingTime, types...),
		first:   b.rates("first"+suffix, "new neighbours on uplinks", iifField),
		second:  b.rates("second"+suffix, "new ones that ask again", iifField),
	}
	a.known.seed = &seed{family, b.spec.Uplinks}
	for _, p := range b.spec.Peers {
		if int(8*address.kind.Bytes) == p.Address.BitLen() {
			a.peers.add(ifname(p.Interface), p.Address.WithZone("").AsSlice())
		}
	}
	return a
}

// limit makes the chain, and the one it goes to, that bound who asks by the interface in one field and the sender's
// address in another. It returns the name.
func (b *builder) limit(a asking, name string, in, address field) string {
	flooded := b.flooded(name, in)
	c := chain{name: name}
	c.add(among(a.peers, in, address), accept())
	c.add(among(a.known, in, address), refresh(a.known, in, address), accept())
	c.add(among(a.waiting, in, address), hop(name+"_again"))
	c.add(remember(a.waiting, in, address))
	c.add(overRate(a.first, a.rate, a.burst, in), hop(flooded))
	c.add(remember(a.known, in, address), accept()) // unless it is full
	c.add(accept())
	b.put(c)
	again := chain{name: name + "_again"}
	again.add(overRate(a.second, a.rate, a.burst, in), hop(flooded))
	again.add(remember(a.known, in, address), accept())
	again.add(accept())
	b.put(again)
	return name
}

const neighbourFlood = "neighbour-flood"

// fromUplink bounds who asks by ARP. Others' questions are none of ours: the kernel makes no entry for them.
func (b *builder) fromUplink() string {
	a := b.asking("4", b.spec.Room4, arpIP)
	local := b.set("local4", "addresses of ours", nftables.TypeIPAddr)
	for _, l := range only4(b.spec.Local) {
		local.add(l.AsSlice())
	}
	c := chain{name: "from_uplink"}
	c.add(network(6, 2, isNot(binaryutil.BigEndian.PutUint16(1))), accept()) // no request
	c.add(notAmong(local, arpTarget), accept())
	c.add(network(14, 4, is(netip.IPv4Unspecified().AsSlice())), accept()) // a probe (RFC 5227, Section 1.1) makes no entry
	c.add(hop(b.limit(a, "asks4", iifField, arpIP)))
	b.put(c)
	return c.name
}

// uplinkDiscovery bounds who asks by neighbour discovery. It adds rules to chain input.
func (b *builder) uplinkDiscovery(c *chain) {
	a := b.asking("6", b.spec.Room6, source6)
	ask := func(name string, in field) {
		c.add(among(b.uplinks, in), b.icmp6(icmp6RouterSolicit, icmp6Solicit), notFromNowhere(), hop(b.limit(a, name, in, source6)))
	}
	if ask("asks6", b.fromNeighbor()); b.spec.VRF {
		ask("asks6_vrf", b.from())
	}
}

// notFromNowhere matches what has a source: duplicate address detection has none (RFC 4862, Section 5.4.2), and makes
// no entry.
func notFromNowhere() match {
	return join(ipv6, network(saddr6, 16, isNot(netip.IPv6Unspecified().AsSlice())))
}

// arpTarget is the address that is asked for, in ARP over Ethernet (RFC 826).
var arpTarget = field{nftables.TypeIPAddr, &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 4}}

// refresh begins the time anew after which a set forgets a key.
func refresh(s *set, fields ...field) match {
	return append(key(fields...), &expr.Dynset{SrcRegKey: reg, SetName: s.Name, SetID: s.ID, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE)})
}
