package wall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Ports of BFD: single hop and echo (RFC 5881, Section 4), multihop (RFC 5883,
// Section 5).
var bfdPorts = []uint16{3784, 3785, 4784}

// ICMPv6 types that a guest may send to the hypervisor: errors, echo, router
// solicitation, neighbour discovery and multicast listener reports. Redirects and
// router advertisements are not among them.
var icmp6FromGuests = []byte{1, 2, 3, 4, 128, 129, 131, 132, 133, 135, 136, 143}

const icmp6Redirect = 137

// chain is a base chain and its rules, in order.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    []rule
}

// rule is what to match and do. A name makes it a drop that is counted.
type rule struct {
	do   match
	drop string
}

// builder turns a spec into sets and chains.
type builder struct {
	spec  Spec
	table *nftables.Table
	sets  []set
}

type set struct {
	*nftables.Set
	names []string
}

// names makes a set of interface names; one that ends in "*" stands for all that begin
// so. The kernel finds a name in it in constant time (with such prefixes, in logarithmic),
// so that the number of rules does not grow with the guests.
func (b *builder) names(name string, interfaces []string) *nftables.Set {
	s := &nftables.Set{
		Table: b.table, Name: name, ID: uint32(len(b.sets) + 1), KeyType: nftables.TypeIFName,
		KeyByteOrder: binaryutil.NativeEndian, // how nft prints names
	}
	s.Interval = slices.ContainsFunc(interfaces, isPrefix)
	if s.Interval {
		interfaces = widest(interfaces)
	}
	b.sets = append(b.sets, set{s, interfaces})
	return s
}

func (b *builder) chains() []chain {
	mark := b.mark()
	if b.spec.MarksOnly {
		return []chain{mark}
	}
	guests, isolated := b.names("guests", b.spec.Guests), b.names("isolated", b.spec.Isolated)
	return []chain{
		mark,
		b.raw(guests, isolated),
		b.input(guests),
		b.forward(),
		b.output(isolated),
		b.nat(),
	}
}

// raw is the first to see a packet: sources and isolation.
func (b *builder) raw(guests, isolated *nftables.Set) chain {
	c := chain{name: "raw", hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityRaw}
	c.drop("overlay-to-hypervisor", iif(isolated))
	for _, port := range bfdPorts {
		c.add(dport(unix.IPPROTO_UDP, port), notrack())
	}
	guest6 := join(iif(guests), family(unix.NFPROTO_IPV6))
	for _, kind := range []byte{135, 133, 143} { // DAD, router solicitation, MLDv2 report
		c.add(guest6, address(saddr4, saddr6, netip.IPv6Unspecified()), icmp6(kind), accept())
	}
	c.add(guest6, linkLocal(), accept())
	c.drop("spoofed-source", guest6, noWayBack(len(b.spec.Marks) > 0))
	if b.spec.VRF {
		b.sources4(&c, guests)
	}
	return c
}

// input is the way to the hypervisor itself.
func (b *builder) input(guests *nftables.Set) chain {
	c := chain{name: "input", hook: nftables.ChainHookInput, priority: nftables.ChainPriorityFilter}
	if len(b.spec.VXLANPorts) > 0 {
		underlay := b.names("underlay", b.spec.Underlay)
		for _, port := range b.spec.VXLANPorts {
			c.drop("vxlan-not-from-underlay", b.notFrom(underlay), dport(unix.IPPROTO_UDP, port))
		}
	}
	c.add(b.notFrom(guests), accept())
	c.add(family(unix.NFPROTO_IPV4), protocol(unix.IPPROTO_ICMP), accept())
	for _, kind := range icmp6FromGuests {
		c.add(icmp6(kind), accept())
	}
	// DHCP clients send from port 68 to port 67: RFC 2131, Section 4.1.
	c.add(dport(unix.IPPROTO_UDP, 67), sport(68), accept())
	for _, p := range b.spec.Open {
		c.add(dport(p.Protocol, p.Port), accept())
	}
	c.drop("guest-to-hypervisor")
	return c
}

// forward keeps domains apart.
func (b *builder) forward() chain {
	c := chain{name: "forward", hook: nftables.ChainHookForward, priority: nftables.ChainPriorityFilter}
	var domains []*nftables.Set
	for i, interfaces := range b.spec.Domains {
		domains = append(domains, b.names(fmt.Sprintf("domain%d", i), interfaces))
	}
	for _, from := range domains {
		for _, to := range domains {
			if from != to {
				c.drop("between-domains", iif(from), oif(to))
			}
		}
	}
	return c
}

func (b *builder) output(isolated *nftables.Set) chain {
	c := chain{name: "output", hook: nftables.ChainHookOutput, priority: nftables.ChainPriorityRaw}
	for _, port := range bfdPorts {
		c.add(dport(unix.IPPROTO_UDP, port), notrack())
	}
	// The kernel has no send_redirects for IPv6, and a guest that follows a
	// redirect looks for its neighbour on a link where it is not.
	c.drop("icmpv6-redirect", icmp6(icmp6Redirect))
	c.drop("hypervisor-to-overlay", oif(isolated))
	return c
}

func (b *builder) nat() chain {
	c := chain{
		name: "nat", kind: nftables.ChainTypeNAT,
		hook: nftables.ChainHookPrerouting, priority: nftables.ChainPriorityNATDest,
	}
	for _, t := range b.spec.Translations {
		c.add(address(daddr4, daddr6, t.Address), translate(t.To))
	}
	return c
}

func (c *chain) add(parts ...match) { c.rules = append(c.rules, rule{do: join(parts...)}) }

func (c *chain) drop(name string, parts ...match) {
	c.rules = append(c.rules, rule{do: join(parts...), drop: name})
}

// expressions completes a drop with its counter.
func (r rule) expressions() []expr.Any {
	if r.drop == "" {
		return r.do
	}
	return join(r.do, match{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}})
}

// log is the same match with a log entry instead of the drop.
func (r rule) log(perSecond uint32) []expr.Any {
	return join(r.do, match{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(perSecond), Unit: expr.LimitTimeSecond, Burst: perSecond},
		&expr.Log{
			Key:   1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_LEVEL,
			Level: expr.LogLevelInfo, Data: []byte("hvrouter " + r.drop + ": "),
		},
	})
}
