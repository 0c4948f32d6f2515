package bfdcore

import (
	"net/netip"
	"testing"
)

func TestDemux(t *testing.T) {
	d := NewDemux[string, *int]()
	one, two, three := new(int), new(int), new(int)
	addr := netip.MustParseAddr
	any := Source[string]{Space: "a", Peer: addr("192.0.2.1"), Local: addr("192.0.2.2")}
	bound := any
	bound.Link = 3
	d.Add(7, one)
	d.Route(any, one)
	d.Route(bound, two)
	for _, c := range []struct {
		about string
		s     func(*Source[string])
		want  *int
	}{
		{"by its interface", func(s *Source[string]) { s.Link = 3 }, two},
		{"by another interface", func(s *Source[string]) { s.Link = 4 }, one},
		{"in another namespace", func(s *Source[string]) { s.Space = "b" }, nil},
		{"from another address", func(s *Source[string]) { s.Peer = s.Local }, nil},
		{"to another address", func(s *Source[string]) { s.Local = s.Peer }, nil},
		{"multihop", func(s *Source[string]) { s.Multihop = true }, nil},
	} {
		s := any
		c.s(&s)
		if got := d.BySource(s); got != c.want {
			t.Errorf("%s: %p, want %p", c.about, got, c.want)
		}
	}
	if d.ByDiscr(7) != one || d.ByDiscr(8) != nil {
		t.Error("by discriminator")
	}
	d.Route(bound, three)
	d.Unroute(bound, two) // is another one's by now
	if d.BySource(bound) != three {
		t.Error("the route of another session was removed")
	}
	d.Unroute(bound, three)
	if d.BySource(bound) != one {
		t.Error("the route stays")
	}
	n := 0
	d.All(func(e *int) { n++ })
	d.Remove(7)
	d.All(func(e *int) { n += 10 })
	if n != 1 || d.ByDiscr(7) != nil {
		t.Error(n)
	}
}

func TestTakes(t *testing.T) {
	single := Binding[string]{Space: "a", Link: 3}
	multi := Binding[string]{Space: "a", MinTTL: 200, Multihop: true}
	good, far := Arrival[string]{Space: "a", Link: 3, TTL: 255}, Arrival[string]{Space: "a", Link: 9, TTL: 200, Multihop: true}
	for _, c := range []struct {
		about   string
		b       Binding[string]
		a       Arrival[string]
		f       func(*Arrival[string])
		refused bool
	}{
		{"one hop", single, good, func(a *Arrival[string]) {}, false},
		{"two hops", single, good, func(a *Arrival[string]) { a.TTL = 254 }, true},
		{"another interface", single, good, func(a *Arrival[string]) { a.Link = 4 }, true},
		{"another namespace", single, good, func(a *Arrival[string]) { a.Space = "b" }, true},
		{"IPv6", single, good, func(a *Arrival[string]) { a.IPv6 = true }, true},
		{"multihop's port", single, good, func(a *Arrival[string]) { a.Multihop = true }, true},
		{"multihop", multi, far, func(a *Arrival[string]) {}, false},
		{"multihop, nearer", multi, far, func(a *Arrival[string]) { a.TTL = 255 }, false},
		{"multihop, too far", multi, far, func(a *Arrival[string]) { a.TTL = 199 }, true},
		{"single hop's port", multi, far, func(a *Arrival[string]) { a.Multihop = false }, true},
	} {
		c.f(&c.a)
		if c.b.Takes(&c.a) == c.refused {
			t.Errorf("%s: taken %v", c.about, !c.refused)
		}
	}
	bound := multi
	bound.Link = 3
	if bound.Takes(&far) {
		t.Error("a multihop session that is bound to an interface takes another one's packets")
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 3, Max: 10}
	got := [6]int{}
	for i := range got {
		if i == 4 {
			b.Reset()
		}
		got[i] = int(b.Next())
	}
	if got != [6]int{3, 6, 10, 10, 3, 6} {
		t.Error(got)
	}
}
