package daemon

import (
	"cmp"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/foreign"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// foreignBench is a router and the events that it logs of foreign objects: "+KIND WHAT" and "-KIND WHAT".
type foreignBench struct {
	*bench
	log strings.Builder
}

func newForeignBench(t *testing.T) *foreignBench {
	c, err := configtest.Sample("hv1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, tr := &foreignBench{}, newTrace()
	f.bench = newBenchWith(t, c, slog.New(slog.NewTextHandler(&f.log, nil)), func(name string) netns.Kernel { return fakeKernel{trace: tr, netns: name} }, tr)
	return f
}

// look has the router take a list, and returns the events that follow.
func (b *foreignBench) look(list ...api.Foreign) string {
	b.log.Reset()
	b.router.onForeign(b.router.home(), list)
	var events []string
	for line := range strings.Lines(b.log.String()) {
		sign := map[bool]string{true: "-", false: "+"}[strings.Contains(line, "event=foreign-gone")]
		_, kind, _ := strings.Cut(line, " kind=")
		kind, what, _ := strings.Cut(kind, " what=")
		events = append(events, sign+kind+" "+strings.Fields(what)[0])
	}
	return strings.Join(events, ", ")
}

// objects are some of a kind: KIND 0, KIND 1 and so on.
func objects(kind string, from, to int) (list []api.Foreign) {
	for i := from; i < to; i++ {
		list = append(list, api.Foreign{Kind: kind, What: fmt.Sprint(i), Why: "WHY"})
	}
	return list
}

// TestForeignCut: what is no longer in a list that has as many of its kind as it can may be there still. It is gone, with
// an event, if it is not in a list that has fewer.
func TestForeignCut(t *testing.T) {
	for _, c := range []struct {
		kind string
		most int
	}{{"route", foreign.Most}, {"rule", foreign.Most}, {"neighbour", eg.MostDisplaced}} {
		b := newForeignBench(t)
		chain := objects("chain", 0, 1)
		b.look(append(objects(c.kind, 0, c.most), chain...)...)
		since := b.router.foreign[b.router.home()].list[1].Since
		shifted := objects(c.kind, 2, c.most+2)
		if got, want := b.look(shifted...), fmt.Sprintf("-chain 0, +%s %d, +%s %d", c.kind, c.most, c.kind, c.most+1); got != want {
			t.Errorf("others of a list that is cut: %q, want %q", got, want)
		}
		if got := b.look(objects(c.kind, 0, c.most)...); got != "" {
			t.Errorf("the first ones again: %q", got)
		}
		if got := b.look(shifted...); got != "" {
			t.Errorf("and the others: %q", got)
		}
		if got, want := b.look(objects(c.kind, 1, c.most-1)...), fmt.Sprintf("-%s %d, -%s %d, -%s 0", c.kind, c.most, c.kind, c.most+1, c.kind); strings.Replace(got, fmt.Sprintf("-%s %d, ", c.kind, c.most-1), "", 1) != want {
			t.Errorf("all that are left: %q, want %q", got, want)
		}
		if list := b.router.foreign[b.router.home()].list; !list[0].Since.Equal(since) {
			t.Errorf("since %v, not %v", list[0].Since, since)
		}
		// What is remembered is bounded.
		for i := range 20 {
			b.look(objects(c.kind, i*c.most, (i+1)*c.most)...)
		}
		if n := len(b.router.foreign[b.router.home()].hidden); n > mostHidden {
			t.Errorf("%d are remembered", n)
		}
	}
}

// TestForeignSame: an object is the same for as long as it is there, whatever BGP's next hops are. What is gone comes first.
func TestForeignSame(t *testing.T) {
	b := newForeignBench(t)
	home := b.router.home()
	var g *routing
	for one := range b.router.all {
		if one.namespace == home {
			g = one
			break
		}
	}
	p := netip.MustParsePrefix("192.0.2.0/24")
	route := lookup.Route{Table: g.table, Prefix: p, Metric: 1, Type: lookup.Blackhole}
	two := []domain.NextHop{{Gateway: netip.MustParseAddr("198.51.100.126"), Link: "a.public"}, {Gateway: netip.MustParseAddr("198.51.100.226"), Link: "b.public"}}
	var since time.Time
	why := map[string]bool{}
	for i, hops := range [][]domain.NextHop{two, two[:1], two, two[1:]} {
		g.rib.SetBGP(p, hops, false, &b.router.fx)
		text := b.router.bgpFor(home, []lookup.Route{route})[0].Text
		got := b.look(api.Foreign{Kind: "route", What: "ROUTE", Why: "it beats BGP's, " + text})
		if want := map[bool]string{true: "+route ROUTE"}[i == 0]; got != want {
			t.Errorf("look %d: %q, want %q", i, got, want)
		}
		now := b.router.foreign[home].list[0]
		why[now.Why] = true
		if since = cmp.Or(since, now.Since); !now.Since.Equal(since) || since.IsZero() {
			t.Errorf("look %d: since %v, not %v", i, now.Since, since)
		}
	}
	if len(why) != 3 {
		t.Errorf("%v", slices.Sorted(maps.Keys(why)))
	}
	rule := func(what string, unsure bool) api.Foreign {
		return api.Foreign{Kind: "rule", What: what, Unsure: unsure}
	}
	for _, c := range []struct {
		want string
		list []api.Foreign
	}{
		{"-route ROUTE, +rule A", []api.Foreign{rule("A", true)}},
		{"-rule A, +rule B", []api.Foreign{rule("B", true)}},
		{"+rule B", []api.Foreign{rule("B", false)}},                  // it has become certain
		{"+rule B", []api.Foreign{rule("B", false), rule("B", true)}}, // two that have one text
		{"", []api.Foreign{rule("B", true), rule("B", false)}},
		{"", []api.Foreign{rule("B", false), rule("B", false)}},
		{"-rule B", nil},
		{"+rule B", []api.Foreign{rule("B", false), rule("B", false)}},
		{"-rule B", nil},
	} {
		if got := b.look(c.list...); got != c.want {
			t.Errorf("%v: %q, want %q", c.list, got, c.want)
		}
	}
}

// walkedKernel counts how often its routes are gone through.
type walkedKernel struct {
	netns.Kernel
	routes []fib.RouteStatus
	walks  int
}

func (k *walkedKernel) Routes() iter.Seq[fib.RouteStatus] {
	k.walks++
	return slices.Values(k.routes)
}

// TestWaitingRoutes: all routes are gone through once in a look, however many foreign routes there are, and not at all if
// none has the prefix and metric of one of BGP's.
func TestWaitingRoutes(t *testing.T) {
	const table, metric = 90, 64
	k := &walkedKernel{}
	var routes []lookup.Route
	for i := range 6 {
		r := lookup.Route{Table: table, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32), Metric: metric}
		s := fib.RouteStatus{State: map[bool]fib.RouteState{true: fib.StateForeign, false: fib.StateInstalled}[i%2 == 0]}
		s.RouteKey = fib.RouteKey{Table: table, Prefix: r.Prefix, Metric: metric}
		k.routes, routes = append(k.routes, s), append(routes, r)
	}
	waiting := waitingRoutes{kernel: k}
	look := func(i int, change func(*lookup.Route, *foreign.BGP)) bool {
		list, one := []foreign.BGP{{Prefix: routes[i].Prefix, Metric: metric}}, []lookup.Route{routes[i]}
		change(&one[0], &list[0])
		waiting.note(one, list)
		return list[0].Waits
	}
	for name, change := range map[string]func(*lookup.Route, *foreign.BGP){
		"prefix": func(_ *lookup.Route, b *foreign.BGP) { b.Prefix = netip.MustParsePrefix("192.0.2.0/24") },
		"metric": func(r *lookup.Route, _ *foreign.BGP) { r.Metric++ },
		"TOS":    func(r *lookup.Route, _ *foreign.BGP) { r.TOS = 8 },
		"taken":  func(_ *lookup.Route, b *foreign.BGP) { b.Taken = true },
	} {
		if look(0, change) || k.walks != 0 {
			t.Errorf("another %s: waits, or %d walks", name, k.walks)
		}
	}
	for i := range routes {
		if got, want := look(i, func(*lookup.Route, *foreign.BGP) {}), i%2 == 0; got != want {
			t.Errorf("%v waits: %v, want %v", routes[i].Prefix, got, want)
		}
	}
	if k.walks != 1 {
		t.Errorf("gone through %d times", k.walks)
	}
}
