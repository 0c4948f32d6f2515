package rib

import (
	"runtime"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// manyLabels is an UPDATE of 65,507 octets: 956 EVPN routes of type 2 with as many labels, and 32 kB of communities. Few of
// them have the same attributes if a label is one.
func manyLabels(tb testing.TB) *wire.Update {
	a := typicalAttrs(1)
	for i := range 7950 {
		a.Communities = append(a.Communities, wire.Community(i))
	}
	routes := make([][]byte, 956)
	for i := range routes {
		routes[i] = macRoute(i, uint32(i))
	}
	return evpnUpdate(tb, a.Append(nil), wire.NextHop{Addr: ip("10.255.0.2")}, false, 0, routes...)
}

// attrOctets is what the attribute sets of a table hold.
func attrOctets(t *Table) (n int) {
	for id := t.attrs.sets.next(0); id != 0; id = t.attrs.sets.next(id + 1) {
		n += len(t.attrs.at(id).octets)
	}
	return n
}

// TestManyLabels: routes that differ in their labels alone share the octets of their attributes, in the table
// and on the wire, through an import policy and an export policy, too.
func TestManyLabels(t *testing.T) {
	const size = 32 << 10 // of the attributes
	tab, ins := benchTable(t, 3)
	mark := Chain(AddCommunity(1<<20), SetLocalPref(7))
	if err := ins[0].Configure(PeerConfig{Addr: ip("10.0.0.9"), AS: 65000, Client: true, Import: mark}); err != nil {
		t.Fatal(err)
	}
	var outs []*Out
	for _, in := range ins[1:] {
		o, err := in.NewOut(OutConfig{AS4: true, ExtendedMessages: true, Families: wire.Families(wire.L2VPNEVPN),
			NextHop4: wire.NextHop{Addr: ip("10.0.0.1")}, Export: DeleteCommunity(1)})
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, o)
	}
	_ = ins[0].Update(manyLabels(t))
	buf := make([]byte, wire.MaxExtendedLen)
	for _, o := range outs {
		n := 0
		for k := 1; k > 0; n += k {
			k = o.Fill(buf)
		}
		if c := o.Counters(); c.Announced != 956 || n > 3*size {
			t.Errorf("%d routes in %d octets; want 956 in little more than those of the message, %d", c.Announced, n, 2*size)
		}
	}
	// As received, two steps of import, and of each end two of export: all with 32 kB; and some 20 octets a label.
	if n := attrOctets(tab); n > 8*size {
		t.Errorf("%d octets of attributes; want a few times %d", n, size)
	}
	if err := tab.audit(); err != nil {
		t.Error(err)
	}
	ins[0].Drop(wire.L2VPNEVPN)
	for _, o := range outs {
		for o.Fill(buf) > 0 {
		}
	}
	if s := tab.Stats(); s.Attrs != 0 {
		t.Errorf("%d sets of attributes are left", s.Attrs)
	}
}

// BenchmarkManyLabels takes the routes of manyLabels in, and reflects them to another client: the octets of heap
// that are left, those on the wire, and the longest that the mutex was held without a pause by the receiver, and
// by the sender.
func BenchmarkManyLabels(b *testing.B) {
	u := manyLabels(b)
	buf := make([]byte, wire.MaxExtendedLen)
	before := heap()
	var t *Table
	var octets, held, sent int
	for b.Loop() {
		var ins []*In
		t, ins = benchTable(b, 2)
		o, err := ins[1].NewOut(OutConfig{AS4: true, ExtendedMessages: true, Families: wire.Families(wire.L2VPNEVPN),
			NextHop4: wire.NextHop{Addr: ip("10.0.0.1")}})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		_ = ins[0].Update(u)
		held = max(held, int(time.Since(start)))
		octets = 0
		for k := 1; k > 0; octets += k {
			start = time.Now()
			k = o.Fill(buf)
			sent = max(sent, int(time.Since(start)))
		}
	}
	b.ReportMetric(float64(held), "held-ns")
	b.ReportMetric(float64(sent), "fill-ns")
	b.ReportMetric(float64(heap()-before), "heap-B")
	b.ReportMetric(float64(octets), "wire-B")
	runtime.KeepAlive(t)
}
