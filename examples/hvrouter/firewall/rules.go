package firewall

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Ports of BFD: single hop and echo (RFC 5881, Section 4), multihop (RFC 5883,
// Section 5); of BGP (RFC 4271, Section 8).
var bfdPorts = []uint16{3784, 3785, 4784}

const bgpPort = 179

// trackPriority is before fragments are put together (NF_IP_PRI_CONNTRACK_DEFRAG, -400):
// the kernel leaves those of untracked packets as they are (ipv4_conntrack_defrag, "Previously
// seen (loopback or untracked)? Ignore."), so that nobody's fragments wait for others'.
var trackPriority = nftables.ChainPriorityRef(*nftables.ChainPriorityRaw - 150)

// builder turns a spec into tables.
type builder struct {
	spec  Spec
	table *table
	ids   uint32

	host, uplinks, guests, isolated *set
	neighbors6, resolved6           *set // see guestSets
	own4, own6                      own
	gateways4, gateways6            *set
	translated                      map[byte]*set // by family: map of addresses
	translatedTo                    map[byte]*set // by family: the addresses that are translated
	translatedBy                    map[byte]*set // by family: guests' own addresses behind them
	gateways                        *gateways     // of overlays; nil: there are none
}

// build makes the tables of a spec: what IP says, and what ARP says, of which the inet
// family hears nothing.
func build(spec Spec) []*table {
	b := &builder{spec: spec, table: newTable(spec, nftables.TableFamilyINet)}
	b.chains()
	b.table.logged(spec.LogRate)
	if spec.MarksOnly {
		return []*table{b.table}
	}
	return []*table{b.table, arpTable(spec)}
}

func newTable(spec Spec, f nftables.TableFamily) *table {
	return &table{Table: &nftables.Table{Name: spec.Table, Family: f}}
}

func (b *builder) chains() {
	if !b.spec.MarksOnly {
		b.gatewaySets()
	}
	b.put(b.mark())
	if b.spec.MarksOnly {
		return
	}
	b.host = b.names("host", "our own interfaces besides uplinks", b.spec.Host)
	b.uplinks = b.names("uplinks", "towards the fabrics", b.spec.Uplinks)
	b.isolated = b.names("isolated", "bridges of overlays", b.spec.Isolated)
	b.guestSets()
	b.put(b.track())
	b.put(b.flows())
	b.put(b.raw())
	b.fromGuest()
	b.fromOverlay()
	b.errors()
	b.input()
	b.toGateway()
	b.forward()
	b.put(b.output())
	b.put(b.nat())
}

// put adds a chain that has rules.
func (b *builder) put(c chain) {
	if len(c.rules) > 0 {
		b.table.chains = append(b.table.chains, c)
	}
}

// track exempts from connection tracking what need not be tracked, so that nobody can
// fill its table with what is only forwarded. What is for the hypervisor itself, or on
// interfaces of its own, others may want to be tracked. Without a rule of others, and
// without translations, nothing is tracked anyway.
func (b *builder) track() chain {
	c := chain{name: "track", hook: nftables.ChainHookPrerouting, priority: trackPriority}
	for _, f := range families {
		if to := b.translatedTo[f.proto]; to != nil {
			by := b.translatedBy[f.proto]
			c.drop("fragments", f.fragment, among(to, f.dest), overRate(b.rates("fragments"+f.suffix+"_to", "to transparent addresses", f.dest), trackedFragments, fragmentBurst, f.dest))
			c.drop("fragments", f.fragment, among(by, iifField, f.source), overRate(b.rates("fragments"+f.suffix+"_by", "by guests behind them", iifField), trackedFragments, fragmentBurst, iifField))
			c.add(family(f.proto), among(to, f.dest), accept())
			c.add(family(f.proto), among(by, iifField, f.source), accept())
		}
	}
	c.add(iif(b.guests), notrack(), accept())
	c.add(iif(b.host), accept())
	c.add(notIIF(b.uplinks), notrack(), accept())
	c.add(destinationType(isNot(rtnLocal)), notrack(), accept())
	b.untracked(&c)
	return c
}

// untracked are the hypervisor's own sessions and tunnels.
func (b *builder) untracked(c *chain) {
	c.add(b.dports(unix.IPPROTO_UDP, append(append([]uint16{}, bfdPorts...), b.spec.VXLANPorts...)...), notrack())
	c.add(dport(unix.IPPROTO_TCP, bgpPort), notrack())
	c.add(protocol(unix.IPPROTO_TCP), sport(bgpPort), notrack())
}

// flows bounds how fast anybody makes the kernel track flows of one transparent address:
// its table is shared by all of them.
func (b *builder) flows() chain {
	c := chain{name: "flows", hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityMangle}
	for _, f := range families {
		if to := b.translatedTo[f.proto]; to != nil {
			by := b.translatedBy[f.proto]
			blocked := b.set(crowdedSet(f.unspecified), "with more than their part of the table", f.dest.kind)
			blocked.HasTimeout = true
			c.drop("flow-flood", newFlow(), family(f.proto), among(blocked, f.dest))
			c.drop("flow-flood", newFlow(), family(f.proto), among(blocked, f.source))
			c.drop("flow-flood", newFlow(), family(f.proto), among(to, f.dest), overRate(b.rates("flows"+f.suffix+"_to", "new flows to transparent addresses", f.dest), newFlows, flowBurst, f.dest))
			c.drop("flow-flood", newFlow(), family(f.proto), among(by, iifField, f.source), overRate(b.rates("flows"+f.suffix+"_by", "new flows of guests behind them", iifField), newFlows, flowBurst, iifField))
		}
	}
	return c
}

// crowdedSet is the set of the addresses of a family that get no new flows.
func crowdedSet(a netip.Addr) string {
	if a.Is4() {
		return "crowded4"
	}
	return "crowded6"
}

// raw is the first to see a packet: isolation, and what guests may say at all.
func (b *builder) raw() chain {
	c := chain{name: "raw", hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityRaw}
	c.add(iif(b.guests), hop("from_guest"))
	c.add(iif(b.uplinks), accept())
	c.add(iif(b.host), accept())
	if b.gateways != nil {
		c.add(iif(b.gateways.bridges), hop("from_overlay"))
	}
	c.drop("overlay-to-hypervisor", iif(b.isolated))
	// An interface that is neither ours nor an attached guest's has no rights: a tap before
	// it is attached and after, one that was renamed, one that nobody has told us of.
	c.drop("not-attached")
	return c
}

// Bounds on the router advertisements that the kernel hears of an uplink. Each is an entry of the neighbour table
// for its source (ndisc_router_discovery: __neigh_lookup), also where the kernel does nothing else with it. It can't be
// evicted for 5 s (neigh_forced_gc), and if its sender answers the daemon's question, for as long as it is reachable: up
// to 45 s (RFC 4861, Section 6.3.2: REACHABLE_TIME, MAX_RANDOM_FACTOR). With 205 a second from as many addresses the
// table of 1,024 (gc_thresh3) is full, and nobody new can be sent anything. So an uplink has some 200. A router
// sends no more than one to all in 3 s (RFC 4861, Section 10). The daemon hears them all the same: it has a socket that
// is before all rules.
const (
	advertRate  = 4
	advertBurst = 16
)

// input is the way to the hypervisor itself.
func (b *builder) input() {
	c := chain{name: "input", hook: nftables.ChainHookInput, priority: nftables.ChainPriorityFilter}
	if len(b.spec.VXLANPorts) > 0 {
		underlay := b.names("underlay", "where overlays' packets come from", b.spec.Underlay)
		for _, port := range b.spec.VXLANPorts {
			c.drop("vxlan-not-from-underlay", b.notFrom(underlay), dport(unix.IPPROTO_UDP, port))
		}
		b.vtepErrors(&c, underlay)
	}
	in := b.fromNeighbor()
	advertisements := b.rates("advertisements", "of routers, on uplinks", in)
	advertFlood := func(in field) {
		c.drop("advertisement-flood", b.icmp6(icmp6RouterAdvert), among(b.uplinks, in), overRate(advertisements, advertRate, advertBurst, in))
	}
	if advertFlood(in); b.spec.VRF {
		advertFlood(b.from())
		c.add(iif(b.guests), b.icmp6(icmp6RouterSolicit, icmp6RouterAdvert, icmp6Solicit, icmp6Advert, icmp6Redirect), hop("icmpv6"))
	}
	b.uplinkDiscovery(&c)
	if b.gateways != nil {
		c.add(iif(b.gateways.bridges), hop("to_gateway"))
	}
	c.add(b.notFrom(b.guests), accept())
	b.toHypervisor(&c)
	b.put(c)
	b.put(b.icmp6Input())
}

// vtepErrors: RFC 5927, Section 7. Who quotes a packet between VTEPs changes the path MTU
// of a whole overlay; VXLAN's packets have nothing that a stranger could not guess.
func (b *builder) vtepErrors(c *chain, underlay *set) {
	var list [2]*set
	for _, a := range b.spec.VTEPs {
		i, f := 0, ip4
		if a.Is6() {
			i, f = 1, ip6
		}
		if list[i] == nil {
			list[i] = b.set("vteps"+f.suffix, "our ends of overlays", f.quotedSource.kind)
			c.drop("icmp-error", b.notFrom(underlay), f.errors(b), among(list[i], f.quotedSource))
		}
		list[i].add(a.AsSlice())
	}
}

// forward keeps domains apart, and guests from making us ask for addresses.
func (b *builder) forward() {
	c := chain{name: "forward", hook: nftables.ChainHookForward, priority: nftables.ChainPriorityFilter}
	b.gateways.betweenTenants(&c)
	c.drop("to-not-attached", notOIF(b.uplinks), notOIF(b.guests), notOIF(b.host))
	// RFC 7126, Section 4: record route and timestamp would have us write our addresses into the
	// packet, loose source route takes it elsewhere. Guests' are dropped in chain raw.
	c.drop("ip-options", options(), iif(b.uplinks))
	var domains []*set
	for i, interfaces := range b.spec.Domains {
		domains = append(domains, b.names(fmt.Sprintf("domain%d", i), "", interfaces))
	}
	for _, from := range domains {
		for _, to := range domains {
			if from != to {
				c.drop("between-domains", iif(from), oif(to))
			}
		}
	}
	var askers []chain
	for _, f := range families {
		if s := b.onLink(f); s != nil {
			name := "resolve" + f.suffix
			c.add(family(f.proto), among(s, f.dest), jump(name))
			askers = append(askers, b.resolve(name, f))
		}
	}
	b.put(c)
	for _, a := range askers {
		b.put(a)
	}
}

// onLink makes the set of on-link prefixes of a family; nil if there are none.
func (b *builder) onLink(f ip) (s *set) {
	for _, p := range b.spec.OnLink {
		if p.Addr().Is4() == (f.proto == unix.NFPROTO_IPV4) {
			if s == nil {
				s = b.set("on_link"+f.suffix, "resolved address by address", f.dest.kind)
			}
			s.prefix(p)
		}
	}
	return s
}

// Bounds on what one guest (or one uplink) makes the kernel ask for on another interface:
// a packet to an on-link address that nobody has costs an entry of the neighbour table
// for 3 s (mcast_solicit times retrans_time), during which it can't be evicted, and the
// table of all namespaces has 1,024 (gc_thresh3). So one that scans holds 88 of them.
const (
	resolveRate  = 8
	resolveBurst = 64
	resolveKnown = 4096 // addresses, for resolveTime: all scanners together
)

// resolve: RFC 6583, Section 6.2, "Ingress Filtering" and "rate limiting".
func (b *builder) resolve(name string, f ip) chain {
	c := chain{name: name}
	asked := b.remembered("asked"+f.suffix, "what was sent to them", resolveKnown, resolveTime, kinds(oifField, f.dest)...)
	askers := b.rates("askers"+f.suffix, "who begins to send to them", iifField, oifField)
	c.add(family(f.proto), among(asked, oifField, f.dest), back())
	c.drop("resolve-flood", overRate(askers, resolveRate, resolveBurst, iifField, oifField))
	c.add(family(f.proto), remember(asked, oifField, f.dest), back())
	c.drop("resolve-flood")
	return c
}

func (b *builder) output() chain {
	c := chain{name: "output", hook: nftables.ChainHookOutput, priority: nftables.ChainPriorityRaw}
	b.untracked(&c)
	// What we send to guests is answers; their table is not theirs to fill.
	c.add(notOIF(b.host), notOIF(b.uplinks), notrack())
	// The kernel has no send_redirects for IPv6, and a guest that follows a
	// redirect looks for its neighbour on a link where it is not.
	c.drop("icmpv6-redirect", b.icmp6(icmp6Redirect))
	b.errorsSent(&c)
	b.gateways.fromGateway(&c)
	c.drop("hypervisor-to-overlay", oif(b.isolated))
	return c
}

func (b *builder) nat() chain {
	c := chain{
		name: "nat", kind: nftables.ChainTypeNAT,
		hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityNATDest,
	}
	for _, f := range families {
		if m := b.translated[f.proto]; m != nil {
			c.add(translate(m, f.proto, f.dest))
		}
	}
	return c
}

// ip is what differs between the families.
type ip struct {
	suffix                   string
	proto                    byte
	source, dest             field
	quotedSource, quotedDest field
	fragment                 match
	errors                   func(*builder) match
	unspecified              netip.Addr
}

var (
	ip4 = ip{"4", unix.NFPROTO_IPV4, source4, dest4, quotedSource4, quotedDest4, fragment4(),
		func(b *builder) match { return b.icmp(icmpErrors...) }, netip.IPv4Unspecified()}
	ip6 = ip{"6", unix.NFPROTO_IPV6, source6, dest6, quotedSource6, quotedDest6, fragment6(),
		func(*builder) match { return icmp6Error() }, netip.IPv6Unspecified()}
	families = []ip{ip4, ip6}
)

// rates makes a set of the rates of keys.
func (b *builder) rates(name, comment string, fields ...field) *set {
	return b.remembered(name, comment, 65536, rateTime, kinds(fields...)...)
}
