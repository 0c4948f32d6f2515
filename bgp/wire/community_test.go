package wire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRepeatedLargeCommunities: what repeats itself is gone after Parse, and is not sent by what
// is originated here; the rest keeps its order (RFC 8092, Section 3).
func TestRepeatedLargeCommunities(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for range 2000 {
		var list, want []LargeCommunity
		kinds := 1 + r.IntN(40)
		for range 1 + r.IntN(40) {
			c := LargeCommunity{uint32(r.IntN(kinds)), 1, uint32(r.IntN(2))}
			if list = append(list, c); !slices.Contains(want, c) {
				want = append(want, c)
			}
		}
		originated := (&PathAttrs{LargeCommunities: list}).Append(nil)
		var v []byte
		for _, c := range list {
			v = append(v, byte(c.Global>>24), byte(c.Global>>16), byte(c.Global>>8), byte(c.Global), 0, 0, 0, byte(c.Local1), 0, 0, 0, byte(c.Local2))
		}
		without := (&PathAttrs{LargeCommunities: nil}).Append(nil)
		attrs := NewAttr(AttrLargeCommunities, v).Append(append(slices.Clone([]byte(without)), wellKnown, byte(AttrNextHop), 4, 192, 0, 2, 1))
		body := append([]byte{0, 0, byte(len(attrs) >> 8), byte(len(attrs))}, attrs...)
		u, err := ParseUpdate(append(body, 24, 203, 0, 113), Options{AS4: true, IBGP: true})
		if err != nil {
			t.Fatal(err)
		}
		received := u.AppendAttrs(nil)
		for _, a := range []Attrs{originated, received} {
			if got := slices.Collect(a.LargeCommunities().All()); !slices.Equal(got, want) {
				t.Fatalf("%v became %v, want %v", list, got, want)
			}
		}
		if !bytes.Equal(originated, received) {
			t.Fatalf("originated %x, received %x", originated, received)
		}
	}
}
