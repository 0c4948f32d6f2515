package fib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// chaos plays random changes of desire, random deeds of others, and losses of
// notifications and replies against the model, and compares what is left when
// all is quiet with what a slow and obvious oracle says.
type chaos struct {
	*testing.T
	rand     *rand.Rand
	m        *model
	f        *FIB
	o        *owner
	desired  map[RouteKey]Route
	foreign  map[RouteKey]string // routes of others that must be as they were
	either   map[RouteKey]string // theirs or ours: they replaced ours, and word of it was lost or not
	follower *follower
	history  []string
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{T: t, rand: rand.New(rand.NewPCG(seed, 1)), m: newModel(), desired: map[RouteKey]Route{}, foreign: map[RouteKey]string{}, either: map[RouteKey]string{}}
	c.start()
	return c
}

func (c *chaos) start() {
	c.f, c.o = newModelFIB(Config{OnForeign: ForeignWait, BatchMessages: 1 + c.rand.IntN(5)}, c.m)
	c.follower = follow(c.f, RouteFilter{})
	if err := c.o.sync(true); err != nil {
		c.Fatal(err)
	}
}

func (c *chaos) note(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf(format, args...))
}

func (c *chaos) key() RouteKey {
	p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(c.rand.IntN(6)), 0, 0}), 16)
	metric := uint32(0)
	if c.rand.IntN(4) == 0 {
		p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0, byte(c.rand.IntN(4))}), 64)
		metric = metricIPv6
	}
	return RouteKey{Table: 90, Prefix: p, Metric: metric}
}

func (c *chaos) gateway(v4 bool) NextHop {
	link, host := c.rand.IntN(3), 2+c.rand.IntN(2)
	h := NextHop{Link: link + 2}
	if v4 {
		h.Gateway = netip.AddrFrom4([4]byte{10, 100, byte(link), byte(host)})
	} else {
		h.Gateway = netip.AddrFrom16([16]byte{0xfd, byte(link), 15: byte(host)})
	}
	return h
}

func (c *chaos) route() Route {
	r := Route{RouteKey: c.key()}
	if c.rand.IntN(8) == 0 {
		r.Type = Unreachable
		return r
	}
	for range 1 + c.rand.IntN(3) {
		r.NextHops = append(r.NextHops, c.gateway(r.Prefix.Addr().Is4()))
	}
	r.Classic = c.rand.IntN(4) == 0
	if c.rand.IntN(6) == 0 {
		r.Buckets = 8
	}
	return r
}

// step does one random thing.
func (c *chaos) step() {
	switch n := c.rand.IntN(20); {
	case n < 7:
		r := c.route()
		c.note("set %v %v classic %v", r.RouteKey, r.NextHops, r.Classic)
		if err := c.f.SetRoute(r); err != nil {
			c.Fatal(err)
		}
		c.desired[r.RouteKey] = r
	case n < 9:
		k := c.key()
		c.note("delete %v", k)
		c.f.DeleteRoute(k)
		delete(c.desired, k)
	case n < 12:
		c.foreignRoute()
	case n < 13:
		c.foreignHop()
	case n < 14:
		h := c.gateway(c.rand.IntN(3) > 0)
		c.note("gateway down %v", h)
		c.f.GatewayDown(h.Link, h.Gateway)
	case n < 15:
		for k := range c.f.down {
			c.note("gateway up %v", k)
			c.f.GatewayUp(int(k.link), k.gateway)
			break
		}
	case n < 16:
		link, state := int32(2+c.rand.IntN(3)), c.rand.IntN(3)
		c.note("link %d %d", link, state)
		c.m.setLink(link, state != 0, state == 2)
	case n < 17:
		c.note("losses")
		c.m.dropNotes = func() bool { return c.rand.IntN(3) == 0 }
		c.m.dropReplies = func() bool { return c.rand.IntN(3) == 0 }
	case n < 18:
		c.m.dropNotes, c.m.dropReplies = nil, nil
	case n < 19:
		time.Sleep(time.Duration(c.rand.IntN(200)) * time.Millisecond)
	default:
		c.note("restart")
		c.f.Close()
		down := c.f.down
		c.start()
		for _, r := range c.desired {
			_ = c.f.SetRoute(r)
		}
		for k := range down {
			c.f.GatewayDown(int(k.link), k.gateway)
		}
	}
	for range c.rand.IntN(4) { // the owner may or may not have its turn in between
		c.turn()
	}
	if c.rand.IntN(3) == 0 {
		c.follower.read(1 + c.rand.IntN(3))
	}
}

func (c *chaos) turn() bool {
	more, err := c.o.turn()
	if err != nil {
		c.Fatal(err)
	}
	return more
}

func (c *chaos) foreignRoute() {
	k := c.key()
	s := stage{T: c.T, m: c.m}
	verb := []string{"add", "replace", "del", "delours"}[c.rand.IntN(4)]
	proto := uint8(4)
	if verb == "delours" {
		verb, proto = "del", DefaultProtocol
	}
	up := c.m.links[2].AdminUp
	b := s.foreignRoute(verb, Route{RouteKey: k, Type: Prohibit}, proto)
	if !up && verb != "del" {
		return
	}
	err := c.m.by("foreign", b)
	c.note("foreign %s %v proto %d: %d", verb, k, proto, err)
	if err != 0 || proto != 4 {
		return
	}
	line := ""
	for _, l := range c.m.state(4) {
		if strings.HasPrefix(l, fmt.Sprintf("prohibit %v table", k.Prefix)) {
			line = l
		}
	}
	_, theirs := c.foreign[k]
	switch {
	case verb == "del":
		delete(c.foreign, k)
		delete(c.either, k)
	case verb == "replace" && !theirs:
		c.either[k] = line
	default:
		c.foreign[k] = line
		delete(c.either, k)
	}
}

func (c *chaos) foreignHop() {
	ids := sortedKeys(c.m.hops)
	if len(ids) == 0 {
		return
	}
	id := ids[c.rand.IntN(len(ids))]
	c.note("foreign nexthop del %d", id&0xffff)
	c.m.by("foreign", appendDelNextHop(nil, 1, id))
}

// quiet lets everything come to rest: losses end, and time passes.
func (c *chaos) quiet() {
	c.m.dropNotes, c.m.dropReplies = nil, nil
	for range 200 {
		for n := 0; c.turn(); n++ {
			if n > 10000 {
				c.fail("does not come to rest")
			}
		}
		time.Sleep(time.Second)
	}
}

func (c *chaos) fail(format string, args ...any) {
	c.Helper()
	c.Fatalf("%s\nhistory:\n  %s\nkernel:\n  %s\ndiff: %v", fmt.Sprintf(format, args...), strings.Join(c.history, "\n  "), strings.Join(c.m.state(), "\n  "), c.f.Diff())
}

// TestContentsForgotten: what routes said is forgotten with them.
func TestContentsForgotten(t *testing.T) {
	f, o := newModelFIB(Config{}, newModel())
	if err := o.sync(true); err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		r := Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: []NextHop{{Link: 2}}, MTU: uint32(1000 + i)}
		if err := f.SetRoute(r); err != nil {
			t.Fatal(err)
		}
		if _, err := o.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.intern.forms) + len(f.intern.wants); n > 3000 {
		t.Errorf("%d contents for one route", n)
	}
}

// check compares the model with the oracle.
func (c *chaos) check() {
	c.Helper()
	got := map[RouteKey][]*modelRoute{}
	for _, r := range c.m.routes {
		k := r.routeKey()
		got[k] = append(got[k], r)
	}
	for k, rs := range got {
		if len(rs) > 1 {
			c.fail("%d routes under %v", len(rs), k)
		}
		r := rs[0]
		if r.proto == 4 {
			line := c.m.route(&r.routeMessage)
			if c.foreign[k] != line && c.either[k] != line {
				c.fail("foreign route %v is not as it was: %s, was %q", k, line, c.foreign[k])
			}
			continue
		}
		if _, ok := c.desired[k]; !ok {
			c.fail("%v is not desired", k)
		}
	}
	for k := range c.foreign {
		if len(got[k]) == 0 || got[k][0].proto != 4 {
			c.fail("foreign route %v was taken away", k)
		}
	}
	for k, r := range c.desired {
		c.checkRoute(k, r, got[k])
	}
	if err := c.follower.compare(c.f); err != nil {
		c.fail("%v", err)
	}
	for id, n := range c.m.hops {
		if n.members == nil {
			continue
		}
		if !slices.ContainsFunc(c.m.routes, func(r *modelRoute) bool { return r.nhid == id }) && len(c.f.groups) == 0 {
			c.fail("group %d is left over", id&0xffff)
		}
	}
}

func (c *chaos) checkRoute(k RouteKey, r Route, rs []*modelRoute) {
	c.Helper()
	if len(rs) > 0 && rs[0].proto == 4 {
		return // allowed, was checked
	}
	legs, exact := c.oracle(r)
	switch {
	case len(rs) == 0 && (r.Type == Unreachable || len(legs) > 0):
		c.fail("%v is missing, should have %v", k, legs)
	case len(rs) == 0:
		return
	case r.Type == Unreachable:
		if rs[0].typ != RouteType(Unreachable) {
			c.fail("%v has type %v", k, rs[0].typ)
		}
		return
	}
	have := slices.Clone(rs[0].legs)
	if g := c.m.hops[rs[0].nhid]; g != nil {
		for _, x := range g.members {
			n := c.m.hops[x.id]
			have = append(have, leg{n.gateway, n.link, x.weight, n.onlink})
		}
	}
	slices.SortFunc(have, compareLegs)
	if exact && !slices.Equal(have, legs) || len(have) == 0 {
		c.fail("%v has %v, should have %v", k, have, legs)
	}
	for _, l := range have {
		if !slices.Contains(legs, l) {
			c.fail("%v has leg %v, should have some of %v", k, l, legs)
		}
	}
}

// oracle is the slow and obvious answer to: which legs should r have? Not exact
// means that any of them will do, since all gateways are dead.
func (c *chaos) oracle(r Route) (legs []leg, exact bool) {
	var admin, up, live []leg
	for _, h := range r.NextHops {
		l := leg{h.Gateway, int32(h.Link), 1, false}
		link := c.m.links[l.link]
		if slices.Contains(admin, l) || !link.AdminUp {
			continue
		}
		admin = append(admin, l)
		if link.Carrier {
			up = append(up, l)
			if !c.f.down[gatewayKey{l.link, l.gateway}] {
				live = append(live, l)
			}
		}
	}
	for _, x := range [][]leg{admin, up, live} {
		slices.SortFunc(x, compareLegs)
	}
	distinct := map[NextHop]bool{}
	for _, h := range r.NextHops {
		distinct[h] = true
	}
	switch {
	case len(distinct) == 1:
		return admin, true
	case len(live) > 0:
		return live, true
	case r.Classic:
		return admin, true
	default:
		return up, false
	}
}

func runChaos(t *testing.T, seed uint64, steps int) {
	synctest.Test(t, func(t *testing.T) {
		c := newChaos(t, seed)
		for range steps {
			c.step()
		}
		c.f.Sweep()
		c.quiet()
		c.check()
		before := len(c.m.log)
		c.quiet()
		if n := len(c.m.log) - before; n > 0 && !c.retrying() {
			c.fail("still writes: %v", c.m.log[before:])
		}
	})
}

// retrying: something fails, and is tried again for ever.
func (c *chaos) retrying() bool { return len(c.f.failures) > 0 }

func TestChaos(t *testing.T) {
	for seed := range uint64(chaosSeeds()) {
		runChaos(t, seed, 80)
	}
}

func FuzzChaos(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(40))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) { runChaos(t, seed, int(steps)) })
}

// chaosSeeds is 60, or what HYPERFIB_CHAOS says for a long run.
func chaosSeeds() int {
	n := 60
	_, _ = fmt.Sscan(os.Getenv("HYPERFIB_CHAOS"), &n)
	return n
}
