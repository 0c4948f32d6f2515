package daemon

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
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

// TestNeighbourReturned: a router leaves its address for another one, and its session there ends, so that both are tried. After
// half an hour it is back at the first one, where the next attempt is due in minutes: it is called as it is heard.
func TestNeighbourReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &bgptest.Network{}
		join := func(c *bgp.Config) {
			c.Listener, c.Dialer, c.Random, c.NetNS, c.Interface = network.Listen, network.Dialer(c.RouterID), func() float64 { return 0.5 }, "", ""
		}
		adverts := make(liveAdverts)
		l := startLiveWith(t, foundConfig, nil, adverts, join)
		l.events(fib.Event{Kind: fib.EventLink, Link: fib.Link{IfIndex: 10, Interface: "up.a", AdminUp: true, Carrier: true}},
			fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: 10}, Addr: netip.MustParsePrefix("fe80::1/64"), Scope: 253, Permanent: true})
		ours := netip.MustParseAddr("fe80::1%up.a")
		// at has the router be at an address, until end is called.
		at := func(addr string) (end func()) {
			own := netip.MustParseAddr(addr + "%up.a")
			c := bgp.Config{AS: 65001, RouterID: netip.MustParseAddr("10.0.0.1"), Listen: []netip.AddrPort{netip.AddrPortFrom(own, 179)}}
			join(&c)
			s, err := bgp.New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.AddPeer(bgp.PeerConfig{Addr: ours, LocalAddr: own, AS: 65000, Passive: true, IPv6NextHop: true,
				Families: []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}, Import: rib.AcceptAll, Export: rib.AcceptAll}); err != nil {
				t.Fatal(err)
			}
			s.InventoryComplete()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			return func() { cancel(); <-ended }
		}
		hears := func(addr string) {
			adverts <- []rtadv.Heard{{IfIndex: 10, From: netip.MustParseAddr(addr), MAC: [6]byte{2, 0, 0, 0, 0, 1}}}
			synctest.Wait()
		}
		state := func(addr string) bgp.State {
			for _, p := range l.daemon.sessions.BGP()[0].Peers() {
				if p.Key.Addr == netip.MustParseAddr(addr+"%up.a") {
					return p.State
				}
			}
			return bgp.Idle
		}
		up := func(addr string, within time.Duration) {
			t.Helper()
			time.Sleep(within)
			if synctest.Wait(); state(addr) != bgp.Established {
				t.Fatalf("the session with %s is %v after %v", addr, state(addr), within)
			}
		}
		end := at("fe80::a")
		hears("fe80::a")
		up("fe80::a", time.Second)
		end()
		end = at("fe80::b")
		time.Sleep(time.Second)
		hears("fe80::b")
		up("fe80::b", 3*time.Second)
		end()
		time.Sleep(time.Minute)
		hears("fe80::b")
		time.Sleep(30 * time.Minute)

		end = at("fe80::a")
		defer end()
		time.Sleep(10 * time.Second)
		if synctest.Wait(); state("fe80::a") == bgp.Established {
			t.Fatal("an attempt was due anyway: the test shows nothing")
		}
		hears("fe80::a")
		up("fe80::a", time.Second)
		l.cancel()
		if err := <-l.ended; err != nil {
			t.Error(err)
		}
	})
}
