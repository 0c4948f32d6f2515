package fib

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestSearch has a user change what is desired, others change the kernel, and everything
// go wrong that can: messages refused, notifications late, lost or twice, dumps
// interrupted. When all is quiet, the kernel is as desired, nothing is written any more,
// nothing of others has changed, Diff tells the truth, and the number of messages was
// bounded.
func TestSearch(t *testing.T) {
	scenario.Search{Seeds: 200, Inputs: randomInputs, Play: playQuietly}.Run(t)
}

// TestSearchFailover has gateways die and come back while routes come and go: whatever
// the order, no deletion of a next hop takes a route along.
func TestSearchFailover(t *testing.T) {
	scenario.Search{Seeds: 200, Inputs: func(r *rand.Rand) (lines []string) {
		lines = append(lines, "start", "sweep")
		g := &gen{Rand: r}
		for range 60 {
			g.maybeLater()
			switch r.IntN(8) {
			case 0, 1:
				g.say("set %s", g.route())
			case 2:
				g.say("delete %s", g.key())
			case 3, 4, 5:
				g.say("gateway-down %s", g.gateways())
			default:
				g.say("gateway-up %s", g.gateways())
			}
		}
		return append(lines, g.lines...)
	}, Play: func(t *testing.T, inputs []string) error { return playAndCheck(t, inputs, (*player).orphaned) }}.Run(t)
}

// TestSearchSilent has others change the kernel without a notification, beside what TestSearch does:
// the audit finds it, so that two rounds later the kernel is as desired.
func TestSearchSilent(t *testing.T) {
	scenario.Search{Seeds: 200, Inputs: func(r *rand.Rand) []string {
		lines := randomInputs(r)
		for i, l := range lines {
			at, rest, later := strings.Cut(l, " ")
			if !later || !strings.HasPrefix(at, "+") {
				at, rest = "", l
			}
			if s := strings.Fields(rest); r.IntN(2) == 0 && (s[0] == "foreign" || s[0] == "link" && s[2] != "create" && s[2] != "delete") {
				lines[i] = strings.TrimSpace(at + " silent " + rest)
			}
		}
		return lines
	}, Play: playQuietly}.Run(t)
}

// gen makes lines at random.
type gen struct {
	*rand.Rand
	lines []string
	now   time.Duration
}

func (g *gen) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if g.now > 0 {
		line = fmt.Sprintf("+%v %s", g.now, line)
	}
	g.lines = append(g.lines, line)
}

// maybeLater lets time pass now and then: often none at all.
func (g *gen) maybeLater() {
	switch g.IntN(6) {
	case 0:
		g.now += time.Duration(1+g.IntN(9)) * time.Millisecond
	case 1:
		g.now += time.Duration(1+g.IntN(300)) * time.Millisecond
	case 2:
		if g.IntN(5) == 0 {
			g.now += time.Duration(1+g.IntN(8)) * time.Second
		}
	}
}

func pick[T any](g *gen, list ...T) T { return list[g.IntN(len(list))] }

func (g *gen) dev() string { return fmt.Sprintf("v%d", g.IntN(3)) }

// key is one of few, in both families.
func (g *gen) key() string {
	if g.IntN(4) == 0 {
		return fmt.Sprintf("2001:%d::/64", g.IntN(4))
	}
	return fmt.Sprintf("10.%d.0.0/16%s", 1+g.IntN(6), pick(g, "", "", "", " metric 10"))
}

// hop is a next hop of a route of a family: now and then by a link-local address, which is the same
// on each link, and of the other family than an IPv4 route (RFC 8950, Section 3).
func (g *gen) hop(v6 bool) string {
	n := g.IntN(3)
	switch {
	case g.IntN(5) == 0:
		return fmt.Sprintf("via fe80::%d dev v%d", 2+g.IntN(2), n)
	case v6:
		return fmt.Sprintf("via fd%02d::%d dev v%d", n, 2+g.IntN(2), n)
	}
	return fmt.Sprintf("via 10.0.%d.%d dev v%d", n, 2+g.IntN(2), n)
}

func (g *gen) route() string {
	s := g.key()
	v6 := strings.Contains(s, "::")
	switch g.IntN(10) {
	case 0:
		return s + " unreachable"
	case 1:
		return s + " dev " + g.dev()
	}
	seen := map[string]bool{}
	linkLocal := g.IntN(4) == 0
	for range 1 + g.IntN(3) {
		h := g.hop(v6)
		if linkLocal { // as of unnumbered neighbours; IPv4 and IPv6 routes share the group
			h = "via fe80::2 dev " + g.dev()
		}
		if !seen[h] {
			seen[h] = true
			s += " " + h
		}
	}
	switch g.IntN(8) {
	case 0:
		s += " classic"
	case 1:
		if len(seen) > 1 {
			s += " buckets 8"
		}
	case 2:
		s += " mtu 1400"
	}
	return s
}

func (g *gen) gateways() string {
	var s []string
	for range 1 + g.IntN(2) {
		h := strings.Fields(g.hop(g.IntN(3) == 0))
		s = append(s, h[3]+" "+h[1])
	}
	return strings.Join(s, " ")
}

func (g *gen) rule() string {
	s := fmt.Sprintf("%d: lookup %d", 10+g.IntN(3), 90+g.IntN(2))
	if g.IntN(3) == 0 {
		s += " iif " + g.dev()
	}
	return s
}

func (g *gen) address() string {
	return fmt.Sprintf("%s dev %s", pick(g, "203.0.113.1/32", "203.0.113.2/32", "2001:db8::1/64"), g.dev())
}

func (g *gen) neighbor() string {
	return fmt.Sprintf("%s dev %s%s", pick(g, "203.0.113.7", "2001:db8::7"), g.dev(), pick(g, "", "", " mac 02:00:00:00:00:02", " proxy"))
}

// randomInputs are those of TestSearch.
func randomInputs(r *rand.Rand) []string {
	g := &gen{Rand: r}
	g.say("config %s batch %d", pick(g, "wait", "wait", "refuse", "take"), 1+g.IntN(6))
	if g.IntN(2) == 0 { // somebody was there before
		for range g.IntN(6) {
			g.say("foreign %s", g.foreign())
		}
	}
	for range 5 + g.IntN(70) {
		g.maybeLater()
		g.input()
	}
	return g.lines
}

func (g *gen) input() {
	switch n := g.IntN(40); {
	case n < 8:
		g.say("set %s", g.route())
	case n < 10:
		g.say("delete %s", g.key())
	case n < 12:
		g.say("%s %s", pick(g, "rule", "rule", "ban", "unrule"), g.rule())
	case n < 13:
		g.say("%s %s", pick(g, "address", "address", "unaddress"), g.address())
	case n < 14:
		g.say("%s %s", pick(g, "neighbour", "neighbour", "unneighbour"), g.neighbor())
	case n < 17:
		g.say("%s %s", pick(g, "gateway-down", "gateway-up"), g.gateways())
	case n < 27:
		g.say("foreign %s", g.foreign())
	case n < 29:
		g.say("during %d foreign %s", 1+g.IntN(9), g.foreign())
	case n < 31:
		g.say("link %s %s", g.dev(), pick(g, "up", "up", "down", "nocarrier", "delete", "create", "create"))
	case n < 32:
		g.say("during %d link %s %s", 1+g.IntN(9), g.dev(), pick(g, "up", "down", "nocarrier", "delete", "create"))
	case n < 34:
		g.say("notifications %s", pick(g, "arrive", "arrive", "late", "twice", "lose 3", "overflow"))
	case n < 35:
		g.say("lose-replies %d", g.IntN(4))
	case n < 36:
		g.say("interrupt %s %d", pick(g, "link", "address", "neighbour", "nexthop", "rule", "route"), 1+g.IntN(25))
	case n < 37:
		g.say("errno %s %s %d", pick(g, "ENOBUFS", "ENOMEM", "EPERM", "ENETDOWN", "EINVAL"),
			pick(g, "route", "nexthop", "rule", "address", "neighbour", "delete-route", "delete-nexthop", "delete-rule"), 1+g.IntN(5))
	case n < 38:
		g.say("dump-error %s %d", pick(g, "ENOBUFS", "ENOMEM", "EMFILE", "EBUSY"), 1+g.IntN(4))
	case n < 39:
		g.say("%s", pick(g, "restore", "restore", "sweep"))
	default:
		h := strings.Fields(g.hop(g.IntN(3) == 0))
		g.say("%s %s", pick(g, "refuse", "accept"), h[1])
	}
}

// foreign is what another program does.
func (g *gen) foreign() string {
	proto := pick(g, " proto 4", " proto 4", " proto 201", " proto 202")
	switch g.IntN(14) {
	case 0, 1, 2:
		return fmt.Sprintf("route %s %s%s", pick(g, "add", "replace"), g.simpleRoute(), proto)
	case 3:
		s := g.key()
		return fmt.Sprintf("route append %s %s%s", s, g.hop(strings.Contains(s, "::")), proto)
	case 4, 5:
		return fmt.Sprintf("route del %s%s", g.key(), pick(g, proto, ""))
	case 6, 7:
		return fmt.Sprintf("nexthop del #%d", g.IntN(9))
	case 8:
		return fmt.Sprintf("nexthop replace #%d %s%s", g.IntN(9), pick(g, g.hop(false), g.hop(true), g.hop(false)+" onlink", "blackhole", "fdb via 10.0.0.2"), pick(g, "", proto))
	case 9:
		return fmt.Sprintf("nexthop add %d %s%s", g.IntN(9), g.hop(g.IntN(3) == 0), pick(g, "", proto))
	case 10:
		return fmt.Sprintf("group replace #%d #%d #%d*3%s%s", g.IntN(9), g.IntN(9), g.IntN(9), pick(g, "", "", " buckets 8", " buckets 8 idle 500"), pick(g, "", proto))
	case 11:
		return fmt.Sprintf("rule %s %s%s", pick(g, "add", "del"), g.rule(), pick(g, proto, ""))
	case 12:
		return fmt.Sprintf("address %s %s%s", pick(g, "add", "del", "replace"), pick(g, g.address(), fmt.Sprintf("10.0.%d.1/24 dev v%[1]d", g.IntN(3))), pick(g, "", "", " proto 201"))
	}
	if g.IntN(3) == 0 { // not with replace: the kernel does not notify another protocol number alone
		return fmt.Sprintf("neighbour add %s proto 201", g.neighbor())
	}
	return fmt.Sprintf("neighbour %s %s", pick(g, "add", "del", "replace"), g.neighbor())
}

// simpleRoute is a route of another program, some with what this package never writes.
func (g *gen) simpleRoute() string {
	s := g.key()
	v6 := strings.Contains(s, "::")
	if g.IntN(3) == 0 {
		return s + " prohibit"
	}
	s += " " + g.hop(v6)
	switch {
	case g.IntN(4) > 0:
	case v6:
		s += pick(g, " pref 1", " expires 60", " rtt 100")
	default:
		s += pick(g, " realm 5", " rtt 100", " scope 253", " mtu 1300")
	}
	return s
}

// mostMessages is what one input may cause at most: each of some ten objects may be
// written a few times, and again after a fault.
const mostMessages = 150

func playQuietly(t *testing.T, inputs []string) error {
	return playAndCheck(t, inputs, func(*player) error { return nil })
}

func playAndCheck(t *testing.T, inputs []string, also func(*player) error) (err error) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.quiet, p.config.Tables = true, []uint32{90}
		p.follow = &follower{}
		p.m.guard = &guard{player: p}
		if _, e := scenario.Play(strings.Join(inputs, "\n"), p); e != nil {
			err = e
		} else {
			err = cmp.Or(p.settle(len(inputs)), also(p))
		}
		p.stop()
	})
	return err
}

// settle ends what goes wrong, lets everything come to rest, and checks.
func (p *player) settle(inputs int) error {
	p.m.mu.Lock()
	p.m.due = nil
	f := &p.m.faults
	f.Late, f.Twice, f.LoseNotification, f.LoseReply = false, false, 0, 0
	f.ErrnoLeft, f.DumpErrors = 0, 0
	clear(f.Interrupted)
	clear(p.m.Refuse)
	p.m.Wake()
	p.m.mu.Unlock()
	if p.f == nil {
		p.start()
		synctest.Wait()
	}
	p.f.Sweep()
	p.pass(2 * time.Minute)
	if err := p.m.guard.err; err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("%w\nkernel:\n  %s\nnext hops:\n  %s\ndiff: %v", err, strings.Join(p.m.state(), "\n  "), strings.Join(p.m.hopList(), "\n  "), p.f.Diff())
	}
	before := p.m.count
	if before > mostMessages*(inputs+1) {
		return fmt.Errorf("%d messages for %d inputs", before, inputs)
	}
	p.m.mu.Lock()
	p.m.writes = nil
	p.m.mu.Unlock()
	p.pass(time.Minute)
	if n := p.m.count - before; n > 0 && len(p.f.core.Failing(1)) == 0 {
		return fmt.Errorf("still writes %q", p.m.writes)
	}
	if err := p.follow.compare(p.f); err != nil {
		return err
	}
	return p.m.guard.err
}

// pass lets time pass.
func (p *player) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (m *fake) hopList() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.NextHops() {
		out = append(out, fmt.Sprintf("%s proto %d", m.NextHopText(&h.NextHopMessage), h.Protocol))
	}
	return out
}

// guard watches what the FIB does to the kernel while it does it.
type guard struct {
	player *player
	err    error
	at     time.Time
	burst  int // messages at this moment
	calls  int // of sockets

	stolen map[any]bool // routes and next-hop objects that another program has put in the place of ours, and keys of such routes
}

// mostAtOnce is how many messages may be sent at one moment of virtual time: more is a
// loop without a pause.
const mostAtOnce = 2000

func (g *guard) message() (stop bool) {
	g.moment()
	if g.burst++; g.burst > mostAtOnce {
		g.fail("%d messages at one moment", g.burst)
		return true
	}
	return false
}

// call is a look for notifications: one that never waits is a loop, too.
func (g *guard) call() (stop bool) {
	g.moment()
	if g.calls++; g.calls > 5*mostAtOnce {
		g.fail("%d turns at one moment", g.calls)
		return true
	}
	return false
}

func (g *guard) moment() {
	if now := time.Now(); now != g.at {
		g.at, g.burst, g.calls = now, 0, 0
	}
}

func (g *guard) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
}

// informed reports whether the FIB could know what the kernel has: it has received all
// notifications, or has been told that some were dropped.
func (m *fake) informed() bool {
	return !m.silent && m.monitor.Pending() == 0 && !m.monitor.Overflowed()
}

// changed looks at a change of the kernel's tables.
func (g *guard) changed(c fakekernel.Change) {
	own := c.Port == fakePort
	if own && c.NewRoute != nil {
		delete(g.stolen, c.NewRoute.RouteKey())
	}
	switch {
	case c.Cascade:
		if r := c.OldRoute; r != nil && g.stolen[r] && r.Family == wire.FamilyIPv4 {
			g.steal(r.RouteKey()) // without a notification: the place of ours is still taken
		}
	case own && c.OldRoute != nil:
		g.route(c.OldRoute)
	case own && c.OldNextHop != nil:
		g.hop(c.OldNextHop)
	case own && c.OldRule != nil:
		g.rule(*c.OldRule)
	case own || !g.player.m.running:
	case c.NewRoute != nil && g.stolen[c.NewRoute.RouteKey()]:
		g.steal(c.NewRoute)
	case c.OldRoute != nil && c.NewRoute == nil && (g.stolen[c.OldRoute] || ownProtocol(c.OldRoute.Protocol) && g.desires(c.OldRoute)):
		g.steal(c.OldRoute.RouteKey()) // until ours is back, each next one takes it away from us
	case c.OldRoute != nil && c.NewRoute != nil:
		// If the FIB hears of it late, what is desired then is what counts for it.
		late := g.player.m.faults.Late || !g.player.m.informed()
		if old := c.OldRoute; (late || g.desires(c.NewRoute)) && (ownProtocol(old.Protocol) || g.stolen[old]) {
			g.steal(c.NewRoute)
			g.steal(c.NewRoute.RouteKey())
		}
	case c.OldNextHop != nil && c.NewNextHop != nil:
		if old := c.OldNextHop; old.Protocol == DefaultProtocol || g.stolen[old] {
			g.steal(c.NewNextHop)
		}
	}
}

// steal notes that x has taken the place of ours.
func (g *guard) steal(x any) {
	if g.stolen == nil {
		g.stolen = map[any]bool{}
	}
	g.stolen[x] = true
}

func ownProtocol(p uint8) bool { return p == DefaultProtocol || p == DefaultPersistentProtocol }

// route: a route of another program that was not put in the place of ours is replaced or deleted only
// if the policy says so.
func (g *guard) route(q *fakekernel.Route) {
	_, desired := g.player.desired.routes[RouteKey(q.RouteKey())]
	if ownProtocol(q.Protocol) || g.stolen[q] || !g.player.m.informed() || g.player.m.faults.Interrupted[rtnl.RTM_GETROUTE] > 0 || desired && g.player.config.OnForeign == ForeignTake {
		return
	}
	g.fail("route of protocol %d: %s", q.Protocol, g.player.m.RouteText(&q.RouteMessage))
}

// desires reports whether the FIB wants a route under the key of r.
func (g *guard) desires(r *fakekernel.Route) bool {
	f := g.player.f
	f.lock()
	defer f.unlock()
	_, ok := g.player.desired.routes[RouteKey(r.RouteKey())]
	return ok && f.core.Synced()
}

// hop: an object of another program stays as it is, unless it took the place of ours.
func (g *guard) hop(h *fakekernel.NextHop) {
	if h.Protocol != DefaultProtocol && !g.stolen[h] && g.player.m.informed() {
		g.fail("next-hop object of protocol %d: %s", h.Protocol, g.player.m.NextHopText(&h.NextHopMessage))
	}
}

// rule: what is deleted is banned, or ours and not needed; and while packets are to meet
// rules, all that are desired and were there still are.
func (g *guard) rule(gone wire.KernelRule) {
	m, d := g.player.m, g.player.desired.rules
	if !m.informed() || m.faults.Interrupted[rtnl.RTM_GETRULE] > 0 {
		return
	}
	wanted, known := d[ruleOf(gone.Rule)]
	if !known && gone.Protocol != DefaultProtocol {
		g.fail("rule of protocol %d: %v", gone.Protocol, gone.Rule)
	}
	if wanted && !slices.ContainsFunc(m.Rules(), func(k wire.KernelRule) bool { return k.Rule == gone.Rule }) {
		g.fail("the only rule %v is deleted", gone.Rule)
	}
	if !known || wanted {
		return
	}
	for r, wanted := range d {
		if wanted && r.Family == Family(gone.Family) && !slices.ContainsFunc(m.Rules(), func(k wire.KernelRule) bool { return ruleOf(k.Rule) == r }) {
			g.fail("the banned rule %v goes before %v is there", gone.Rule, r)
		}
	}
}

// check compares the kernel with what is desired.
func (p *player) check() error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for _, f := range []func() error{p.checkRoutes, p.checkRules, p.checkSmall, p.checkLeftovers} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) checkRoutes() error {
	have := map[RouteKey][]*fakekernel.Route{}
	for _, r := range p.m.Routes() {
		have[RouteKey(r.RouteKey())] = append(have[RouteKey(r.RouteKey())], r)
	}
	for k, rs := range have {
		own := slices.ContainsFunc(rs, func(r *fakekernel.Route) bool { return ownProtocol(r.Protocol) })
		if _, ok := p.desired.routes[k]; !ok && own {
			return fmt.Errorf("%v is not desired: %s", k, p.m.RouteText(&rs[0].RouteMessage))
		}
	}
	for k, r := range p.desired.routes {
		if err := p.checkRoute(k, p.now(r, p.current), have[k]); err != nil {
			return err
		}
	}
	return nil
}

// stolen reports whether a route has taken the place of ours.
func (p *player) stolen(r *fakekernel.Route) bool { return p.m.guard != nil && p.m.guard.stolen[r] }

// checkRoute compares the routes under one key with what is desired.
func (p *player) checkRoute(k RouteKey, want Route, rs []*fakekernel.Route) error {
	must, may := p.oracle(want)
	if len(rs) > 0 && rs[0].Protocol == 4 && !p.stolen(rs[0]) {
		if p.config.OnForeign == ForeignTake && (len(want.NextHops) == 0 || len(must) > 0) {
			return fmt.Errorf("%v: another program's is not taken", k)
		}
		return nil // his
	}
	if len(rs) == 0 {
		if p.config.OnForeign == ForeignRefuse {
			return nil // somebody may have been there, and gone
		}
		if len(want.NextHops) == 0 || len(must) > 0 {
			return fmt.Errorf("%v is missing, should have %v", k, must)
		}
		return nil
	}
	if rs[0].Protocol == 4 && (p.m.lost() || p.faulty || len(must) == 0 && len(want.NextHops) > 0) {
		return nil // what took our place stays while ours cannot be had, or it was not seen that it did
	}
	q := p.m.Resolve(rs[0])
	if want.Type == RouteUnreachable {
		if q.Type != wire.RouteUnreachable {
			return fmt.Errorf("%v is of type %v", k, q.Type)
		}
		return nil
	}
	if q.Unknown || q.MTU != want.MTU || q.Type != wire.RouteUnicast {
		if len(must) == 0 {
			return nil
		}
		return fmt.Errorf("%v: %s", k, p.m.RouteText(&q))
	}
	for _, l := range must {
		if !slices.Contains(q.NextHops, l) {
			return fmt.Errorf("%v has %v, should have %v", k, q.NextHops, must)
		}
	}
	for _, l := range q.NextHops {
		if !slices.Contains(may, l) && len(must) > 0 {
			return fmt.Errorf("%v has nextHop %v, may have %v", k, l, may)
		}
	}
	return nil
}

// oracle is the slow and obvious answer to: which next hops must r have, and which may it
// have? If must is empty it need not be there.
func (p *player) oracle(r Route) (must, may []wire.NextHop) {
	distinct := map[NextHop]bool{}
	for _, h := range r.NextHops {
		distinct[h] = true
	}
	var usable, alive []wire.NextHop
	complete := true
	for h := range distinct {
		l := wire.NextHop{Gateway: h.Gateway, IfIndex: int32(h.IfIndex), Weight: cmp.Or(h.Weight, 1), OnLink: h.OnLink}
		link, ok := p.m.Link(h.IfIndex)
		if !ok || !link.AdminUp {
			continue
		}
		reached := !l.Gateway.IsValid() || l.OnLink || p.m.Reaches(l.Gateway, l.IfIndex)
		if len(distinct) == 1 {
			if reached {
				return []wire.NextHop{l}, []wire.NextHop{l}
			}
			return nil, []wire.NextHop{l}
		}
		if !link.Carrier {
			continue
		}
		usable = append(usable, l)
		if !p.isDown(l) {
			may = append(may, l)
			if reached {
				alive = append(alive, l)
			} else {
				complete = false
			}
		}
	}
	switch {
	case r.RTAMultipath && !complete, r.RTAMultipath && len(alive) == 0:
		return nil, usable // all or nothing
	case len(alive) > 0:
		return alive, may
	}
	return nil, usable
}

func (p *player) isDown(l wire.NextHop) bool {
	for k := range p.desired.down {
		if k.Gateway == l.Gateway && int32(p.current(int(k.IfIndex))) == l.IfIndex {
			return true
		}
	}
	return false
}

func (p *player) checkRules() error {
	ours, theirs := map[Rule]int{}, map[Rule]int{}
	for _, k := range p.m.Rules() {
		if k.Protocol == DefaultProtocol {
			ours[ruleOf(k.Rule)]++
		} else {
			theirs[ruleOf(k.Rule)]++
		}
	}
	desired := 0
	for r, wanted := range p.desired.rules {
		if !wanted {
			continue
		}
		desired++
		if ours[r]+theirs[r] == 0 || ours[r] > 1 && !p.shadowed(r) {
			return fmt.Errorf("rule %v: %d of ours, %d of others", r, ours[r], theirs[r])
		}
	}
	for r, n := range ours {
		if _, known := p.desired.rules[r]; !known && n > 0 && !p.shadowed(r) {
			return fmt.Errorf("rule %v is not desired", r)
		}
	}
	for r, wanted := range p.desired.rules {
		if !wanted && desired > 0 && ours[r]+theirs[r] > 0 && !p.shadowed(r) {
			return fmt.Errorf("rule %v is banned", r)
		}
	}
	return nil
}

// shadowed reports whether a rule cannot be deleted since the kernel would take another.
func (p *player) shadowed(r Rule) bool {
	return r.IIF == "" && slices.ContainsFunc(p.m.Rules(), func(k wire.KernelRule) bool { return k.Priority == r.Priority && k.Table == r.Table && k.IIF != "" })
}

// checkSmall compares addresses and neighbours.
func (p *player) checkSmall() error {
	addresses, neighbors, have := map[wire.AddressKey]bool{}, map[wire.NeighborKey]bool{}, p.m.Addresses()
	for key := range p.desired.addresses {
		key.IfIndex = p.current(key.IfIndex)
		addresses[key] = true
		i := slices.IndexFunc(have, func(a wire.KernelAddress) bool { return a.Key() == key })
		if _, ok := p.m.Link(key.IfIndex); ok && (i < 0 || have[i].NoPrefixRoute) {
			return fmt.Errorf("address %v is not as desired", key.Prefix)
		}
	}
	for _, a := range have {
		if !addresses[a.Key()] && a.Protocol == DefaultProtocol {
			return fmt.Errorf("address %v is not desired", a.Prefix)
		}
	}
	for key, n := range p.desired.neighbors {
		key.IfIndex, n.IfIndex = p.current(key.IfIndex), p.current(n.IfIndex)
		neighbors[key] = true
		l, ok := p.m.Link(key.IfIndex)
		if have := p.m.Neighbor(key); ok && (l.AdminUp || key.Proxy) && have.Neighbor != wire.Neighbor(n) {
			return fmt.Errorf("neighbour %v is not as desired: %v", key.Addr, have)
		}
	}
	for _, n := range p.m.Neighbors() {
		key := wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr}
		if !neighbors[key] && n.Protocol == DefaultProtocol && !n.Proxy { // of those the kernel notifies nothing
			return fmt.Errorf("neighbour %v is not desired", n.Addr)
		}
	}
	return nil
}

// checkLeftovers: objects of ours that nobody needs are gone.
func (p *player) checkLeftovers() error {
	for _, h := range p.m.NextHops() {
		if h.Protocol != DefaultProtocol || h.Flag != 0 || h.ID < DefaultNextHopBase {
			continue
		}
		used := slices.ContainsFunc(p.m.Routes(), func(r *fakekernel.Route) bool { return r.NextHopID == h.ID })
		for _, g := range p.m.NextHops() {
			used = used || g.Has(h.ID)
		}
		if !used && !p.f.core.Needs(h.ID) {
			return fmt.Errorf("%s is left over", p.m.NextHopText(&h.NextHopMessage))
		}
	}
	return nil
}

// orphaned: no next hop that the FIB deleted took a route along.
func (p *player) orphaned() error {
	if p.m.orphans > 0 {
		return fmt.Errorf("%d routes went with a next hop", p.m.orphans)
	}
	return nil
}
