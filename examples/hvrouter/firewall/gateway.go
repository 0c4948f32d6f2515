package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// Gateway is the bridge of an overlay on which the hypervisor is the router of the guests that are here. What comes from it
// is forwarded to the bridges of the same tenant alone, and reaches the hypervisor only as ping, ARP and
// neighbour solicitations. What comes through the overlay from other hypervisors is not routed: they do that themselves.
type Gateway struct {
	Bridge string
	// Tenant is what gateways that route to each other have in common. It is not 0, and is the mark of what comes from
	// the bridge.
	Tenant uint32
	// Addresses are the hypervisor's on the bridge.
	Addresses []netip.Addr
	// Stations are the guests that are here.
	Stations []Station
}

// Station is a guest on an overlay: what it sends to the gateway comes from this MAC and one of these addresses.
type Station struct {
	MAC       ether.MAC
	Addresses []netip.Addr
}

func normalGateways(list []Gateway) []Gateway {
	out := slices.Clone(list)
	for i := range out {
		g := &out[i]
		g.Addresses, g.Stations = distinct(g.Addresses), slices.Clone(g.Stations)
		for j := range g.Stations {
			g.Stations[j].Addresses = distinct(g.Stations[j].Addresses)
		}
		slices.SortFunc(g.Stations, func(a, b Station) int { return slices.Compare(a.MAC[:], b.MAC[:]) })
	}
	slices.SortFunc(out, func(a, b Gateway) int { return strings.Compare(a.Bridge, b.Bridge) })
	return out
}

// gateways is the sets of the gateways of overlays. There are none without one.
type gateways struct {
	bridges   *set // all of them
	tenants   *set // a map: the tenant of each bridge
	pairs     *set // bridges of one tenant, each with each
	to4, to6  *set // the addresses of a tenant's gateways, by each of its bridges
	stations4 *set // see [Station]
	stations6 *set
	linkLocal *set // the link-local addresses of stations that follow from their MACs
}

func (b *builder) gatewaySets() {
	if len(b.spec.Gateways) == 0 {
		return
	}
	g := &gateways{
		bridges:   b.names("gateways", "bridges of overlays on which we route", nil),
		tenants:   b.set("tenants", "to whom bridges belong", nftables.TypeIFName),
		pairs:     b.set("tenant_pairs", "bridges of one tenant", kinds(iifField, oifField)...),
		to4:       b.set("overlay_gateways4", "what guests on overlays may ping", kinds(iifField, dest4)...),
		to6:       b.set("overlay_gateways6", "", kinds(iifField, dest6)...),
		stations4: b.set("stations4", "guests on overlays that are here", kinds(iifField, etherSource, source4)...),
		stations6: b.set("stations6", "", kinds(iifField, etherSource, source6)...),
		linkLocal: b.set("stations_link", "their link-local addresses", kinds(iifField, etherSource, source6)...),
	}
	g.tenants.IsMap, g.tenants.DataType = true, nftables.TypeMark
	b.gateways = g
	for _, one := range b.spec.Gateways {
		name := ifname(one.Bridge)
		g.bridges.add(name)
		g.tenants.elements = append(g.tenants.elements, nftables.SetElement{Key: name, Val: binaryutil.NativeEndian.PutUint32(one.Tenant)})
		for _, other := range b.spec.Gateways {
			if other.Tenant == one.Tenant {
				g.pairs.add(name, ifname(other.Bridge))
				g.addresses(name, other.Addresses)
			}
		}
		for _, s := range one.Stations {
			g.station(name, s)
		}
	}
}

func (g *gateways) addresses(name []byte, list []netip.Addr) {
	for _, a := range list {
		if a.Is4() {
			g.to4.add(name, a.AsSlice())
		} else {
			g.to6.add(name, a.AsSlice())
		}
	}
}

func (g *gateways) station(name []byte, s Station) {
	own := s.MAC.LinkLocal()
	g.linkLocal.add(name, mac(s.MAC), own[:])
	for _, a := range s.Addresses {
		if a.Is4() {
			g.stations4.add(name, mac(s.MAC), a.AsSlice())
		} else {
			g.stations6.add(name, mac(s.MAC), a.AsSlice())
		}
	}
}

// markTenants has what comes from a bridge the mark of its tenant. What the kernel answers has it as well (fwmark_reflect), and is looked up by it.
func (g *gateways) markTenants(c *chain) {
	if g == nil {
		return
	}
	c.add(meta(expr.MetaKeyIIFNAME,
		&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: g.tenants.Name, SetID: g.tenants.ID},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg}))
}

// toAll matches frames that are not sent to our MAC.
func toAll() match { return meta(expr.MetaKeyPKTTYPE, isNot([]byte{unix.PACKET_HOST})) }

// fromOverlay is what holds for every packet that comes from a bridge with a gateway. The source is bound to the guest: to
// its addresses and its MAC, and the MAC to its port, which is locked ([edge]). So nothing is routed that another VTEP has
// sent here, be it that it floods what is for the gateway's MAC, which is ours, too.
func (b *builder) fromOverlay() {
	g := b.gateways
	if g == nil {
		return
	}
	own4 := func(address field) match { return join(ethernet, among(g.stations4, iifField, etherSource, address)) }
	c := chain{name: "from_overlay"}
	c.add(ipv6, hop("from_overlay6"))
	c.drop("overlay-to-hypervisor", toAll())
	c.drop("ip-options", options())
	c.drop("spoofed-source", ipv4, ethernet, notAmong(g.stations4, iifField, etherSource, source4))
	// What is for all is not ours either: the kernel would put its fragments together before chain input.
	c.drop("overlay-to-hypervisor", ipv4, destinationType(isNot(rtnUnicast)), notAmong(g.to4, iifField, dest4))
	b.gatewayFragments(&c, ip4, g.to4)
	c.add(b.icmp(3, 11, 12), own4(quotedDest4), accept())
	c.drop("icmp-error", ip4.errors(b))
	b.put(c)
	b.put(b.fromOverlay6())
}

// fromOverlay6: the kernel hears no neighbour discovery in fragments (RFC 6980, Section 5), and what is in a later one is no
// transport header (see fromGuest6), so that nothing of one is let in, or dropped, as neighbour discovery.
func (b *builder) fromOverlay6() chain {
	g := b.gateways
	b.overlayDiscovery()
	c := chain{name: "from_overlay6"}
	c.add(whole6(), b.icmp6(icmp6RouterSolicit, icmp6RouterAdvert, icmp6Solicit, icmp6Advert, icmp6Redirect), hop("overlay_discovery"))
	c.drop("overlay-to-hypervisor", toAll())
	c.drop("link-local-forwarded", toLinkLocal())
	c.drop("spoofed-source", ipv6, ethernet, notAmong(g.stations6, iifField, etherSource, source6))
	c.drop("overlay-to-hypervisor", ipv6, destinationType(is(rtnLocal)), notAmong(g.to6, iifField, dest6))
	b.gatewayFragments(&c, ip6, g.to6)
	c.add(later6(), accept()) // see fromGuest6
	c.add(ipv6, icmp6Error(), ethernet, among(g.stations6, iifField, etherSource, quotedDest6), accept())
	c.drop("icmp-error", icmp6Error())
	return c
}

// overlayDiscovery: of neighbour discovery the kernel hears solicitations alone, of those for whom there is an entry, and of
// the link-local address that follows from the guest's MAC, of which it makes one: it makes entries of no others. Guests whose
// link-local address is another one (RFC 7217, Section 5) ask again from the address that they send from.
func (b *builder) overlayDiscovery() {
	g := b.gateways
	c := chain{name: "overlay_discovery"}
	c.add(source(ip6.unspecified), b.icmp6(icmp6Solicit), accept())
	c.add(ipv6, b.icmp6(icmp6Solicit), ethernet, among(g.stations6, iifField, etherSource, source6), accept())
	c.add(ipv6, b.icmp6(icmp6Solicit), ethernet, among(g.linkLocal, iifField, etherSource, source6), accept())
	c.drop("overlay-to-hypervisor")
	b.put(c)
}

// gatewayFragments bounds the fragments that the hypervisor keeps of one guest: those of pings.
func (b *builder) gatewayFragments(c *chain, f ip, to *set) {
	c.drop("fragments", f.fragment, among(to, iifField, f.dest), ethernet,
		overRate(b.rates("fragments"+f.suffix+"_overlay", "to gateways of overlays", iifField, etherSource), guestFragments, fragmentBurst, iifField, etherSource))
}

// toGateway is what guests on overlays may say to the hypervisor itself.
func (b *builder) toGateway() {
	g := b.gateways
	if g == nil {
		return
	}
	c := chain{name: "to_gateway"}
	// The kernel puts IPv6 fragments together behind this chain; see fromOverlay6.
	c.drop("overlay-to-hypervisor", fragment6(), notAmong(g.to6, iifField, dest6))
	c.add(later6(), accept())
	c.add(b.icmp(icmpEcho), among(g.to4, iifField, dest4), accept())
	c.add(ipv6, b.icmp6(icmp6Echo), among(g.to6, iifField, dest6), accept())
	c.add(b.icmp6(icmp6Solicit), accept())
	c.drop("overlay-to-hypervisor")
	b.put(c)
}

// betweenTenants has what comes from a bridge with a gateway, or is to leave by one, stay with the tenant.
func (g *gateways) betweenTenants(c *chain) {
	if g == nil {
		return
	}
	c.add(among(g.pairs, iifField, oifField), unmark(), accept())
	c.drop("between-tenants", iif(g.bridges))
	c.drop("between-tenants", oif(g.bridges))
}

// unmark takes the mark from a packet that has been routed: VXLAN looks its own packets up by the mark of what is in them
// (udp_tunnel_dst_lookup), and the tenant's table does not lead to VTEPs.
func unmark() match {
	return match{&expr.Immediate{Register: reg, Data: make([]byte, 4)}, &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg}}
}

// fromGateway lets out what the kernel answers as a gateway: ICMP from an address of it.
func (g *gateways) fromGateway(c *chain) {
	if g == nil {
		return
	}
	c.add(ipv4, protocol(unix.IPPROTO_ICMP), among(g.to4, oifField, source4), unmark(), accept())
	c.add(ipv6, protocol(unix.IPPROTO_ICMPV6), among(g.to6, oifField, source6), unmark(), accept())
}

// gatewayARP has the kernel hear ARP on overlays with a gateway from guests that are here: it has an entry for each of them.
func (b *builder) gatewayARP(c *chain) {
	if len(b.spec.Gateways) == 0 {
		return
	}
	bridges := b.names("gateways", "bridges of overlays on which we route", nil)
	stations := b.set("stations", "guests on overlays that are here", kinds(iifField, etherSource, arpEther, arpIP)...)
	for _, g := range b.spec.Gateways {
		name := ifname(g.Bridge)
		bridges.add(name)
		for _, s := range g.Stations {
			for _, a := range only4(s.Addresses) {
				stations.add(name, mac(s.MAC), mac(s.MAC), a.AsSlice())
			}
		}
	}
	c.add(ethernet, among(stations, iifField, etherSource, arpEther, arpIP), accept())
	c.leave(iif(bridges))
}
