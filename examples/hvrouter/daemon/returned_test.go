package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/rtadv"
	"github.com/hyperfib/hyperfib/fib"
)

const foundConfig = `
router-id: 0.0.1.1
as: 65000
state-directory: DIR/state.d
api: DIR/api.sock
bfd: {process: "off"}
bgp: {connect-retry: 10m}
domains:
  - name: public
    table: 90
    guests: true
    neighbors: [{interface: up.a, as: external, import: [{action: accept}], export: [{action: accept}]}]
edge: {gateway4: 203.0.113.254}
guests: [{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}]
`

// liveAdverts are the advertisements that a test has a daemon hear.
type liveAdverts chan []rtadv.Heard

func (a liveAdverts) Set([]rtadv.Uplink)            {}
func (a liveAdverts) Solicit(int)                   {}
func (a liveAdverts) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (a liveAdverts) Next(ctx context.Context) ([]rtadv.Heard, error) {
	select {
	case list := <-a:
		return list, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// foundBed is a daemon with one interface on which neighbours are found, and a router there.
type foundBed struct {
	*live
	network *bgptest.Network
	adverts liveAdverts
}

func (b *foundBed) join(c *bgp.Config) {
	c.Listener, c.Dialer, c.Random, c.NetNS, c.Interface = b.network.Listen, b.network.Dialer(c.RouterID), func() float64 { return 0.5 }, "", ""
}

func newFoundBed(t *testing.T, text string) *foundBed {
	b := &foundBed{network: &bgptest.Network{}, adverts: make(liveAdverts)}
	b.live = startLiveWith(t, text, nil, b.adverts, b.join)
	b.events(fib.Event{Kind: fib.EventLink, Link: fib.Link{IfIndex: 10, Interface: "up.a", AdminUp: true, Carrier: true}},
		fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: 10}, Addr: netip.MustParsePrefix("fe80::1/64"), Scope: 253, Permanent: true})
	return b
}

// at has the router be at an address, until end is called.
func (b *foundBed) at(addr string) (end func()) {
	own, ours := netip.MustParseAddr(addr+"%up.a"), netip.MustParseAddr("fe80::1%up.a")
	c := bgp.Config{AS: 65001, RouterID: netip.MustParseAddr("10.0.0.1"), Listen: []netip.AddrPort{netip.AddrPortFrom(own, 179)}}
	b.join(&c)
	s, err := bgp.New(c)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := s.AddPeer(bgp.PeerConfig{Addr: ours, LocalAddr: own, AS: 65000, Passive: true, IPv6NextHop: true,
		Families: []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}, Import: rib.AcceptAll, Export: rib.AcceptAll}); err != nil {
		b.t.Fatal(err)
	}
	s.InventoryComplete()
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() { cancel(); <-ended }
}

// hears has the daemon hear the router from an address.
func (b *foundBed) hears(addr string) {
	b.adverts <- []rtadv.Heard{{IfIndex: 10, From: netip.MustParseAddr(addr), MAC: [6]byte{2, 0, 0, 0, 0, 1}}}
	synctest.Wait()
}

// state returns how the session with the router at an address is; there is none if listed is false.
func (b *foundBed) state(addr string) (s bgp.State, listed bool) {
	for _, p := range b.daemon.sessions.BGP()[0].Peers() {
		if p.Key.Addr == netip.MustParseAddr(addr+"%up.a") {
			return p.State, true
		}
	}
	return bgp.Idle, false
}

// up fails unless the session with an address is up after a time.
func (b *foundBed) up(addr string, after time.Duration) {
	b.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	if s, _ := b.state(addr); s != bgp.Established {
		b.t.Fatalf("the session with %s is %v after %v", addr, s, after)
	}
}

func (b *foundBed) stop() {
	b.cancel()
	if err := <-b.ended; err != nil {
		b.t.Error(err)
	}
}

// TestNeighbourReturned: a router leaves its address for another one, and its session there ends, so that both are tried. After
// half an hour it is back at the first one, where the next attempt is due in minutes: it is called as it is heard.
func TestNeighbourReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFoundBed(t, foundConfig)
		end := b.at("fe80::a")
		b.hears("fe80::a")
		b.up("fe80::a", time.Second)
		end()
		end = b.at("fe80::b")
		time.Sleep(time.Second)
		b.hears("fe80::b")
		b.up("fe80::b", 3*time.Second)
		end()
		time.Sleep(time.Minute)
		b.hears("fe80::b")
		time.Sleep(30 * time.Minute)

		end = b.at("fe80::a")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s, listed := b.state("fe80::a"); s == bgp.Established || !listed {
			t.Fatalf("%v, listed: %v: the test shows nothing", s, listed)
		}
		b.hears("fe80::a")
		b.up("fe80::a", time.Second)
		b.stop()
		end()
	})
}

// TestNeighbourGone: a router that is silent for ever is dialled for an hour, each 5 s at most, and then given up; that its
// interface has none is said from then on, as it was before the first. A cable that is out is said, too.
func TestNeighbourGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFoundBed(t, strings.Replace(foundConfig, "bgp: {connect-retry: 10m}", "", 1))
		none := func(want ...api.NoNeighbor) {
			t.Helper()
			if got := b.backend.Status().NoNeighbor; !slices.Equal(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		up := api.NoNeighbor{Domain: "public", Interface: "up.a", Carrier: true}
		none(up)
		end := b.at("fe80::a")
		b.hears("fe80::a")
		b.up("fe80::a", time.Second)
		none()
		end()
		synctest.Wait()
		before := len(b.network.Dials())
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if _, listed := b.state("fe80::a"); !listed {
			t.Error("given up within an hour")
		}
		none()
		dials := len(b.network.Dials()) - before
		t.Logf("dialled %d times in 59 minutes", dials)
		if dials < 600 || dials > 1000 {
			t.Errorf("dialled %d times in 59 minutes", dials)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if _, listed := b.state("fe80::a"); listed {
			t.Error("not given up after an hour")
		}
		none(up)
		before = len(b.network.Dials())
		time.Sleep(time.Hour)
		if dials := len(b.network.Dials()) - before; dials > 0 {
			t.Errorf("dialled %d times after it was given up", dials)
		}
		b.events(fib.Event{Kind: fib.EventLink, Link: fib.Link{IfIndex: 10, Interface: "up.a", AdminUp: true}})
		up.Carrier = false
		none(up)
		b.stop()
	})
}
