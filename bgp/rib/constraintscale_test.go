package rib

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Of a cloud's tenants: each has some guests, and each hypervisor guests of some tenants.
const (
	cloudTargets = 5000 // route targets, one a tenant
	cloudEach    = 20   // EVPN routes of a tenant
	cloudWanted  = 10   // route targets that a client wants
)

// cloud is a reflector whose clients want the EVPN routes of some tenants.
type cloud struct {
	tb    testing.TB
	t     *Table
	from  *In // announces all routes
	ins   []*In
	outs  []*Out
	awake []int  // clients that were notified, in that order
	is    []bool // by client: it is in awake
	buf   []byte
	woken int // notifications
}

// cloudTarget is the route target of a tenant.
func cloudTarget(tenant int) wire.ExtCommunity {
	return 0x0002fde8<<32 | wire.ExtCommunity(tenant+1)
}

// newCloud makes the table with all routes, and clients that have said nothing yet. memberships has them hear of each
// other's.
func newCloud(tb testing.TB, clients, targets int, memberships bool) *cloud {
	c := &cloud{tb: tb, is: make([]bool, clients), buf: make([]byte, 65536)}
	c.t, c.ins = benchTable(tb, clients+1)
	c.from, c.ins = c.ins[clients], c.ins[:clients]
	for tenant := range targets {
		c.announce(tenant, 0)
	}
	for i, in := range c.ins {
		o, err := in.NewOut(OutConfig{AS4: true, Families: wire.Families(wire.L2VPNEVPN, wire.RTConstrain),
			NextHop4: via("10.255.0.1"), DefaultMembership: !memberships, Notify: func() {
				c.woken++
				c.wake(i)
			}})
		if err != nil {
			tb.Fatal(err)
		}
		c.outs = append(c.outs, o)
		c.wake(i)
	}
	c.run()
	return c
}

// announce announces the routes of a tenant, with a local preference.
func (c *cloud) announce(tenant int, pref uint32) {
	a := wire.PathAttrs{LocalPref: &pref, ExtCommunities: []wire.ExtCommunity{cloudTarget(tenant)}}
	var routes [][]byte
	for i := range cloudEach {
		routes = append(routes, macRoute(tenant*cloudEach+i, uint32(tenant)))
	}
	if err := c.from.Update(evpnUpdate(c.tb, a.Append(nil), via("192.0.2.1"), false, 0, routes...)); err != nil {
		c.tb.Fatal(err)
	}
}

func (c *cloud) wake(i int) {
	if !c.is[i] {
		c.is[i] = true
		c.awake = append(c.awake, i)
	}
}

// run has each client read that was notified, until none has anything to read.
func (c *cloud) run() {
	for k := 0; k < len(c.awake); k++ {
		i := c.awake[k]
		c.is[i] = false
		for c.outs[i].Fill(c.buf) > 0 {
		}
	}
	c.awake = c.awake[:0]
}

// want has a client say what it wants, and that this is all. It returns the tenants.
func (c *cloud) want(i int, r *rand.Rand, targets int) []int {
	var list []wire.Membership
	tenants := r.Perm(targets)[:cloudWanted]
	for _, x := range tenants {
		list = append(list, wire.NewMembership(65000, cloudTarget(x)))
	}
	a := wire.PathAttrs{}
	if err := c.ins[i].Update(interestUpdate(c.tb, a.Append(nil), wire.NextHop{Addr: c.ins[i].addr}, false, 0, list...)); err != nil {
		c.tb.Fatal(err)
	}
	c.outs[i].ConstraintKnown()
	return tenants
}

// announced returns how many EVPN routes and memberships all clients have been sent.
func (c *cloud) announced() (n uint64) {
	for _, o := range c.outs {
		n += o.Counters().Announced
	}
	return n
}

// TestConstraintWakes: a change of a tenant's routes wakes the clients that want them, and no others; the others have
// what they want, and are told of the next change.
func TestConstraintWakes(t *testing.T) {
	const clients, targets = 50, 60
	c := newCloud(t, clients, targets, false)
	r := rand.New(rand.NewPCG(3, 4))
	wanted := make([]int, targets)
	for i := range c.ins {
		for _, x := range c.want(i, r, targets) {
			wanted[x]++
		}
	}
	c.run()
	if n := c.announced(); n != clients*cloudWanted*cloudEach {
		t.Errorf("%d routes at first, not %d", n, clients*cloudWanted*cloudEach)
	}
	for round := range 3 {
		for tenant, n := range wanted {
			before := c.announced()
			c.woken = 0
			c.announce(tenant, uint32(7+round))
			c.run()
			if got := int(c.announced() - before); c.woken != n || got != n*cloudEach {
				t.Errorf("round %d, tenant %d, wanted by %d: %d woken, %d routes", round, tenant, n, c.woken, got)
			}
		}
	}
	g := c.t.groups[0]
	list, ok := g.between(&constraint{}, c.outs[0].constraint.want)
	if len(list) != cloudWanted*cloudEach || !ok {
		t.Errorf("%d routes may be wanted, %v", len(list), ok)
	}
	x := cloudTarget(0)
	octets := wire.ExtCommunities(extCommunity(x))
	for range 1000 { // routes that come and go leave little behind
		g.carried.enter(list[0], octets)
		g.tidy()
		g.carried.leave(octets)
	}
	if n := len(g.carried.by[x].dests); n > 3*cloudEach+17 {
		t.Errorf("%d destinations of %d routes", n, cloudEach)
	}
	if err := c.t.audit(); err != nil {
		t.Error(err)
	}
}

// BenchmarkConstraint is a reflector whose clients want few of its routes: what it costs when all say what
// they want, one after the other, and when the routes of one tenant change; the clients that are woken for
// that, and the octets of heap that a client leaves. If clients hear of each other's memberships, most of the first
// is theirs.
func BenchmarkConstraint(b *testing.B) {
	for _, x := range []struct {
		clients     int
		memberships bool
	}{{1000, false}, {8000, false}, {1000, true}} {
		clients := x.clients
		b.Run(fmt.Sprint(clients, " clients", map[bool]string{true: " hear of memberships"}[x.memberships]), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				c := newCloud(b, clients, cloudTargets, x.memberships)
				full := heap()
				r := rand.New(rand.NewPCG(1, 2))
				start := time.Now()
				for i := range c.ins {
					c.want(i, r, cloudTargets)
					for c.outs[i].Fill(c.buf) > 0 {
					}
				}
				initial := time.Since(start)
				c.run()
				all := time.Since(start)
				after := heap()
				c.woken = 0
				n := c.announced()
				start = time.Now()
				const changes = 20
				for i := range changes {
					c.announce(i, 7)
					c.run()
				}
				change := time.Since(start)
				b.ReportMetric(float64(initial.Microseconds())/float64(clients), "us/client")
				b.ReportMetric(float64(all.Microseconds())/float64(clients), "all-us/client")
				b.ReportMetric(float64(change.Microseconds())/changes, "us/change")
				b.ReportMetric(float64(c.woken)/changes, "woken/change")
				b.ReportMetric(float64(c.announced()-n)/changes, "routes/change")
				b.ReportMetric(float64(after-full)/float64(clients), "B/client")
				b.ReportMetric(float64(full-before)/1e6, "MB-before")
				runtime.KeepAlive(c)
			}
		})
	}
}
