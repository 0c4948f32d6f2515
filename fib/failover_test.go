package fib

import (
	"testing"
	"testing/synctest"
)

// TestFailoverTakesNoRoute has gateways die and come back, one by one and several
// before the owner runs, while routes come and go: whatever the order, no deletion of a
// next hop takes a route along.
func TestFailoverTakesNoRoute(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			c := newChaos(t, seed)
			c.f.Sweep()
			for range 60 {
				c.churn()
				if c.m.orphans > 0 {
					c.fail("seed %d: %d routes went with a next hop", seed, c.m.orphans)
				}
			}
			c.quiet()
			if c.m.orphans > 0 {
				c.fail("seed %d: %d routes went with a next hop, at rest", seed, c.m.orphans)
			}
		})
	}
}

// churn changes routes and gateways a few times, and may let the owner run.
func (c *chaos) churn() {
	for range 1 + c.rand.IntN(4) {
		switch h := c.gateway(c.rand.IntN(3) > 0); c.rand.IntN(8) {
		case 0, 1:
			r := c.route()
			c.note("set %v %v classic %v", r.RouteKey, r.NextHops, r.Classic)
			if err := c.f.SetRoute(r); err != nil {
				c.Fatal(err)
			}
		case 2:
			k := c.key()
			c.note("delete %v", k)
			c.f.DeleteRoute(k)
		case 3, 4, 5:
			c.note("gateway down %v", h)
			c.f.GatewayDown(h.Link, h.Gateway)
		default:
			c.note("gateway up %v", h)
			c.f.GatewayUp(h.Link, h.Gateway)
		}
	}
	for range c.rand.IntN(4) {
		c.turn()
	}
}
