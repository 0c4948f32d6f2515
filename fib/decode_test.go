package fib

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Captures of what Linux 6.18 answered to dumps, without the netlink header.
var captures = map[string]struct {
	typ  uint16
	body string
}{
	// 10.1.0.0/16 table 90 nhid 100, a group of two gateways, the second with weight 3
	"v4 group route": {rtnl.RTM_NEWROUTE, "021000005ac900010000000008000f005a000000080001000a01000008001e0064000000240009001000000002000000080005000a0000021000000203000000080005000a000102"},
	// 203.0.113.10 via 203.0.113.1 dev 2 onlink metric 10
	"v4 onlink": {rtnl.RTM_NEWROUTE, "022000005ac900010400000008000f005a00000008000100cb00710a080006000a00000008000500cb0071010800040002000000"},
	// 203.0.113.4 via inet6 fd00::2 dev 2
	"v4 over v6": {rtnl.RTM_NEWROUTE, "022000005ac900010000000008000f005a00000008000100cb007104160012000a00fd00000000000000000000000000000200000800040002000000"},
	// unreachable 2001:db8:5::/64 dev lo mtu 1400
	"v6 unreachable": {rtnl.RTM_NEWROUTE, "0a4000005ac900070000000008000f005a0000001400010020010db80005000000000000000000000c00080008000200780500000800060000040000080004000100000024000c0000000000000000000000000000000000000000000000000000000000000000000500140000000000"},
	// 40: from 10.0.0.0/8 fwmark 0x7/0xff iif v0 lookup 100000 proto 201
	"rule": {rtnl.RTM_NEWRULE, "02000800fc0000010000000008000f00a086010008000e00ffffffff05001500c90000000700030076300000080006002800000008000a000700000008001000ff000000080002000a000000"},
	// id 10 via 10.0.0.2 dev 2 proto 201
	"next hop": {rtnl.RTM_NEWNEXTHOP, "02fdc90000000000080001000a0000000800050002000000080006000a000002"},
	// id 100 group 10/11,3 proto 201
	"group": {rtnl.RTM_NEWNEXTHOP, "0000c9000000000008000100640000000600030000000000140002000a000000000000000b0000000200000008000e0000000080"},
	// 2: v0, a veth that is up, cut off after IFLA_MTU
	"link": {rtnl.RTM_NEWLINK, "00000100020000004310010000000000070003007630000008000d00e803000005001000060000000500110000000000050043000000000008000400dc050000"},
	// 203.0.113.254/32 dev 2 scope link
	"address": {rtnl.RTM_NEWADDR, "022080fd0200000008000100cb0071fe08000200cb0071fe0700030076300000080008008000000014000600ffffffffffffffff8df407008df40700"},
	// 203.0.113.1 dev 2 lladdr 50:54:33:00:00:07 permanent
	"neighbour": {rtnl.RTM_NEWNEIGH, "02000000020000008000000108000100cb0071010a000200505433000007000008000400000000001400030000000000000000000000000000000000"},
}

func capture(t testing.TB, name string) rtnl.Message {
	c := captures[name]
	b, err := hex.DecodeString(c.body)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return rtnl.Message{Type: c.typ, Body: b}
}

func TestDecode(t *testing.T) {
	addr := netip.MustParseAddr
	var r routeMessage
	for name, want := range map[string]routeMessage{
		"v4 group route": {facts: facts{family: FamilyIPv4, typ: RouteUnicast, proto: 201}, table: 90, lo: 0x0a010000, bits: 16, nhid: 100,
			nextHops: []nextHop{{addr("10.0.0.2"), 2, 1, false}, {addr("10.0.1.2"), 3, 3, false}}},
		"v4 onlink": {facts: facts{family: FamilyIPv4, typ: RouteUnicast, proto: 201}, table: 90, lo: 0xcb00710a, bits: 32, metric: 10, flags: 4,
			nextHops: []nextHop{{addr("203.0.113.1"), 2, 1, true}}},
		"v4 over v6": {facts: facts{family: FamilyIPv4, typ: RouteUnicast, proto: 201}, table: 90, lo: 0xcb007104, bits: 32, nextHops: []nextHop{{addr("fd00::2"), 2, 1, false}}},
		"v6 unreachable": {facts: facts{family: FamilyIPv6, typ: RouteUnreachable, proto: 201, mtu: 1400}, table: 90, hi: 0x20010db800050000, bits: 64, metric: 1024,
			nextHops: nil},
	} {
		r = routeMessage{}
		if err := r.parse(capture(t, name).Body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.nextHops) == 0 {
			r.nextHops = nil
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, r, want)
		}
	}
	var k kernelRule
	if err := k.parse(capture(t, "rule").Body); err != nil || k.String() != "40: from 10.0.0.0/8 fwmark 0x7/0xff iif v0 lookup 100000" || k.proto != 201 || k.alien {
		t.Errorf("rule: %v %+v", err, k)
	}
	var n nextHopMessage
	if err := n.parse(capture(t, "next hop").Body); err != nil || n.id != 10 || n.gateway != addr("10.0.0.2") || n.link != 2 || n.proto != 201 {
		t.Errorf("next hop: %v %+v", err, n)
	}
	if err := n.parse(capture(t, "group").Body); err != nil || n.id != 100 || !slices.Equal(n.members, []member{{10, 1}, {11, 3}}) {
		t.Errorf("group: %v %+v", err, n)
	}
	if l, err := parseLink(capture(t, "link").Body); err != nil || l.Interface != "v0" || !l.Up() || l.MTU != 1500 {
		t.Errorf("link: %v %+v", err, l)
	}
	var a kernelAddress
	if err := a.parse(capture(t, "address").Body); err != nil || a.Prefix.String() != "203.0.113.254/32" || a.Scope != ScopeLink || a.IfIndex != 2 {
		t.Errorf("address: %v %+v", err, a)
	}
	var b kernelNeighbor
	if err := b.parse(capture(t, "neighbour").Body); err != nil || b.Addr != addr("203.0.113.1") || b.MAC != [6]byte{0x50, 0x54, 0x33, 0, 0, 7} || !b.permanent {
		t.Errorf("neighbour: %v %+v", err, b)
	}
}

// FuzzDecode: nothing that a netlink socket could yield makes a decoder or the
// core fail, and a route that was decoded is decoded again from its encoding.
func FuzzDecode(f *testing.F) {
	for name := range captures {
		m := capture(f, name)
		f.Add(wire(m.Type, rtnl.NLM_F_CREATE, 1, 0, m.Body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCore(must(Config{}.withDefaults()))
		c.synced = true
		for m := range rtnl.Messages(b) {
			_, _ = m.Err(), error(nil)
			c.observe(m, false)
			var r routeMessage
			if m.Type == rtnl.RTM_NEWROUTE && r.parse(m.Body) == nil {
				roundTrip(t, &r)
			}
		}
		c.planUrgent(time.Now())
		for _, op := range c.planRoutes(nil, 1000, time.Now()) {
			_ = c.appendOp(nil, &op, 1)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func roundTrip(t *testing.T, r *routeMessage) {
	expressible := int(r.bits) <= 8*r.family.size() && !r.alien && r.tos == 0 && r.table != 0
	for _, l := range r.nextHops {
		expressible = expressible && (!l.gateway.IsValid() || r.nhid == 0) && l.weight <= 256 && (len(r.nextHops) > 1 || l.weight == 1)
	}
	if !expressible || r.nhid != 0 {
		return
	}
	k := rkey{hi: r.hi, lo: r.lo, metric: r.metric, bits: r.bits}
	if r.bits == 0 {
		k.hi, k.lo, r.hi, r.lo = 0, 0, 0, 0
	}
	form := &form{facts: r.facts, nextHops: r.nextHops}
	b := appendRoute(nil, rtnl.RTM_NEWROUTE, 0, 1, &k, tableFamily{r.table, r.family}, form, true)
	var again routeMessage
	if err := again.parse(b[rtnl.SizeHeader:]); err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	again.flags = r.flags
	second := *form
	second.facts, second.nextHops = again.facts, again.nextHops
	if c := appendRoute(nil, rtnl.RTM_NEWROUTE, 0, 1, &k, tableFamily{again.table, again.family}, &second, true); !bytes.Equal(b, c) {
		t.Fatalf("%+v became %+v", r, again)
	}
}
