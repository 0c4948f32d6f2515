// Package lpm is a longest-prefix table for the edge of the network: few prefix
// lengths, any number of prefixes of any size.
//
// It is a hash map a family keyed by the masked prefix, and a bitmap of the lengths in
// use. A lookup probes the lengths in use from the longest down, so that its cost
// depends on how many different lengths there are (an operator's handful), not on
// the number of prefixes nor on their size.
package lpm

import (
	"math/bits"
	"net/netip"
)

// Table maps prefixes to values. The zero value is empty and ready. It is not
// safe for concurrent use. IPv4 and IPv6 live side by side; an IPv4-mapped IPv6
// address is looked up as such and finds no IPv4 prefix.
type Table[V any] struct {
	entries map[netip.Prefix]V
	count   [2][129]int // how many prefixes of each length, by family
	used    [2][3]uint64
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Set stores v under p's masked form. An invalid prefix is ignored.
func (t *Table[V]) Set(p netip.Prefix, v V) {
	if p = p.Masked(); !p.IsValid() {
		return
	}
	if t.entries == nil {
		t.entries = make(map[netip.Prefix]V)
	}
	if _, ok := t.entries[p]; !ok {
		f, n := family(p.Addr()), p.Bits()
		t.count[f][n]++
		t.used[f][n/64] |= 1 << (n % 64)
	}
	t.entries[p] = v
}

// Delete removes p; it does nothing if p is not there.
func (t *Table[V]) Delete(p netip.Prefix) {
	p = p.Masked()
	if _, ok := t.entries[p]; !ok {
		return
	}
	delete(t.entries, p)
	f, n := family(p.Addr()), p.Bits()
	if t.count[f][n]--; t.count[f][n] == 0 {
		t.used[f][n/64] &^= 1 << (n % 64)
	}
}

// Get returns the value stored under exactly p.
func (t *Table[V]) Get(p netip.Prefix) (v V, ok bool) {
	v, ok = t.entries[p.Masked()]
	return v, ok
}

// Lookup returns the value of the longest prefix that contains a.
func (t *Table[V]) Lookup(a netip.Addr) (v V, ok bool) {
	if !a.IsValid() {
		return v, false
	}
	a = a.WithZone("")
	f := family(a)
	for w := 2; w >= 0; w-- {
		for set := t.used[f][w]; set != 0; {
			n := 63 - bits.LeadingZeros64(set)
			set &^= 1 << n
			p, _ := a.Prefix(w*64 + n)
			if v, ok = t.entries[p]; ok {
				return v, true
			}
		}
	}
	return v, false
}

// Len returns the number of prefixes.
func (t *Table[V]) Len() int { return len(t.entries) }
