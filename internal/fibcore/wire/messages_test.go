package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// capture returns a message of testdata/messages.txt.
func capture(t testing.TB, name string) rtnl.Message {
	for _, p := range captures.Read(t, "testdata/messages.txt") {
		if p.Name == name {
			for m := range rtnl.Messages(p.Data) {
				return m
			}
		}
	}
	t.Fatalf("no message %q", name)
	return rtnl.Message{}
}

func TestDecode(t *testing.T) {
	addr := netip.MustParseAddr
	var r RouteMessage
	for name, want := range map[string]RouteMessage{
		"v4 group route": {Facts: Facts{Family: FamilyIPv4, Type: RouteUnicast, Protocol: 201}, Table: 90, Lo: 0x0a010000, Bits: 16, NextHopID: 100,
			NextHops: []NextHop{{addr("10.0.0.2"), 2, 1, false}, {addr("10.0.1.2"), 3, 3, false}}},
		"v4 onlink": {Facts: Facts{Family: FamilyIPv4, Type: RouteUnicast, Protocol: 201}, Table: 90, Lo: 0xcb00710a, Bits: 32, Metric: 10, Flags: 4,
			NextHops: []NextHop{{addr("203.0.113.1"), 2, 1, true}}},
		"v4 over v6": {Facts: Facts{Family: FamilyIPv4, Type: RouteUnicast, Protocol: 201}, Table: 90, Lo: 0xcb007104, Bits: 32, NextHops: []NextHop{{addr("fd00::2"), 2, 1, false}}},
		"v6 unreachable": {Facts: Facts{Family: FamilyIPv6, Type: RouteUnreachable, Protocol: 201, MTU: 1400}, Table: 90, Hi: 0x20010db800050000, Bits: 64, Metric: 1024,
			NextHops: nil},
	} {
		r = RouteMessage{}
		if err := r.Parse(capture(t, name).Body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.NextHops) == 0 {
			r.NextHops = nil
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, r, want)
		}
	}
	var k KernelRule
	if err := k.Parse(capture(t, "rule").Body); err != nil || k.String() != "40: from 10.0.0.0/8 fwmark 0x7/0xff iif v0 lookup 100000" || k.Protocol != 201 || k.Unknown {
		t.Errorf("rule: %v %+v", err, k)
	}
	var n NextHopMessage
	if err := n.Parse(capture(t, "next hop").Body); err != nil || n.ID != 10 || n.Gateway != addr("10.0.0.2") || n.IfIndex != 2 || n.Protocol != 201 {
		t.Errorf("next hop: %v %+v", err, n)
	}
	if err := n.Parse(capture(t, "group").Body); err != nil || n.ID != 100 || !slices.Equal(n.Members, []Member{{10, 1}, {11, 3}}) {
		t.Errorf("group: %v %+v", err, n)
	}
	if l, err := ParseLink(capture(t, "link").Body); err != nil || l.Interface != "v0" || !l.Up() || l.MTU != 1500 {
		t.Errorf("link: %v %+v", err, l)
	}
	var a KernelAddress
	if err := a.Parse(capture(t, "address").Body); err != nil || a.Prefix.String() != "203.0.113.254/32" || a.Scope != ScopeLink || a.IfIndex != 2 {
		t.Errorf("address: %v %+v", err, a)
	}
	var b KernelNeighbor
	if err := b.Parse(capture(t, "neighbour").Body); err != nil || b.Addr != addr("203.0.113.1") || b.MAC != [6]byte{0x50, 0x54, 0x33, 0, 0, 7} || !b.Permanent {
		t.Errorf("neighbour: %v %+v", err, b)
	}
}

// FuzzDecode: nothing that a netlink socket could yield makes a decoder fail, and a route
// that was decoded is decoded again from its encoding.
func FuzzDecode(f *testing.F) {
	for _, p := range captures.Read(f, "testdata/messages.txt") {
		f.Add(p.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for m := range rtnl.Messages(b) {
			var (
				r RouteMessage
				k KernelRule
				n NextHopMessage
				a KernelAddress
				e KernelNeighbor
			)
			_, _ = k.Parse(m.Body), n.Parse(m.Body)
			_, _ = a.Parse(m.Body), e.Parse(m.Body)
			_, _ = ParseLink(m.Body)
			if m.Type == rtnl.RTM_NEWROUTE && r.Parse(m.Body) == nil {
				roundTrip(t, &r)
			}
		}
	})
}

// What is said about allocations.
func TestNoAllocations(t *testing.T) {
	m := capture(t, "v4 group route")
	var r RouteMessage
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(200, func() {
		if r.Parse(m.Body) != nil {
			t.Fatal("parse")
		}
		b = AppendRoute(b[:0], rtnl.RTM_NEWROUTE, 0, 1, &r, true)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func roundTrip(t *testing.T, r *RouteMessage) {
	expressible := int(r.Bits) <= 8*r.Family.size() && !r.Unknown && r.TOS == 0 && r.Table != 0
	for _, l := range r.NextHops {
		expressible = expressible && (!l.Gateway.IsValid() || r.NextHopID == 0) && l.Weight <= 256 && (len(r.NextHops) > 1 || l.Weight == 1)
	}
	if !expressible || r.NextHopID != 0 {
		return
	}
	if r.Bits == 0 {
		r.Hi, r.Lo = 0, 0
	}
	b := AppendRoute(nil, rtnl.RTM_NEWROUTE, 0, 1, r, true)
	var again RouteMessage
	if err := again.Parse(b[rtnl.SizeHeader:]); err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	again.Flags = r.Flags
	if c := AppendRoute(nil, rtnl.RTM_NEWROUTE, 0, 1, &again, true); !bytes.Equal(b, c) {
		t.Fatalf("%+v became %+v", r, again)
	}
}
