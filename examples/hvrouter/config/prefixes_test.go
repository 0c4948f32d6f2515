package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Prefixes are found whatever the order is in which they came and went.
func TestPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x prefixes
	var all []claimed // the simple way
	for i := range 20000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(16)), byte(r.IntN(256))}), 28+r.IntN(5)).Masked()
		at := slices.IndexFunc(all, func(c claimed) bool { return c.Overlaps(p) })
		found, ok := x.overlap(p)
		if ok != (at >= 0) || ok && !found.Overlaps(p) {
			t.Fatalf("%d: %v overlaps %v (%v), of which there is %d", i, p, found, ok, at)
		}
		if ok && (i/5000)%2 == 1 {
			x.remove(claimed{found.Prefix, "nobody"})
			x.remove(found)
			all = slices.DeleteFunc(all, func(c claimed) bool { return c == found })
		} else if !ok {
			x.add(claimed{p, fmt.Sprint(i)})
			all = append(all, claimed{p, fmt.Sprint(i)})
		}
	}
	var list []claimed
	for _, part := range x.parts {
		if len(part) == 0 || len(part) > mostInPart {
			t.Errorf("a part of %d", len(part))
		}
		list = append(list, part...)
	}
	by := func(a, b claimed) int { return a.Addr().Compare(b.Addr()) }
	if slices.SortFunc(all, by); !slices.Equal(list, all) {
		t.Errorf("%d prefixes, want %d", len(list), len(all))
	}
}

// 300 guests with 1,000 addresses each, from the last to the first: each one more moves few others.
func TestClaimsDescending(t *testing.T) {
	begin := time.Now()
	var x Claims
	a := netip.MustParseAddr("10.255.255.255")
	for i := range 300 {
		g := Guest{Name: fmt.Sprint("vm", i), Interface: fmt.Sprint("vm", i)}
		for range 1000 {
			g.IPv4 = append(g.IPv4, Addr{a})
			a = a.Prev()
		}
		if problems := x.Check(g); len(problems) > 0 {
			t.Fatal(problems)
		}
		x.Add(g, g.Name)
	}
	for _, part := range x.prefixes.parts {
		if len(part) > mostInPart {
			t.Errorf("a part of %d", len(part))
		}
	}
	t.Logf("%v", time.Since(begin))
}
