package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// quietKernel takes everything, and notes nothing.
type quietKernel struct{ fakeKernel }

func (quietKernel) SetRoute(fib.Route) error          { return nil }
func (quietKernel) DeleteRoute(fib.RouteKey) error    { return nil }
func (quietKernel) SetAddress(fib.Address) error      { return nil }
func (quietKernel) DeleteAddress(fib.Address) error   { return nil }
func (quietKernel) SetNeighbor(fib.Neighbor) error    { return nil }
func (quietKernel) DeleteNeighbor(fib.Neighbor) error { return nil }

// BenchmarkOneMore adds one guest to a thousand, and takes it away: what the loop itself
// needs.
func BenchmarkOneMore(b *testing.B) {
	const many = 1000
	c, err := configtest.Sample("hv1.yaml")
	if err != nil {
		b.Fatal(err)
	}
	tr := newTrace()
	r := newBenchWith(b, c, slog.New(slog.DiscardHandler), func(string) netns.Kernel { return quietKernel{fakeKernel{trace: tr}} }, tr)
	r.uplinks()
	entry := func(i int) config.Entry {
		name, low := fmt.Sprintf("g%d", i), [2]byte{byte(i >> 8), byte(i)}
		prefix6 := netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", 0x1000+i)), 64)
		return config.Entry{Guest: config.Guest{Name: name, Interface: name, MAC: config.MAC{0x50, 0x54, 0x33, 1, low[0], low[1]},
			IPv4: []config.Addr{{Addr: netip.AddrFrom4([4]byte{10, 0, low[0], low[1]})}}, IPv6: []config.Prefix{{Prefix: prefix6}}}}
	}
	for i := range many + 1 {
		r.link(1000+i, fmt.Sprintf("g%d", i))
	}
	for i := range many {
		if err := r.guests.Put(entry(i)); err != nil {
			b.Fatal(err)
		}
	}
	r.refresh()
	if n := len(r.attached.ports); n < many {
		b.Fatalf("%d guests are served", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.guests.Put(entry(many)); err != nil {
			b.Fatal(err)
		}
		r.refresh()
		if err := r.guests.Remove(fmt.Sprintf("g%d", many)); err != nil {
			b.Fatal(err)
		}
		r.refresh()
		tr.lines = nil
	}
}
