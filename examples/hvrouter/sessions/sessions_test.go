package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

const twoFabrics = `
router-id: 0.0.1.1
as: 65000
domains:
  - name: public
    table: 90
    reflectors:
      - {fabric: A, interface: a, local: 198.51.100.1, peer: 198.51.100.126}
      - {fabric: B, interface: b, local: 198.51.101.1, peer: 198.51.101.126}
`

// sharedSessions are sessions that two domains share, with paths over two next hops.
const sharedSessions = `
router-id: 0.0.1.1
as: 65000
domains:
  - {name: public, table: 90, community: "65000:90"}
  - {name: private, table: 20, community: "65000:20"}
sessions:
  - {fabric: A, interface: a, local: 198.51.100.1, peer: 198.51.100.126, advertise-next-hops: [
       {domain: public, next-hop4: 198.51.100.1, interface: a}, {domain: private, next-hop4: 172.22.15.1, interface: a.private}]}
  - {fabric: B, interface: b, local: 198.51.101.1, peer: 198.51.101.126, advertise-next-hops: [
       {domain: public, next-hop4: 198.51.101.1, interface: b}, {domain: private, next-hop4: 172.22.16.1, interface: b.private}]}
`

// sink notes what it takes.
type sink struct {
	mu        sync.Mutex
	paths     map[string][]peering.Path // by domain and prefix
	converged map[string][]bgp.PeerKey  // without which peers
	dead      int
}

func (s *sink) Paths(_ context.Context, domain string, u Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range u.Sets {
		s.paths[domain+" "+c.Prefix.String()] = slices.Clone(c.Paths)
	}
	if u.Converged {
		s.converged[domain] = append([]bgp.PeerKey{}, u.Without...)
	}
}

func (s *sink) EVPN(context.Context, string, []EVPN, bool) {}

func (s *sink) Dead(_ context.Context, _ string, dead failover.Dead) (all []netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead++
	for k := range s.paths {
		_, p, _ := strings.Cut(k, " ")
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// of returns the paths of a domain to a prefix.
func (s *sink) of(domain, prefix string) []peering.Path {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[domain+" "+prefix]
}

// without returns the peers without which a domain has converged, and whether it has.
func (s *sink) without(domain string) ([]bgp.PeerKey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, ok := s.converged[domain]
	return list, ok
}

// deadCalls counts the calls of Dead.
func (s *sink) deadCalls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// logged is a log in memory.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bed is the speakers of a configuration and their reflectors, at work in a synctest bubble.
type bed struct {
	t          *testing.T
	cfg        *config.Config
	network    *bgptest.Network
	all        *Speakers
	members    map[string]Member
	sink       *sink
	log        *logged
	reflectors map[string]*bgp.Speaker // by fabric
	end        context.CancelFunc
	ended      chan error
}

// newBed starts everything but the reflectors. preserved are the families of which an earlier
// run has left routes.
func newBed(t *testing.T, text string, preserved ...wire.Family) *bed {
	t.Helper()
	b := makeBed(t, text, preserved...)
	b.run()
	return b
}

// makeBed makes what newBed runs.
func makeBed(t *testing.T, text string, preserved ...wire.Family) *bed {
	t.Helper()
	c, err := config.Parse("f", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, cfg: c, network: &bgptest.Network{}, members: map[string]Member{}, log: &logged{}, reflectors: map[string]*bgp.Speaker{}, ended: make(chan error, 3)}
	b.sink = &sink{paths: map[string][]peering.Path{}, converged: map[string][]bgp.PeerKey{}}
	b.all = New(Config{Log: slog.New(slog.NewTextHandler(b.log, nil)), Now: time.Now, BGP: b.use})
	for _, d := range c.Domains {
		if b.members[d.Name], err = b.all.Add(c, d, &namespace{t: t, preserved: preserved}); err != nil {
			t.Fatal(err)
		}
	}
	b.configure(c)
	return b
}

func (b *bed) run() {
	ctx, end := context.WithCancel(b.t.Context())
	b.end = end
	go func() { b.ended <- b.all.Run(ctx, b.sink) }()
}

// use connects a speaker to the network in memory.
func (b *bed) use(c *bgp.Config) {
	c.Listener, c.Dialer, c.NetNS, c.Interface = b.network.Listen, b.network.Dialer(c.RouterID), "", ""
}

func (b *bed) configure(c *config.Config) {
	b.cfg = c
	for _, d := range c.Domains {
		b.members[d.Name].Configure(c, d)
	}
}

// reflect starts the reflector of a fabric, which announces prefixes with us as the next hop's
// neighbour, and ends with the bed.
func (b *bed) reflect(fabric string, prefixes ...string) *bgp.Speaker {
	b.t.Helper()
	return b.reflectFamilies(fabric, []wire.Family{wire.IPv4Unicast}, prefixes...)
}

// reflectFamilies is reflect for a reflector with these families.
func (b *bed) reflectFamilies(fabric string, fams []wire.Family, prefixes ...string) *bgp.Speaker {
	b.t.Helper()
	own := netip.MustParseAddr(map[string]string{"A": "198.51.100.126", "B": "198.51.101.126"}[fabric])
	us := netip.MustParseAddr(map[string]string{"A": "198.51.100.1", "B": "198.51.101.1"}[fabric])
	cfg := bgp.Config{AS: 65000, RouterID: own, Listen: []netip.AddrPort{netip.AddrPortFrom(own, 179)}, GracefulRestart: bgp.GracefulRestart{Enabled: true, RestartTime: time.Minute}}
	b.use(&cfg)
	s, err := bgp.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := s.AddPeer(bgp.PeerConfig{Addr: us, LocalAddr: own, Passive: true, RouteReflectorClient: true, Families: fams, AddPathReceive: fams[:1]}); err != nil {
		b.t.Fatal(err)
	}
	for _, p := range prefixes {
		if err := s.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(p), NextHop: wire.NextHop{Addr: own.Next()}}); err != nil {
			b.t.Fatal(err)
		}
	}
	s.InventoryComplete()
	b.reflectors[fabric] = s
	ctx, end := context.WithCancel(b.t.Context())
	before := b.end
	b.end = func() { before(); end() }
	go func() { b.ended <- s.Run(ctx) }()
	return s
}

func (b *bed) stop() {
	b.end()
	for range 1 + len(b.reflectors) {
		if err := <-b.ended; err != nil && !errors.Is(err, context.Canceled) {
			b.t.Error(err)
		}
	}
}

// after lets time pass.
func (b *bed) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// states returns how the sessions are, and what is shown of them.
func (b *bed) states() (list []string) {
	for _, s := range b.all.Status(b.cfg) {
		list = append(list, fmt.Sprintf("%s %s %v hold %v", s.Domains, s.Reflector.Fabric, s.Peer.State, holdTime(s.Peer)))
	}
	return list
}

func holdTime(p bgp.PeerStatus) time.Duration {
	if p.Negotiated == nil {
		return 0
	}
	return p.Negotiated.HoldTime
}

func (b *bed) expect(what string, want ...string) {
	b.t.Helper()
	if got := b.states(); !slices.Equal(got, want) {
		b.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// announced returns what a reflector has of a prefix: the local preferences and communities.
func (b *bed) announced(fabric, prefix string) (list []string) {
	for _, p := range b.reflectors[fabric].Table().Lookup(netip.MustParsePrefix(prefix)) {
		pref, _ := p.Attrs.LocalPref()
		list = append(list, fmt.Sprint(pref, " ", p.NextHop.Addr, " ", slices.Collect(p.Attrs.Communities().All())))
	}
	slices.Sort(list)
	return list
}

// Sessions come up, all of their paths come once and then their changes, and what is announced
// reaches every peer; a path that dies ends its session only.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, twoFabrics)
		defer b.stop()
		b.reflect("A", "203.0.113.1/32")
		b.reflect("B", "203.0.113.1/32", "203.0.113.2/32")
		m := b.members["public"]
		m.InventoryComplete()
		b.all.WaitSync(t.Context())
		b.after(time.Second)
		b.expect("start", "public A Established hold 1m30s", "public B Established hold 1m30s")
		if missing, all := b.all.Missing(); len(missing) > 0 || all != 2 {
			t.Errorf("%v of %d missing", missing, all)
		}
		if without, ok := b.sink.without("public"); !ok || len(without) > 0 {
			t.Errorf("converged %v without %v", ok, without)
		}
		if got := b.sink.of("public", "203.0.113.1/32"); len(got) != 2 {
			t.Errorf("paths: %v", got)
		}
		if got := b.all.Lookup("public", netip.MustParsePrefix("203.0.113.2/32")); len(got) != 1 || b.all.Paths() != 3 {
			t.Errorf("looked up %v, %d paths", got, b.all.Paths())
		}

		prefix := netip.MustParsePrefix("192.0.2.1/32")
		list := []domain.Announcement{{Prefix: prefix, LocalPref: 120}}
		expect := func(what string, a, b2 string) {
			t.Helper()
			b.after(time.Second)
			got, want := fmt.Sprint(b.announced("A", prefix.String()), b.announced("B", prefix.String())), fmt.Sprint("[", a, "] [", b2, "]")
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		m.Announce(list)
		expect("announced", "120 198.51.100.1 []", "120 198.51.101.1 []")
		m.Announce([]domain.Announcement{{Prefix: prefix, GracefulShutdown: true}})
		expect("drained", "0 198.51.100.1 [65535:0]", "0 198.51.101.1 [65535:0]")
		m.Withdraw([]netip.Prefix{prefix})
		expect("withdrawn", "", "")

		watches := peering.Watches(b.cfg)
		b.all.PathDown(watches[0], true)
		b.after(time.Millisecond)
		if got := b.sink.of("public", "203.0.113.1/32"); len(got) != 1 {
			t.Errorf("paths after the end of one: %v", got)
		}
		b.all.PathUp(watches[0])
		b.after(2 * time.Minute)
		b.expect("back", "public A Established hold 1m30s", "public B Established hold 1m30s")
		b.all.LinkDown("", "b")
		b.after(time.Millisecond)
		if !strings.Contains(b.log.String(), "event=carrier-lost domain=public interface=b sessions=1") {
			t.Error("nothing is said of the carrier:\n" + b.log.String())
		}
		b.all.LinkUp("", "b")
		b.after(2 * time.Minute)
		b.expect("carrier back", "public A Established hold 1m30s", "public B Established hold 1m30s")
	})
}

// A peer that is not there is waited for until the deferral time is over, and named then; and
// when it comes its paths are taken.
func TestMissingPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, twoFabrics)
		defer b.stop()
		begin := time.Now()
		b.reflect("A", "203.0.113.1/32")
		b.members["public"].InventoryComplete()
		b.after(time.Second)
		if _, ok := b.sink.without("public"); ok {
			t.Error("converged at once")
		}
		b.all.WaitSync(t.Context())
		if waited := time.Since(begin); waited != b.cfg.BGP.GracefulRestart.Deferral.Duration {
			t.Errorf("waited %v", waited)
		}
		b.after(time.Second)
		if without, _ := b.sink.without("public"); len(without) != 1 || without[0].Addr != netip.MustParseAddr("198.51.101.126") {
			t.Errorf("converged without %v", without)
		}
		if missing, all := b.all.Missing(); !slices.Equal(missing, []string{"198.51.101.126"}) || all != 2 {
			t.Errorf("%v of %d missing", missing, all)
		}
		b.reflect("B", "203.0.113.1/32")
		b.after(5 * time.Minute)
		if got := b.sink.of("public", "203.0.113.1/32"); len(got) != 2 {
			t.Errorf("paths: %v", got)
		}
	})
}

// Another hold time resets the sessions, fabric by fabric; one that is not configured any more
// ends; a change that the peers do not accept stops after the first fabric.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, twoFabrics)
		defer b.stop()
		b.reflect("A")
		b.reflect("B")
		b.members["public"].InventoryComplete()
		b.after(time.Minute)
		change := func(do func(*config.Config)) {
			c := *b.cfg
			c.Domains = slices.Clone(c.Domains)
			c.Domains[0].Reflectors = slices.Clone(c.Domains[0].Reflectors)
			do(&c)
			b.configure(&c)
		}
		before := len(b.log.String())
		change(func(c *config.Config) { c.BGP.HoldTime.Duration = 30 * time.Second })
		b.after(5 * time.Minute)
		said := b.log.String()[before:]
		if back, second := strings.Index(said, `event=bgp-up domain=public peer="198.51.100.126`), strings.Index(said, `event=bgp-down domain=public peer="198.51.101.126`); back < 0 || second < back {
			t.Errorf("both at once: %s", said)
		}
		b.expect("both, in the end", "public A Established hold 30s", "public B Established hold 30s")

		key := func(c *config.Config, i int) *config.Reflector { return &c.Domains[0].Reflectors[i] }
		change(func(c *config.Config) { // an AS that A does not have; B's would be as wrong
			key(c, 0).AS, key(c, 1).AS = 65001, 65001
		})
		b.after(10 * time.Minute)
		got := b.states()
		if strings.Contains(got[0], "Established") || got[1] != "public B Established hold 30s" {
			t.Errorf("a configuration that does not work: %q", got)
		}
		if !strings.Contains(b.log.String(), "event=rollout-stuck domain=public") {
			t.Error("nothing is said of it")
		}
		change(func(c *config.Config) { key(c, 0).AS, key(c, 1).AS = 0, 0 })
		b.after(10 * time.Minute)
		b.expect("back", "public A Established hold 30s", "public B Established hold 30s")
		change(func(c *config.Config) { c.Domains[0].Reflectors = c.Domains[0].Reflectors[:1] })
		b.after(time.Minute)
		b.expect("one is gone", "public A Established hold 30s")
		if p := b.reflectors["B"].Peers()[0]; p.State == bgp.Established {
			t.Error("the session that is gone is up")
		}
	})
}

// Domains that share their sessions announce over their own next hops with a community of
// their own, and take what has it; End-of-RIB waits for all of them.
func TestSharedSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, sharedSessions, wire.IPv4Unicast)
		defer b.stop()
		b.reflect("A")
		b.reflect("B")
		b.after(10 * time.Second)
		public, private := b.members["public"], b.members["private"]
		if public.speaker != private.speaker || public.name != "shared" {
			t.Fatal("two speakers")
		}
		public.InventoryComplete()
		b.after(time.Second)
		ends := func() bool { return !b.reflectors["A"].Peers()[0].Families[0].EndOfRIB.IsZero() }
		if ends() {
			t.Error("End-of-RIB before both domains are complete")
		}
		private.InventoryComplete()
		b.after(time.Second)
		if !ends() {
			t.Error("no End-of-RIB")
		}
		prefix := netip.MustParsePrefix("192.0.2.1/32")
		public.Announce([]domain.Announcement{{Prefix: prefix, LocalPref: 120}})
		private.Announce([]domain.Announcement{{Prefix: prefix, LocalPref: 110}})
		b.after(time.Second)
		if got := b.announced("B", prefix.String()); len(got) != 2 || !strings.Contains(fmt.Sprint(got), "[65000:90]") || !strings.Contains(fmt.Sprint(got), "[65000:20]") {
			t.Errorf("announced: %q", got)
		}
		if got := b.all.Lookup("private", prefix); len(got) != 1 || !got[0].Local {
			t.Errorf("private's own: %v", got)
		}
		public.Announce([]domain.Announcement{{}}) // of no prefix
		if n := strings.Count(b.log.String(), "event=bgp-error domain=public"); n != 1 {
			t.Errorf("%d lines about an announcement that cannot be", n)
		}
		public.Withdraw([]netip.Prefix{prefix})
		b.after(time.Second)
		if got := b.announced("B", prefix.String()); len(got) != 1 {
			t.Errorf("withdrawn by one of two: %q", got)
		}
		community := wire.Community(65000<<16 | 20)
		err := b.reflectors["A"].Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("203.0.113.7/32"), NextHop: wire.NextHop{Addr: netip.MustParseAddr("198.51.100.9")},
			Attrs: wire.PathAttrs{Communities: []wire.Community{community}}})
		if err != nil {
			t.Fatal(err)
		}
		b.after(time.Second)
		if mine, others := b.sink.of("private", "203.0.113.7/32"), b.sink.of("public", "203.0.113.7/32"); len(mine) != 1 || len(others) != 0 {
			t.Errorf("private has %v, public %v", mine, others)
		}
		before := b.sink.deadCalls()
		b.all.LinkDown("", "a")
		b.after(time.Second)
		if b.sink.deadCalls() == before {
			t.Error("nothing is said of the next hops that died with their link")
		}
		if s := b.all.Status(b.cfg)[0]; s.Domains != "public,private" || len(s.NextHops) != 2 || s.NextHops[0].Alive {
			t.Errorf("status: %+v", s.NextHops)
		}
		b.all.LinkUp("", "a")
		b.after(5 * time.Minute)
		if !b.all.Status(b.cfg)[0].NextHops[0].Alive {
			t.Error("not alive again")
		}
	})
}

// A failure of one speaker ends all, and is named.
func TestRunFails(t *testing.T) {
	c, err := config.Parse("f", []byte(twoFabrics), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now, BGP: func(cfg *bgp.Config) {
		cfg.Listen, cfg.NetNS = []netip.AddrPort{netip.MustParseAddrPort("198.51.100.1:179")}, "/nowhere"
	}})
	if _, err := all.Add(c, c.Domains[0], &namespace{t: t}); err != nil {
		t.Fatal(err)
	}
	if err := all.Run(t.Context(), &sink{}); err == nil || !strings.HasPrefix(err.Error(), "BGP public: ") {
		t.Error(err)
	}
}

// A domain that is added while another program listens where it should has its listener when that has
// gone.
func TestAddedListensLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := makeBed(t, listenConfig("- {name: public, table: 90, neighbors: ["+passive+"]}"))
		taken, err := b.network.Listen(t.Context(), netip.MustParseAddrPort("198.51.100.2:179"))
		if err != nil {
			t.Fatal(err)
		}
		b.run()
		b.after(time.Second)
		b.listens("the first", "198.51.100.1")
		c, err := config.Parse("f", []byte(listenConfig(`- {name: public, table: 90, neighbors: [`+passive+`]}
  - {name: storage, table: 77, neighbors: [`+strings.NewReplacer("100.1,", "100.2,", "interface: a", "interface: b").Replace(passive)+"]}")), nil)
		if err != nil {
			t.Fatal(err)
		}
		d := c.Domain("storage")
		if b.members["storage"], err = b.all.Add(c, *d, &namespace{t: t}); err != nil {
			t.Fatal(err)
		}
		b.configure(c)
		b.after(time.Minute)
		if n := strings.Count(b.log.String(), "level=WARN msg=BGP event=bgp-listen domain=storage"); n != 1 {
			t.Errorf("%d lines in a minute about an address that is taken, want 1", n)
		}
		taken.Close()
		b.after(10 * time.Second)
		b.listens("the address is free", "198.51.100.1", "198.51.100.2")
		b.stop()
		if s := b.log.String(); !strings.Contains(s, `level=INFO msg="BGP: all is well again" event=bgp-listen domain=storage`+"\n") || strings.Contains(s, "invalid IP") {
			t.Errorf("want an end without a peer: %s", s)
		}
	})
}

const passive = `{name: n, interface: a, local: 198.51.100.1, address: 198.51.100.9, as: 65009, connect: passive, import: [{action: accept}], export: [{action: accept}]}`

func listenConfig(domains string) string {
	return "router-id: 0.0.1.1\nas: 65000\nbfd: {process: \"off\"}\ndomains:\n  " + domains + "\n"
}

// listens checks which of our addresses are listened on.
func (b *bed) listens(what string, want ...string) {
	b.t.Helper()
	var got []string
	for _, a := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second) // where nobody accepts
		nc, err := b.network.Dialer(netip.MustParseAddr("198.51.100.77"))(ctx, netip.AddrPort{}, netip.AddrPortFrom(netip.MustParseAddr(a), 179))
		cancel()
		if err == nil {
			nc.Close()
			got = append(got, a)
		}
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: listens on %v, want %v", what, got, want)
	}
}

// What a domain listens on follows its configuration.
func TestReloadListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := strings.NewReplacer("100.1,", "100.2,", "100.9", "100.10", "name: n", "name: o").Replace(passive)
		third := strings.NewReplacer("100.1,", "100.3,", "100.9", "100.11", "name: n", "name: p").Replace(passive)
		b := makeBed(t, listenConfig("- {name: public, table: 90, neighbors: ["+passive+", "+third+"]}"))
		b.run()
		b.after(time.Second)
		b.listens("at first", "198.51.100.1", "198.51.100.3")
		c, err := config.Parse("f", []byte(listenConfig("- {name: public, table: 90, neighbors: ["+passive+", "+other+"]}")), nil)
		if err != nil {
			t.Fatal(err)
		}
		b.configure(c)
		b.after(time.Second)
		b.listens("after a reload", "198.51.100.1", "198.51.100.2")
		b.stop()
	})
}
