package lpm

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// slow is the obvious implementation.
type slow map[netip.Prefix]int

func (s slow) lookup(a netip.Addr) (v int, ok bool) {
	best := -1
	for p, x := range s {
		if p.Contains(a) && p.Bits() > best {
			best, v, ok = p.Bits(), x, true
		}
	}
	return v, ok
}

func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(64))})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 7: byte(r.IntN(4)), 15: byte(r.IntN(8))})
}

func TestAgainstSlow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var table Table[int]
	oracle := slow{}
	for i := range 20000 {
		a := randomAddr(r)
		p, err := a.Prefix(r.IntN(a.BitLen() + 1))
		if err != nil {
			t.Fatal(err)
		}
		if r.IntN(3) == 0 {
			table.Delete(p)
			delete(oracle, p)
		} else {
			table.Set(p, i)
			oracle[p] = i
		}
		a = randomAddr(r)
		got, ok := table.Lookup(a)
		want, wantOK := oracle.lookup(a)
		if got != want || ok != wantOK || table.Len() != len(oracle) {
			t.Fatalf("step %d, %v: %d %v, want %d %v", i, a, got, ok, want, wantOK)
		}
	}
}

func TestOddities(t *testing.T) {
	var table Table[string]
	if _, ok := table.Lookup(netip.MustParseAddr("::1")); ok {
		t.Error("found in an empty table")
	}
	table.Set(netip.Prefix{}, "invalid")
	table.Delete(netip.MustParsePrefix("10.0.0.0/8"))
	if _, ok := table.Lookup(netip.Addr{}); ok || table.Len() != 0 {
		t.Error("an invalid prefix was stored")
	}
	table.Set(netip.MustParsePrefix("fe80::1/10"), "link-local")
	if v, _ := table.Lookup(netip.MustParseAddr("fe80::2%eth0")); v != "link-local" {
		t.Error("a zone hides the address")
	}
	if v, ok := table.Get(netip.MustParsePrefix("fe80::99/10")); v != "link-local" || !ok {
		t.Error("Get does not mask")
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		var table Table[int]
		for i := range n {
			table.Set(netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 5: byte(i >> 16), 6: byte(i >> 8), 7: byte(i)}), 64), i)
		}
		a := netip.AddrFrom16([16]byte{0: 0x20, 7: 9, 15: 3})
		b.Run(map[int]string{1000: "1k", 100000: "100k"}[n], func(b *testing.B) {
			for b.Loop() {
				table.Lookup(a)
			}
		})
	}
}
