package peering

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

var (
	addr   = netip.MustParseAddr
	prefix = netip.MustParsePrefix
)

func sample(t *testing.T) *config.Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("hv1.yaml", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoute(t *testing.T) {
	links := Links{"a": 1, "b": 2}
	two := domain.Route{Key: domain.Key{Table: 90, Prefix: prefix("203.0.113.3/32"), Metric: 32}, PrefSrc: addr("172.22.2.1"),
		NextHops: []domain.NextHop{{Gateway: addr("198.51.100.102"), Link: "a"}, {Gateway: addr("198.51.100.202"), Link: "b", OnLink: true}}}
	got, ok := links.Route(two)
	want := fib.Route{RouteKey: fib.RouteKey{Table: 90, Prefix: prefix("203.0.113.3/32"), Metric: 32}, Type: fib.RouteUnicast, PrefSrc: addr("172.22.2.1"),
		NextHops: []fib.NextHop{{Gateway: addr("198.51.100.102"), IfIndex: 1}, {Gateway: addr("198.51.100.202"), IfIndex: 2, OnLink: true}}}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, ok, want)
	}
	delete(links, "a")
	if got, ok := links.Route(two); !ok || len(got.NextHops) != 1 || got.NextHops[0].IfIndex != 2 {
		t.Errorf("with one interface gone: %+v, %v", got, ok)
	}
	delete(links, "b")
	if _, ok := links.Route(two); ok {
		t.Error("a unicast route with no interface left")
	}
	hole := domain.Route{Key: domain.Key{Table: 90, Prefix: prefix("::/0"), Metric: domain.LastMetric}, Type: domain.Blackhole, Persistent: true}
	if got, ok := links.Route(hole); !ok || got.Type != fib.RouteBlackhole || !got.Persistent {
		t.Errorf("a blackhole: %+v, %v", got, ok)
	}
}

func TestLearned(t *testing.T) {
	name := func(i int) (string, bool) { return "vm1", i == 7 }
	var r fib.Learned
	r.Metric, r.Scope = 5, fib.ScopeLink
	r.NextHops = []fib.NextHop{{IfIndex: 7}}
	if l, ok := Learned(r, name); !ok || l.Metric != 5 || !l.LinkScope || l.NextHops[0].Link != "vm1" {
		t.Errorf("%+v, %v", l, ok)
	}
	r.NextHops[0].IfIndex = 8
	if _, ok := Learned(r, name); ok {
		t.Error("over an interface that nobody knows")
	}
}

func TestSpeaker(t *testing.T) {
	c := sample(t)
	got := Speaker(c, c.Domains[0], []wire.Family{wire.IPv4Unicast})
	g := got.GracefulRestart
	if !g.Enabled || !g.Restarting || !g.ForwardingPreserved || g.RestartTime != 120*time.Second || g.DeferralTime != 30*time.Second {
		t.Errorf("graceful restart: %+v", g)
	}
	if g := Speaker(c, c.Domains[0], nil).GracefulRestart; g.Restarting || g.ForwardingPreserved {
		t.Errorf("a first start claims to have forwarded: %+v", g)
	}
}

func TestPeer(t *testing.T) {
	c := sample(t)
	p := Peer(c, c.Domains[0].Reflectors[2], addr("fe80::7"))
	if p.Addr != addr("2001:db8:c633:6400::26") || !p.Listen || p.Interface != "a.public" || !p.TTLSecurity || !p.NextHopSelf ||
		p.LinkLocal != addr("fe80::7") || !reflect.DeepEqual(p.Families, []wire.Family{wire.IPv6Unicast}) || !reflect.DeepEqual(p.AddPathReceive, p.Families) {
		t.Errorf("%+v", p)
	}
	want := rib.PrefixLimit{Maximum: 500_000, PathsPerPrefix: 1024, Threshold: 75, Action: rib.LimitWarn}
	if l := p.PrefixLimits; len(l) != 1 || l[wire.IPv6Unicast] != want || p.MaxPrefixesHold != time.Minute {
		t.Errorf("prefix limits %+v", l)
	}
	r := c.Domains[0].Reflectors[0]
	r.PrefixLimit.Action = "restart"
	if l := Peer(c, r, addr("fe80::7")).PrefixLimits; l[wire.IPv4Unicast].Action != rib.LimitRestart {
		t.Errorf("prefix limits %+v", l)
	}
	r.MD5 = "of the session"
	if p := Peer(c, r, addr("fe80::7")); p.HoldTime != 90*time.Second {
		t.Errorf("hold time %v", p.HoldTime)
	}
	c.BGP.HoldTime.Duration = 0
	if p := Peer(c, r, addr("fe80::7")); p.HoldTime >= 0 {
		t.Errorf("hold time %v for none", p.HoldTime)
	}
	c.BGP.MD5 = "of the file"
	r.RestartTime.Duration = 10 * time.Second
	if p := Peer(c, r, addr("fe80::7")); p.MD5Key != "of the session" || p.LinkLocal.IsValid() || p.RestartTime != 10*time.Second {
		t.Errorf("key %q, link-local %v for IPv4", p.MD5Key, p.LinkLocal)
	}
}

func TestRemote(t *testing.T) {
	hop := func(a string) wire.NextHop { return wire.NextHop{Addr: addr(a)} }
	own := rib.Path{Local: true, Rank: 0}
	a := rib.Path{NextHop: hop("198.51.100.102"), Peer: addr("198.51.100.126"), Rank: 1}
	b := rib.Path{NextHop: hop("fe80::1"), Peer: addr("fe80::1%up1"), Rank: 1, Weight: 5}
	stale := rib.Path{NextHop: hop("198.51.100.103"), Peer: addr("198.51.100.126"), Rank: 2, Stale: true}
	got := Remote([]rib.Path{own, a, b, stale})
	want := []Path{{NextHop: addr("198.51.100.102"), Peer: addr("198.51.100.126"), Rank: 1},
		{NextHop: addr("fe80::1"), Peer: addr("fe80::1%up1"), Rank: 1, Bandwidth: 5},
		{NextHop: addr("198.51.100.103"), Peer: addr("198.51.100.126"), Rank: 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Remote([]rib.Path{own}); got != nil {
		t.Errorf("nothing but our own: %v", got)
	}
}

func TestFailover(t *testing.T) {
	c := sample(t)
	all := Watches(c)
	if len(all) != 6 {
		t.Fatalf("%d watched sessions", len(all))
	}
	names := map[int]string{1: "a.public", 2: "b.public", 3: "a.private"}
	name := func(i int) (string, bool) { n, ok := names[i]; return n, ok }
	objects := []fib.NextHopObject{
		{ID: 9, Gateway: addr("198.51.100.103"), IfIndex: 1}, {ID: 8, Gateway: addr("198.51.100.102"), IfIndex: 1},
		{ID: 7, Gateway: addr("198.51.100.202"), IfIndex: 2}, {ID: 6, Gateway: addr("2001:db8:c633:6400::2"), IfIndex: 1},
		{ID: 5, Gateway: addr("172.22.15.102"), IfIndex: 3}, {ID: 4, Gateway: addr("192.0.2.1"), IfIndex: 99},
	}
	list := Failover(all[0], all, objects, name)
	if len(list) != 2 || list[0].ID != 8 || list[1].ID != 9 {
		t.Fatalf("what dies with the IPv4 session on a.public: %+v", list)
	}
	guard := bfd.Key{Local: addr("198.51.100.201"), Peer: addr("198.51.100.226"), Interface: "b.public"}
	if !reflect.DeepEqual(list[0].Guards, []bfd.Key{guard}) {
		t.Errorf("guarded by %v, want the IPv4 session on b.public", list[0].Guards)
	}
	if !SameFailover(list, Failover(all[0], all, objects, name)) || SameFailover(list, list[:1]) {
		t.Error("SameFailover")
	}
	// A second session that speaks for the same gateways: neither is trusted alone.
	twin := all[0]
	twin.Key.Peer = addr("198.51.100.127")
	if list := Failover(all[0], append(all, twin), objects, name); list != nil {
		t.Errorf("with a twin: %v", list)
	}
}

// One session carries both families, so the gateways of both die with it.
func TestFailoverOfBothFamilies(t *testing.T) {
	c := sample(t)
	d := &c.Domains[0]
	d.Reflectors = d.Reflectors[:2]
	for i := range d.Reflectors {
		d.Reflectors[i].Families = []config.Family{config.IPv4, config.IPv6}
		d.Reflectors[i].NextHop6.Addr = addr("2001:db8:c633:6400::1")
	}
	all := Watches(c)
	name := func(i int) (string, bool) { return map[int]string{1: "a.public", 2: "b.public"}[i], i < 3 }
	objects := []fib.NextHopObject{
		{ID: 9, Gateway: addr("198.51.100.103"), IfIndex: 1}, {ID: 6, Gateway: addr("2001:db8:c633:6400::2"), IfIndex: 1},
		{ID: 7, Gateway: addr("198.51.100.202"), IfIndex: 2},
	}
	guard := []bfd.Key{{Local: addr("198.51.100.201"), Peer: addr("198.51.100.226"), Interface: "b.public"}}
	list := Failover(all[0], all, objects, name)
	if len(list) != 2 || list[0].ID != 6 || list[1].ID != 9 || !reflect.DeepEqual(list[0].Guards, guard) || !reflect.DeepEqual(list[1].Guards, guard) {
		t.Errorf("got %+v", list)
	}
	none := func(bfd.Key) bool { return false }
	if nextHops := all[0].Alone(all, none); !nextHops.Cover("a.public", addr("2001:db8:c633:6400::2")) || nextHops.Cover("b.public", addr("198.51.100.202")) {
		t.Errorf("what dies with it: %+v", nextHops)
	}
}

func TestOff(t *testing.T) {
	c := sample(t)
	c.Domains[0].Reflectors[0].BFD = "echo"
	if s, ok := BFD(c, "", c.Domains[0].Reflectors[0]); !ok || !s.Echo || !Watches(c)[0].Config.Echo {
		t.Errorf("echo: %+v, %v", s, ok)
	}
	c.Domains[0].Reflectors[0].BFD = "off"
	if n := len(Watches(c)); n != 5 {
		t.Errorf("%d sessions, one is off", n)
	}
	c.BFD.Process = "off"
	if n := len(Watches(c)); n != 0 {
		t.Errorf("%d sessions, all are off", n)
	}
}
