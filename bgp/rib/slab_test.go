package rib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestSlab compares a slab with a map under random use that grows and shrinks.
func TestSlab(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s slab[uint64]
	have := map[uint32]uint64{}
	var ids []uint32
	for round := range 6 {
		for len(ids) < 3*slabSize { // grow
			id := s.alloc()
			if _, dup := have[id]; dup || id == 0 {
				t.Fatalf("index %d was given out twice", id)
			}
			if *s.at(id) != 0 {
				t.Fatalf("entry %d is not zero", id)
			}
			have[id] = r.Uint64()
			*s.at(id) = have[id]
			ids = append(ids, id)
			if r.IntN(3) == 0 {
				drop(&s, have, &ids, r.IntN(len(ids)))
			}
		}
		for id, v := range have {
			if *s.at(id) != v {
				t.Fatalf("entry %d changed", id)
			}
		}
		n := 0
		for id := s.next(0); id != 0; id = s.next(id + 1) {
			if _, ok := have[id]; !ok {
				t.Fatalf("next finds %d, which is free", id)
			}
			n++
		}
		if n != len(have) || s.n != n {
			t.Fatalf("%d found by next, %d counted, %d there", n, s.n, len(have))
		}
		for len(ids) > round%2*100 { // shrink
			drop(&s, have, &ids, r.IntN(len(ids)))
		}
	}
	pages := 0
	for _, p := range s.pages {
		if p != nil {
			pages++
		}
	}
	if want := 1 + len(ids) + 1; pages > want {
		t.Errorf("%d pages for %d entries", pages, len(ids))
	}
}

func drop(s *slab[uint64], have map[uint32]uint64, ids *[]uint32, i int) {
	id := (*ids)[i]
	delete(have, id)
	s.free(id)
	(*ids)[i] = (*ids)[len(*ids)-1]
	*ids = (*ids)[:len(*ids)-1]
}

// TestPrefixes compares the prefix tables with a map, prefixes drawn from few enough that each
// comes and goes often, with every length.
func TestPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	p := prefixes{k0: 5, k1: 7}
	have := map[netip.Prefix]destID{}
	draw := func() netip.Prefix {
		if r.IntN(2) == 0 {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(16)), byte(r.IntN(4))})
			return netip.PrefixFrom(a, r.IntN(33)).Masked()
		}
		a := [16]byte{0x20, 1, byte(r.IntN(4)), 10: 0xff, 11: 0xff, 12: 10, 13: byte(r.IntN(16)), 15: byte(r.IntN(8))}
		if r.IntN(4) == 0 {
			a[0], a[1], a[2] = 0, 0, 0 // an IPv4-mapped address is still IPv6
		}
		return netip.PrefixFrom(netip.AddrFrom16(a), r.IntN(129)).Masked()
	}
	for i := range 60000 {
		pfx := draw()
		grow := i/6000%2 == 0
		switch id := have[pfx]; {
		case id == 0 && grow:
			if p.find(pfx) != 0 {
				t.Fatalf("%v is there", pfx)
			}
			id = p.get(pfx)
			have[pfx] = id
			if p.get(pfx) != id || p.prefix(id) != pfx || familyOf(id) != familyNo(pfx) {
				t.Fatalf("%v is %v", pfx, p.prefix(id))
			}
		case id != 0 && p.find(pfx) != id:
			t.Fatalf("%v is not found", pfx)
		case id != 0 && !grow:
			delete(have, pfx)
			p.drop(id)
		}
	}
	n := 0
	for _, fam := range families {
		for id := p.next(fam, 0); id != 0; id = p.next(fam, id+1) {
			if have[p.prefix(id)] != id {
				t.Fatalf("%v is %d", p.prefix(id), id)
			}
			n++
		}
	}
	if n != len(have) || p.ix4.n+p.ix6.n != n {
		t.Errorf("%d prefixes, %d expected", n, len(have))
	}
	for pfx, id := range have {
		p.drop(id)
		delete(have, pfx)
	}
	if len(p.ix4.slots) > 4*indexMin || len(p.ix6.slots) > 4*indexMin {
		t.Errorf("%d and %d slots for nothing", len(p.ix4.slots), len(p.ix6.slots))
	}
}

// TestStrings: what is printed for people.
func TestStrings(t *testing.T) {
	for r := range reasons {
		if r > 0 && r.String() == "" {
			t.Errorf("reason %d has no text", r)
		}
	}
	for _, x := range []struct{ got, want string }{
		{reasons.String(), fmt.Sprintf("Reason(%d)", reasons)}, {ReasonASLoop.String(), "AS loop"},
		{StepASPath.String(), "AS_PATH length"}, {StepPathID.String(), "path identifier"}, {(StepPathID + 1).String(), "Step(13)"},
		{VerdictNext.String(), "next"}, {VerdictAccept.String(), "accept"}, {VerdictReject.String(), "reject"},
	} {
		if x.got != x.want {
			t.Errorf("%q, not %q", x.got, x.want)
		}
	}
	c := ReasonCounts{ReasonASLoop: 2, ReasonRejected: 3}
	if c.Total() != 5 {
		t.Errorf("total %d", c.Total())
	}
}
