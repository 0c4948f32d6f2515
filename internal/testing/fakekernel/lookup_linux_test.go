package fakekernel

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
	"golang.org/x/sys/unix"
)

// TestLookupAsLinux makes random routes and rules here and in a namespace, takes interfaces
// down, and asks both where packets go: RTM_GETROUTE with RTM_F_FIB_MATCH returns the route
// that was found.
func TestLookupAsLinux(t *testing.T) {
	if testing.Short() {
		t.Skip("namespaces take time; not with -short")
	}
	scenario.Search{Seeds: 10, Inputs: func(r *rand.Rand) []string { return []string{fmt.Sprint(r.Uint64())} }, Play: compareLookups}.Run(t)
}

// twin is a kernel here and the kernel itself, which get the same requests.
type twin struct {
	*testing.T
	*rand.Rand
	fake     *Kernel
	ns, peer *nstest.NS
	socket   *rtnl.Socket
	did      []string
	err      error // the first difference
}

// compareLookups plays one seed.
func compareLookups(t *testing.T, inputs []string) error {
	seed, err := strconv.ParseUint(strings.Join(inputs, ""), 10, 64)
	if err != nil {
		return nil // nothing is left to shrink
	}
	w := &twin{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), fake: New(), ns: nstest.New(t, "lookup"), peer: nstest.New(t, "peers")}
	w.setUp()
	for range 40 { // before the rules, by which the kernel would look gateways up
		w.route()
	}
	for range 12 {
		w.rule()
	}
	for round := range 3 {
		for range 150 {
			w.compare()
		}
		if w.err != nil {
			return fmt.Errorf("%w, after\n%s", w.err, strings.Join(w.did, "\n"))
		}
		switch round {
		case 0:
			w.peer.IP("link set p1 down")
			w.fake.SetLink("v1", true, false)
			w.carrier("v1", false)
		case 1:
			w.ns.IP("link set v1 down")
			w.fake.SetLink("v1", false, false)
		}
		w.did = append(w.did, "link v1 changed")
	}
	return nil
}

// differs notes a difference.
func (w *twin) differs(format string, args ...any) {
	w.err = cmp.Or(w.err, fmt.Errorf(format, args...))
}

func (w *twin) setUp() {
	for _, s := range []string{"net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/default/autoconf=0", "net/ipv6/conf/default/addr_gen_mode=1", "net/ipv6/conf/all/forwarding=1",
		"net/ipv4/ip_forward=1", "net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0"} {
		name, value, _ := strings.Cut(s, "=")
		w.ns.Sysctl(name, value)
	}
	w.ns.IP("link set lo up")
	w.fake.AddDefaultRules(wire.FamilyIPv4)
	w.fake.AddDefaultRules(wire.FamilyIPv6)
	for i, name := range []string{"v0", "v1"} {
		w.ns.IP(fmt.Sprintf("link add %s index %d type veth peer name p%d netns %s", name, i+2, i, w.peer.Name))
		w.peer.IP(fmt.Sprintf("link set p%d up", i))
		w.ns.IP("link set " + name + " up")
		w.fake.CreateLink(i+2, name)
		w.carrier(name, true)
		for _, a := range []string{fmt.Sprintf("10.0.%d.1/24", i), fmt.Sprintf("fd0%d::1/64", i)} {
			w.ns.IP("addr add " + a + " dev " + name)
			w.fake.AddAddress(i+2, netip.MustParsePrefix(a))
		}
		nstest.Wait(w, time.Second, "the IPv6 address", func() bool { // a work queue adds its route (addrconf_dad_work)
			return strings.Contains(w.ns.IP("-6 route show table local"), fmt.Sprintf("fd0%d::1 ", i))
		})
	}
	var err error
	if w.socket, err = rtnl.Open(rtnl.Config{NetNS: w.ns.Path, Timeout: 5 * time.Second}); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { w.socket.Close() })
}

// carrier waits until an interface has it, or not.
func (w *twin) carrier(name string, want bool) {
	nstest.Wait(w, 2*time.Second, "the carrier of "+name, func() bool {
		return strings.Contains(w.ns.IP("link show "+name), "LOWER_UP") == want
	})
}

// both carries a request out here and there: both take it or both refuse it.
func (w *twin) both(b []byte) {
	w.Helper()
	var text string
	for m := range rtnl.Messages(b) {
		text = w.fake.Describe(m)
	}
	mine := w.fake.Do(1, b)
	b = slices.Clone(b)
	flags := binary.NativeEndian.Uint16(b[6:])
	binary.NativeEndian.PutUint16(b[6:], flags|rtnl.NLM_F_REQUEST|rtnl.NLM_F_ACK)
	err := rtnl.Exchange(w.socket, b, make([]byte, rtnl.DatagramSize), nil)
	if w.did = append(w.did, fmt.Sprintf("%s: %v", text, err)); (mine == 0) != (err == nil) {
		w.differs("%s: the kernel says %v, the fake %v", text, err, mine)
	}
}

func choose[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

var lookupPrefixes = map[wire.Family][]string{
	wire.FamilyIPv4: {"0.0.0.0/0", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32", "10.0.1.128/25", "192.0.2.0/24"},
	wire.FamilyIPv6: {"::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::1/128", "fd01::8000/113"},
}

func (w *twin) route() {
	family := choose(w.Rand, wire.FamilyIPv4, wire.FamilyIPv6)
	p := netip.MustParsePrefix(choose(w.Rand, lookupPrefixes[family]...))
	m := wire.RouteMessage{Table: choose[uint32](w.Rand, 90, 91, 254), Bits: uint8(p.Bits()), Metric: choose[uint32](w.Rand, 0, 10, 20)}
	m.Family, m.Protocol = family, rtnl.RTPROT_STATIC
	m.Hi, m.Lo = wire.PackAddr(p.Addr())
	hops := gatewaysOf(family, w.IntN(4))
	switch w.IntN(10) {
	case 0:
		m.Type = choose(w.Rand, wire.RouteBlackhole, wire.RouteUnreachable, wire.RouteProhibit)
	case 1:
		m.Type = wire.RouteThrow
	case 2:
		m.NextHops = []wire.NextHop{hop("", int32(2+w.IntN(2)))}
	case 3, 4:
		m.NextHops = hops
	case 5, 6:
		m.NextHopID = w.object(hops)
	default:
		m.NextHops = hops[w.IntN(2):][:1]
	}
	Complete(&m, wire.ScopeAuto)
	w.both(wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, &m, true))
}

// gatewaysOf returns a next hop on each link for routes of a family: of its own addresses, of
// link-local ones, or of both. An IPv4 route may have either (RFC 8950, Section 3).
func gatewaysOf(family wire.Family, kind int) (hops []wire.NextHop) {
	for i := range 2 {
		switch {
		case kind == 0, kind == 1 && i == 1:
			hops = append(hops, hop("fe80::2", int32(i+2)))
		case family == wire.FamilyIPv6:
			hops = append(hops, hop(fmt.Sprintf("fd0%d::2", i), int32(i+2)))
		default:
			hops = append(hops, hop(fmt.Sprintf("10.0.%d.2", i), int32(i+2)))
		}
	}
	return hops
}

// object makes next-hop objects of two next hops, or a group of them, and returns an id.
func (w *twin) object(hops []wire.NextHop) uint32 {
	var ids [2]uint32
	for i, h := range hops {
		kind := slices.Index([]string{"10.", "fd0", "fe8"}, h.Gateway.String()[:3])
		ids[i] = uint32(100*(kind+1) + i)
		if w.fake.NextHop(ids[i]) == nil {
			w.both(wire.AppendNextHop(nil, rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, &wire.NextHopMessage{ID: ids[i], Family: wire.FamilyOf(h.Gateway), Gateway: h.Gateway, IfIndex: h.IfIndex}))
		}
	}
	group := ids[0]*10 + ids[1]
	if w.fake.NextHop(group) == nil {
		w.both(wire.AppendNextHop(nil, rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, &wire.NextHopMessage{ID: group, Members: []wire.Member{{ID: ids[0], Weight: 1}, {ID: ids[1], Weight: 2}}}))
	}
	return choose(w.Rand, ids[0], ids[1], group)
}

func (w *twin) rule() {
	family := choose(w.Rand, wire.FamilyIPv4, wire.FamilyIPv6)
	r := wire.Rule{Family: family, Priority: 10 + uint32(w.IntN(20)), Table: choose[uint32](w.Rand, 90, 91, 254), Not: w.IntN(8) == 0}
	prefix := func() netip.Prefix { return netip.MustParsePrefix(choose(w.Rand, lookupPrefixes[family][1:]...)) }
	switch w.IntN(8) {
	case 0:
		r.IIF = choose(w.Rand, "v0", "v1", "lo")
	case 1:
		r.Mark, r.Mask = 0x10, choose[uint32](w.Rand, 0xf0, 0xff)
	case 2:
		r.From = prefix()
	case 3:
		r.To = prefix()
	case 4:
		// In IPv6 the kernel compares the prefix length of what it has cached for a
		// next-hop object (fib6_rule_suppress), which may be that of another route by it:
		// what is suppressed depends on what was looked up before.
		r.Suppress, r.SuppressLength = family == wire.FamilyIPv4, choose[uint8](w.Rand, 0, 16, 32)
	case 5:
		r.Action, r.Table, r.Target = wire.RuleGoto, 0, r.Priority+1+uint32(w.IntN(10))
	case 6:
		r.Action, r.Table = choose(w.Rand, wire.RuleBlackhole, wire.RuleUnreachable, wire.RuleProhibit, wire.RuleNop), 0
		r.To = prefix()
	}
	w.both(wire.AppendRule(nil, rtnl.RTM_NEWRULE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, r.Normal(), rtnl.RTPROT_STATIC))
}

// compare asks both about one packet.
func (w *twin) compare() {
	p := Packet{Mark: choose[uint32](w.Rand, 0, 0x10, 0x1f), IIF: choose(w.Rand, 0, 2)}
	addrs := []string{"10.1.1.1", "10.1.1.2", "10.1.2.2", "10.0.0.9", "10.0.1.9", "10.0.1.200", "10.0.1.1", "192.0.2.9", "8.8.8.8"}
	if w.IntN(2) == 0 {
		addrs = []string{"2001:db8:1::1", "2001:db8:1::2", "2001:db8::9", "fd00::9", "fd01::9", "fd01::8009", "fd01::1", "2001:4860::8"}
	}
	p.Dst = netip.MustParseAddr(choose(w.Rand, addrs...))
	if p.IIF != 0 { // what comes in has a source, which is not ours
		if p.Src = netip.MustParseAddr(choose(w.Rand, "10.1.1.77", "192.0.2.77", "198.18.0.1")); p.Dst.Is6() {
			p.Src = netip.MustParseAddr(choose(w.Rand, "2001:db8:1::77", "2001:db8::77", "2001:4860::77"))
		}
	}
	mine, his := w.fake.Lookup(p), w.ask(p)
	if r := mine.Route; r != nil && r.Family == wire.FamilyIPv6 && r.NextHopID != 0 && mine.Type == his.Type {
		// Routes by one object, alone or in groups, share what the kernel caches
		// (fib6_nh.rt6i_pcpu), and it says any of them: a common next hop is right.
		if slices.ContainsFunc(his.NextHops, func(h wire.NextHop) bool {
			return slices.ContainsFunc(mine.NextHops, func(m wire.NextHop) bool { return m.Gateway == h.Gateway && m.IfIndex == h.IfIndex })
		}) {
			his = mine
		}
	}
	if mine.Type != wire.RouteUnicast && mine.Type != wire.RouteLocal {
		mine = Decision{Type: mine.Type} // of what is refused the kernel says nothing else
	}
	if mine, his := mine.words(w.fake), his.words(w.fake); mine != his {
		w.differs("%+v: the kernel says %s, the fake %s", p, his, mine)
	}
}

// Flags of RTM_GETROUTE (linux/rtnetlink.h).
const (
	lookupTable = 0x1000 // RTM_F_LOOKUP_TABLE: say the table; IPv6 does without
	fibMatch    = 0x2000 // RTM_F_FIB_MATCH: the route, not what came of it
)

// ask is `ip route get fibmatch`.
func (w *twin) ask(p Packet) (d Decision) {
	family := wire.FamilyOf(p.Dst)
	b := rtnl.Begin(nil, rtnl.RTM_GETROUTE, rtnl.NLM_F_REQUEST, 1)
	b = append(b, byte(family), byte(p.Dst.BitLen()), 0, 0, 0, 0, 0, 0)
	if p.Src.IsValid() {
		b[len(b)-6] = byte(p.Src.BitLen())
	}
	if p.Dst.Is4() {
		b = binary.NativeEndian.AppendUint32(b, fibMatch|lookupTable)
	} else {
		b = binary.NativeEndian.AppendUint32(b, fibMatch)
	}
	b = rtnl.AppendAddr(b, rtnl.RTA_DST, p.Dst)
	if p.Src.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.RTA_SRC, p.Src)
	}
	if p.IIF != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_IIF, uint32(p.IIF))
	}
	b = rtnl.End(rtnl.AppendUint32(b, rtnl.RTA_MARK, p.Mark), 0)
	err := rtnl.Exchange(w.socket, b, make([]byte, rtnl.DatagramSize), func(m rtnl.Message) {
		var r wire.RouteMessage
		if e := r.Parse(m.Body); e != nil {
			w.differs("%v", e)
		}
		d = Decision{Type: r.Type, Table: r.Table, Prefix: r.Prefix(), NextHops: w.fake.alive(r.NextHops, 0)} // it says dead ones, too
	})
	switch {
	case errors.Is(err, unix.EINVAL):
		d.Type = wire.RouteBlackhole
	case errors.Is(err, unix.EACCES):
		d.Type = wire.RouteProhibit
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		d.Type = wire.RouteUnreachable
	case err != nil:
		w.differs("%+v: %v", p, err)
	}
	if d.Type == wire.RouteLocal {
		d.NextHops = nil
	}
	slices.SortFunc(d.NextHops, func(a, b wire.NextHop) int { return cmp.Compare(a.IfIndex, b.IfIndex) })
	return d
}
