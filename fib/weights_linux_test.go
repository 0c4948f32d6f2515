package fib

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"testing"
)

// TestWideWeights: 64 next hops with weights of bandwidths, as a group, a resilient group and
// RTA_MULTIPATH: the kernel has each weight, a successor finds them right, one bandwidth more is one
// message about the group, and a dead gateway leaves the others their weights.
func TestWideWeights(t *testing.T) {
	r := newRig(t, Config{})
	bandwidth := make([]float64, 64)
	for i := range bandwidth {
		bandwidth[i] = float64(10 + i)
	}
	route := func() (hops []NextHop) {
		for i, w := range Weights(bandwidth) {
			hops = append(hops, NextHop{Gateway: netip.AddrFrom4([4]byte{10, 0, byte(i % 2), byte(10 + i)}), IfIndex: r.link[i%2], Weight: w})
		}
		return hops
	}
	set := func() {
		r.set(Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: route()},
			Route{RouteKey: key(90, "10.2.0.0/16", 0), NextHops: route(), RTAMultipath: true},
			Route{RouteKey: key(90, "10.3.0.0/16", 0), NextHops: route(), Buckets: 4096})
		r.Sweep()
		r.flush()
	}
	same := func(when string, dead string) {
		t.Helper()
		want := map[string]uint16{}
		for _, h := range route() {
			if s := h.Gateway.String(); s != dead {
				want[s] = h.Weight
			}
		}
		var list []struct {
			Dst      string
			Nexthops []struct {
				Gateway string
				Weight  uint16
			}
		}
		if err := json.Unmarshal([]byte(r.ns.IP("-j route show table 90")), &list); err != nil || len(list) != 3 {
			t.Fatalf("%s: %d routes: %v", when, len(list), err)
		}
		for _, x := range list {
			got := map[string]uint16{}
			for _, h := range x.Nexthops {
				got[h.Gateway] = h.Weight
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s: %s has %v, want %v", when, x.Dst, got, want)
			}
		}
	}
	set()
	same("at first", "")
	if w := fmt.Sprint(route()[0].Weight, route()[63].Weight); w != "10 73" {
		t.Errorf("the least and the greatest weight are %s", w)
	}

	r.stop()
	r.start(Config{NetNS: r.ns.Path})
	set()
	same("after a restart", "")
	if s := r.Stats(); s.Adds+s.Replaces+s.Deletes+s.ObjectWrites != 0 {
		t.Errorf("a successor wrote %+v", s)
	}

	bandwidth[5] = 40
	set()
	same("with another bandwidth", "")

	dead := route()[7]
	r.GatewayDown(dead.IfIndex, dead.Gateway)
	r.flush()
	same("after GatewayDown", dead.Gateway.String())
}
