package fibcore

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// hostHops are the next hops to a host over two links.
func hostHops(i int) []NextHop {
	return []NextHop{{IfIndex: 2, Gateway: netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})},
		{IfIndex: 3, Gateway: netip.AddrFrom4([4]byte{10, 3, byte(i >> 8), byte(i)})}}
}

func hostRoute(i int, hops ...NextHop) *Route {
	p := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	return &Route{RouteKey: wire.RouteKey{Table: 90, Prefix: p}, NextHops: hops}
}

// TestNextHopSets: the sets of groups by their next hops and members are what the groups say,
// whatever is desired and whatever others do in the kernel.
func TestNextHopSets(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c, now := ready(t, testConfig), time.Unix(1000, 0)
		for step := range 60 {
			hops := append(hostHops(r.IntN(4)), hostHops(r.IntN(4))...)[r.IntN(2) : 2+r.IntN(3)]
			var err error
			switch r.IntN(6) {
			case 0, 1:
				err = c.SetRoute(hostRoute(r.IntN(5), hops...))
			case 2:
				err = c.DeleteRoute(hostRoute(r.IntN(5)).RouteKey)
			case 3:
				c.SetGateway(hops[0].IfIndex, hops[0].Gateway, r.IntN(2) == 0)
			case 4: // somebody makes, changes or deletes an object or a group
				m := &wire.NextHopMessage{ID: testConfig.NextHopBase + uint32(r.IntN(12)), Protocol: 201, Family: wire.FamilyIPv4, Gateway: hops[0].Gateway, IfIndex: 2}
				if r.IntN(2) == 0 {
					m.Members = []wire.Member{{ID: testConfig.NextHopBase + uint32(r.IntN(12)), Weight: 1}}
				}
				c.nexthops.observeNextHop(m, r.IntN(2) == 0, false, origin{proto: 4, port: 7})
			case 5:
				now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.IntN(2) == 0 {
				turn(c, now)
			}
			if err := c.nexthops.checkSets(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

func (c *nexthops) checkSets() error {
	wanting, using := sets[gatewayKey, *group]{}, sets[uint32, *kernelGroup]{}
	for _, g := range c.groups {
		for i := range g.nextHops {
			wanting.add(gatewayOf(&g.nextHops[i]), g)
		}
	}
	for _, k := range c.kernel {
		for _, m := range k.members {
			using.add(m.ID, k)
		}
	}
	if !reflect.DeepEqual(wanting, c.wanting) || !reflect.DeepEqual(using, c.using) {
		return fmt.Errorf("wanting %v, want %v; using %v, want %v", c.wanting, wanting, c.using, using)
	}
	return nil
}

// BenchmarkLinkDies is the death of all next hops on one of two links, one for each host.
func BenchmarkLinkDies(b *testing.B) {
	for _, hosts := range []int{500, 8000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c, now := ready(b, testConfig), time.Unix(1000, 0)
				for i := range hosts {
					if err := c.SetRoute(hostRoute(i, hostHops(i)...)); err != nil {
						b.Fatal(err)
					}
				}
				for turn(c, now) > 0 {
				}
				b.StartTimer()
				for i := range hosts {
					hop := hostHops(i)[0]
					c.SetGateway(hop.IfIndex, hop.Gateway, true)
				}
				turn(c, now)
				if n := len(c.nexthops.hops); n != hosts {
					b.Fatalf("%d next hops are left", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(hosts), "ns/nexthop")
		})
	}
}
