package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestKeepRefused: no more is kept than what is configured, and what has no room is counted. A refresh, a
// withdrawal and a smaller bound make room; the search has what is kept at all.
func TestKeepRefused(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	c := PeerConfig{Addr: ip("10.0.1.1"), AS: 65000, RouterID: ip("10.0.1.1"), KeepRefused: 3,
		Import: func(r *Route) Verdict { return VerdictReject }}
	in, err := tab.NewIn(c)
	if err != nil {
		t.Fatal(err)
	}
	update := func(announce bool, prefixes ...int) {
		var list []wire.NLRI
		for _, i := range prefixes {
			list = append(list, wire.NLRI{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)})
		}
		u := reachOf(t, true, wire.PathAttrs{LocalPref: new(uint32(7))}, wire.NextHop{Addr: ip("192.0.2.1")}, list...)
		if !announce {
			u.Withdrawn, u.NLRI = u.NLRI, wire.List{}
		}
		if err := in.Update(u); err != nil {
			t.Error(err)
		}
	}
	check := func(what, want string) {
		t.Helper()
		var got []string
		list, more := in.Refused(wire.IPv4Unicast)
		for _, r := range list {
			pref, _ := r.Attrs.LocalPref()
			got = append(got, fmt.Sprintf("%v %v %d", r.Prefix, r.Reason, pref))
		}
		slices.Sort(got)
		if text := fmt.Sprint(got, " and ", more); text != want {
			t.Errorf("%s: %s, want %s", what, text, want)
		}
	}
	update(true, 1, 2, 3, 4, 5)
	check("five", "[10.1.0.0/16 policy 7 10.2.0.0/16 policy 7 10.3.0.0/16 policy 7] and 2")
	update(true, 1)
	check("one again", "[10.1.0.0/16 policy 7 10.2.0.0/16 policy 7 10.3.0.0/16 policy 7] and 2")
	update(false, 1)
	check("one withdrawn", "[10.2.0.0/16 policy 7 10.3.0.0/16 policy 7] and 2")
	in.BeginRefresh(wire.IPv4Unicast)
	update(true, 3, 4, 5)
	in.EndRefresh(wire.IPv4Unicast)
	check("a refresh", "[10.3.0.0/16 policy 7 10.4.0.0/16 policy 7] and 1") // 10.2 was there still when 10.5 came
	c.KeepRefused = 1
	if err := in.Configure(c); err != nil {
		t.Fatal(err)
	}
	if list, more := in.Refused(wire.IPv4Unicast); len(list) != 1 || more != 2 {
		t.Errorf("a smaller bound: %v and %d", list, more)
	}
	c.KeepRefused = 0
	if err := in.Configure(c); err != nil {
		t.Fatal(err)
	}
	update(true, 6)
	check("none", "[] and 0")
	c.KeepRefused = -1
	if in.Configure(c) == nil {
		t.Error("a negative number is not refused")
	}
}
