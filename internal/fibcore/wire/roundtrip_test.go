package wire

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// TestRoundTrips: what is appended is what is parsed, whatever it says.
func TestRoundTrips(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, r := range []Rule{
		{Family: FamilyIPv4, Priority: 1, Table: 90},
		{Family: FamilyIPv4, Priority: 2, Table: 100000, From: prefix("10.0.0.0/8"), To: prefix("192.0.2.0/24"), IIF: "v0", OIF: "v1", TOS: 8, Not: true},
		{Family: FamilyIPv6, Priority: 3, L3MDev: true},
		{Family: FamilyIPv4, Priority: 4, Action: RuleGoto, Target: 9},
		{Family: FamilyIPv4, Priority: 5, Action: RuleBlackhole, Mark: 7, Mask: 0xff},
		{Family: FamilyIPv6, Priority: 6, Action: RuleUnreachable, From: prefix("2001:db8::/32")},
		{Family: FamilyIPv4, Priority: 7, Table: 90, Suppress: true, SuppressLength: 8, UIDs: UIDRange{true, 0, 1000}},
		{Family: FamilyIPv4, Priority: 8, Table: 90, IPProto: 6, SourcePorts: Range{1, 2}, DestPorts: Range{80, 443}},
	} {
		var k KernelRule
		b := AppendRule(nil, rtnl.RTM_NEWRULE, 0, 1, r.Normal(), 201)
		if err := k.Parse(b[rtnl.SizeHeader:]); err != nil || k.Rule != r.Normal() || k.Protocol != 201 || k.Unknown {
			t.Errorf("%v became %v (%+v), %v", r, k.Rule, k, err)
		}
	}
	for _, a := range []Address{
		{IfIndex: 2, Prefix: prefix("192.0.2.1/24"), Scope: ScopeUniverse},
		{IfIndex: 3, Prefix: prefix("192.0.2.1/32"), Scope: ScopeLink, NoPrefixRoute: true},
		{IfIndex: 4, Prefix: prefix("2001:db8::1/64"), Scope: ScopeUniverse, NoDAD: true},
	} {
		var k KernelAddress
		b := AppendAddress(nil, rtnl.RTM_NEWADDR, 0, 1, a, 201)
		if err := k.Parse(b[rtnl.SizeHeader:]); err != nil || k.Address != a || k.Protocol != 201 || !k.Permanent || k.Key() != (AddressKey{IfIndex: a.IfIndex, Prefix: a.Prefix}) {
			t.Errorf("%+v became %+v, %v", a, k, err)
		}
	}
	for _, n := range []Neighbor{
		{IfIndex: 2, Addr: addr("192.0.2.1"), MAC: [6]byte{2, 0, 0, 0, 0, 1}},
		{IfIndex: 3, Addr: addr("2001:db8::1"), MAC: [6]byte{2, 0, 0, 0, 0, 2}},
		{IfIndex: 4, Addr: addr("192.0.2.2"), Proxy: true},
	} {
		var k KernelNeighbor
		b := AppendNeighbor(nil, rtnl.RTM_NEWNEIGH, 0, 1, n, 201)
		if err := k.Parse(b[rtnl.SizeHeader:]); err != nil || k.Neighbor != n || k.Protocol != 201 || !k.Permanent {
			t.Errorf("%+v became %+v, %v", n, k, err)
		}
	}
	for _, m := range []NextHopMessage{
		{ID: 7, Protocol: 201, Family: FamilyIPv4, Gateway: addr("192.0.2.1"), IfIndex: 2, OnLink: true},
		{ID: 8, Protocol: 201, Family: FamilyIPv6, IfIndex: 2},
		{ID: 9, Protocol: 201, Members: []Member{{7, 1}, {8, 256}}},
		{ID: 9, Protocol: 201, Members: []Member{{7, 1}, {8, 3}}, Buckets: 64, Idle: 12000, Unbalanced: 5},
	} {
		var k NextHopMessage
		b := AppendNextHop(nil, 0, 1, &m)
		if err := k.Parse(b[rtnl.SizeHeader:]); err != nil || fmt.Sprint(k) != fmt.Sprint(m) {
			t.Errorf("%+v became %+v, %v", m, k, err)
		}
	}
}

// TestUnknown: what a rule has that cannot be expressed is noticed; what says nothing is not.
func TestUnknown(t *testing.T) {
	rule := AppendRule(nil, rtnl.RTM_NEWRULE, 0, 1, Rule{Family: FamilyIPv4, Priority: 1, Table: 90}.Normal(), 201)[rtnl.SizeHeader:]
	for what, c := range map[string]struct {
		attr    []byte
		unknown bool
	}{
		"no interface group":  {rtnl.AppendUint32(nil, rtnl.FRA_SUPPRESS_IFGROUP, 0xffffffff), false},
		"interface group":     {rtnl.AppendUint32(nil, rtnl.FRA_SUPPRESS_IFGROUP, 0), true},
		"a whole port":        {rtnl.AppendUint16(nil, rtnl.FRA_SPORT_MASK, 0xffff), false},
		"some bits of a port": {rtnl.AppendUint16(nil, rtnl.FRA_DPORT_MASK, 0xff00), true},
		"tunnel":              {rtnl.AppendUint32(nil, rtnl.FRA_TUN_ID, 1), true},
		"realm":               {rtnl.AppendUint32(nil, rtnl.FRA_FLOW, 1), true},
		"DSCP":                {rtnl.AppendUint8(nil, rtnl.FRA_DSCP, 1), true},
	} {
		var k KernelRule
		if err := k.Parse(append(append([]byte{}, rule...), c.attr...)); err != nil || k.Unknown != c.unknown {
			t.Errorf("%s: %v, %v", what, k.Unknown, err)
		}
	}
}
