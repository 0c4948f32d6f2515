package fakekernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// host is a kernel with the interfaces eth0 (2), eth1 (3) and tap0 (4), with addresses.
func host(t *testing.T) *Kernel {
	t.Helper()
	k := New()
	for i, name := range []string{"eth0", "eth1", "tap0"} {
		if !k.CreateLink(i+2, name) {
			t.Fatal(name)
		}
	}
	for i, p := range []string{"10.0.0.1/24", "10.0.1.1/24", "192.0.2.1/32"} {
		k.AddAddress(i+2, netip.MustParsePrefix(p))
	}
	k.AddAddress(2, netip.MustParsePrefix("fd00::1/64"))
	k.AddDefaultRules(wire.FamilyIPv4)
	k.AddDefaultRules(wire.FamilyIPv6)
	return k
}

// add adds a route through the octets of netlink.
func add(t *testing.T, k *Kernel, table uint32, typ wire.RouteType, prefix string, metric, object uint32, hops ...wire.NextHop) {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	m := wire.RouteMessage{Table: table, Bits: uint8(p.Bits()), Metric: metric, NextHopID: object, NextHops: hops}
	m.Family, m.Type, m.Protocol = wire.FamilyOf(p.Addr()), typ, rtnl.RTPROT_STATIC
	m.Hi, m.Lo = wire.PackAddr(p.Addr())
	if err := k.Do(1, wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, &m, true)); err != 0 {
		t.Fatalf("%s: %v", prefix, err)
	}
}

func hop(gateway string, ifindex int32) wire.NextHop {
	h := wire.NextHop{IfIndex: ifindex, Weight: 1}
	if gateway != "" {
		h.Gateway = netip.MustParseAddr(gateway)
	}
	return h
}

func addRule(t *testing.T, k *Kernel, r wire.Rule) {
	t.Helper()
	if err := k.Do(1, wire.AppendRule(nil, rtnl.RTM_NEWRULE, rtnl.NLM_F_CREATE, 1, r.Normal(), rtnl.RTPROT_STATIC)); err != 0 {
		t.Fatalf("%v: %v", r, err)
	}
}

func object(t *testing.T, k *Kernel, m wire.NextHopMessage) {
	t.Helper()
	if err := k.Do(1, wire.AppendNextHop(nil, rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE, 1, &m)); err != 0 {
		t.Fatalf("next hop %d: %v", m.ID, err)
	}
}

// words puts a decision into words.
func (d Decision) words(k *Kernel) string {
	s := fmt.Sprintf("%v table %d", d.Type, d.Table)
	if d.Prefix.IsValid() {
		s += " " + d.Prefix.String()
	}
	for _, h := range d.NextHops {
		if h.Gateway.IsValid() {
			s += fmt.Sprintf(" via %v", h.Gateway)
		}
		s += " dev " + k.NameOf(h.IfIndex)
		if h.Weight > 1 {
			s += fmt.Sprintf(" weight %d", h.Weight)
		}
	}
	return s
}

// TestLookup: rules by priority, the longest prefix, the lowest metric, all members.
func TestLookup(t *testing.T) {
	k := host(t)
	add(t, k, 254, wire.RouteUnicast, "0.0.0.0/0", 100, 0, hop("10.0.0.254", 2))
	add(t, k, 254, wire.RouteUnicast, "0.0.0.0/0", 50, 0, hop("10.0.1.254", 3))
	add(t, k, 254, wire.RouteUnreachable, "10.9.0.0/16", 0, 0)
	add(t, k, 254, wire.RouteThrow, "10.8.0.0/16", 0, 0)
	for i, h := range []wire.NextHop{hop("10.0.0.2", 2), hop("10.0.1.2", 3)} {
		object(t, k, wire.NextHopMessage{ID: uint32(1 + i), Family: wire.FamilyIPv4, Gateway: h.Gateway, IfIndex: h.IfIndex})
	}
	object(t, k, wire.NextHopMessage{ID: 3, Members: []wire.Member{{ID: 1, Weight: 1}, {ID: 2, Weight: 3}}})
	add(t, k, 90, wire.RouteUnicast, "10.7.0.0/16", 0, 3)
	add(t, k, 90, wire.RouteUnicast, "10.7.1.0/24", 0, 1)
	add(t, k, 91, wire.RouteBlackhole, "0.0.0.0/0", 0, 0)
	add(t, k, 254, wire.RouteUnicast, "::/0", 1024, 0, hop("fd00::2", 2))
	addRule(t, k, wire.Rule{Family: wire.FamilyIPv4, Priority: 10, IIF: "tap0", Table: 90})
	addRule(t, k, wire.Rule{Family: wire.FamilyIPv4, Priority: 11, Mark: 0x10, Mask: 0xf0, Table: 91})
	addRule(t, k, wire.Rule{Family: wire.FamilyIPv4, Priority: 12, From: netip.MustParsePrefix("172.16.0.0/12"), Action: wire.RuleProhibit})
	addRule(t, k, wire.Rule{Family: wire.FamilyIPv4, Priority: 13, To: netip.MustParsePrefix("198.51.100.0/24"), Action: wire.RuleGoto, Target: 32767})
	addRule(t, k, wire.Rule{Family: wire.FamilyIPv4, Priority: 14, IPProto: 17, DestPorts: wire.Range{Low: 4789, High: 4789}, Table: 254, Suppress: true})

	a := netip.MustParseAddr
	check := func(what, want string, p Packet) {
		t.Helper()
		if got := k.Lookup(p).words(k); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("lowest metric", "unicast table 254 0.0.0.0/0 via 10.0.1.254 dev eth1", Packet{Dst: a("8.8.8.8")})
	check("connected", "unicast table 254 10.0.0.0/24 dev eth0", Packet{Dst: a("10.0.0.9")})
	check("connected, but not first", "unicast table 254 10.0.0.0/24 dev eth0", Packet{Dst: a("10.0.0.9"), IIF: 4})
	check("local", "local table 255 192.0.2.1/32", Packet{Dst: a("192.0.2.1"), IIF: 2})
	check("a type of route", "unreachable table 254 10.9.0.0/16", Packet{Dst: a("10.9.1.1")})
	check("throw", "unreachable table 0", Packet{Dst: a("10.8.1.1")})
	check("group", "unicast table 90 10.7.0.0/16 via 10.0.0.2 dev eth0 via 10.0.1.2 dev eth1 weight 3", Packet{Dst: a("10.7.2.1"), IIF: 4})
	check("longer prefix", "unicast table 90 10.7.1.0/24 via 10.0.0.2 dev eth0", Packet{Dst: a("10.7.1.1"), IIF: 4})
	check("other interface", "unicast table 254 0.0.0.0/0 via 10.0.1.254 dev eth1", Packet{Dst: a("10.7.1.1"), IIF: 3})
	check("mark", "blackhole table 91 0.0.0.0/0", Packet{Dst: a("8.8.8.8"), Mark: 0x1f})
	check("other mark", "unicast table 254 0.0.0.0/0 via 10.0.1.254 dev eth1", Packet{Dst: a("8.8.8.8"), Mark: 0x20})
	check("source", "prohibit table 0", Packet{Dst: a("8.8.8.8"), Src: a("172.17.0.1")})
	check("goto", "unreachable table 0", Packet{Dst: a("198.51.100.1")})
	check("suppressed", "unicast table 254 0.0.0.0/0 via 10.0.1.254 dev eth1", Packet{Dst: a("8.8.8.8"), IPProto: 17, DstPort: 4789})
	check("IPv6", "unicast table 254 ::/0 via fd00::2 dev eth0", Packet{Dst: a("2001:db8::1")})
	check("IPv6 connected", "unicast table 254 fd00::/64 dev eth0", Packet{Dst: a("fd00::9")})
	check("IPv6 local", "local table 255 fd00::1/128", Packet{Dst: a("fd00::1")})

	k.SetLink("eth1", true, false)
	check("a member without carrier", "unicast table 90 10.7.0.0/16 via 10.0.0.2 dev eth0", Packet{Dst: a("10.7.2.1"), IIF: 4})
	check("a route without carrier", "unicast table 254 0.0.0.0/0 via 10.0.1.254 dev eth1", Packet{Dst: a("8.8.8.8")})
	k.SetLink("eth1", false, false)
	check("down", "unicast table 254 0.0.0.0/0 via 10.0.0.254 dev eth0", Packet{Dst: a("8.8.8.8")})
	check("not connected any more", "unicast table 254 0.0.0.0/0 via 10.0.0.254 dev eth0", Packet{Dst: a("10.0.1.9")})
	k.SetLink("eth1", true, true)
	k.SetTable(3, 7)
	addRule(t, k, wire.Rule{Family: wire.FamilyIPv4, Priority: 5, L3MDev: true})
	check("VRF", "unicast table 7 10.0.1.0/24 dev eth1", Packet{Dst: a("10.0.1.9"), IIF: 3})
	check("not in the VRF", "unicast table 254 0.0.0.0/0 via 10.0.0.254 dev eth0", Packet{Dst: a("10.0.1.9"), IIF: 2})
}

// TestRoutesInOrder: routes under one key stay together, whatever their metric and however
// they come and go.
func TestRoutesInOrder(t *testing.T) {
	k := host(t)
	for _, m := range []uint32{30, 10, 20} {
		add(t, k, 90, wire.RouteUnicast, "10.1.0.0/16", m, 0, hop("", 2))
		add(t, k, 90, wire.RouteUnicast, "10.2.0.0/16", m, 0, hop("", 2))
	}
	del := wire.RouteMessage{Table: 90, Bits: 16}
	del.Family = wire.FamilyIPv4
	del.Hi, del.Lo = wire.PackAddr(netip.MustParseAddr("10.1.0.0"))
	if err := k.Do(1, wire.AppendRoute(nil, rtnl.RTM_DELROUTE, 0, 1, &del, false)); err != 0 {
		t.Fatal(err)
	}
	var got []string
	for _, r := range k.Routes() {
		got = append(got, fmt.Sprintf("%v %d", r.Prefix(), r.Metric))
	}
	if s := strings.Join(got, ", "); s != "10.1.0.0/16 30, 10.2.0.0/16 30, 10.2.0.0/16 10, 10.1.0.0/16 20, 10.2.0.0/16 20" {
		t.Error(s)
	}
	if p := netip.MustParseAddr("10.1.0.1"); k.Lookup(Packet{Dst: p}).Type != wire.RouteUnreachable {
		t.Error("found in a table that no rule names")
	}
}
