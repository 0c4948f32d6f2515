package bgptest_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

var (
	reflector = netip.MustParseAddr("192.0.2.1")
	client    = netip.MustParseAddr("192.0.2.2")
)

// pair returns a route reflector and a client of it, in a network.
func pair(network *bgptest.Network) (rr, c *bgp.Speaker, err error) {
	newSpeaker := func(addr netip.Addr, peer bgp.PeerConfig) *bgp.Speaker {
		s, e := bgp.New(bgp.Config{
			AS: 65000, RouterID: addr,
			Listen:   []netip.AddrPort{netip.AddrPortFrom(addr, bgp.Port)},
			Listener: network.Listen, Dialer: network.Dialer(addr),
			GracefulRestart: bgp.GracefulRestart{Enabled: true},
		})
		if e == nil {
			e = s.AddPeer(peer)
		}
		if e != nil {
			err = e
		}
		return s
	}
	rr = newSpeaker(reflector, bgp.PeerConfig{Addr: client, RouteReflectorClient: true, Passive: true})
	c = newSpeaker(client, bgp.PeerConfig{Addr: reflector})
	return rr, c, err
}

// Two speakers exchange a route, in real time.
func Example() {
	var network bgptest.Network
	rr, c, err := pair(&network)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bgptest.Run(rr)()
	defer bgptest.Run(c)()

	_ = rr.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("203.0.113.0/24")})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for change, err := range c.WatchRoutes(rib.WatchConfig{}).All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if !change.Converged {
			fmt.Println(change.Prefix, "via", change.NextHops())
			return
		}
	}
	// Output: 203.0.113.0/24 via [192.0.2.1]
}

// A test in virtual time: the network fails silently, and only the hold timer notices.
func ExampleNetwork_Cut() {
	_ = func(t *testing.T) { // TestHoldTimer
		synctest.Test(t, func(t *testing.T) {
			var network bgptest.Network
			rr, c, err := pair(&network)
			if err != nil {
				t.Fatal(err)
			}
			defer bgptest.Run(rr)()
			defer bgptest.Run(c)()
			time.Sleep(time.Second)

			network.Cut(reflector, client)
			time.Sleep(91 * time.Second) // no time at all
			synctest.Wait()
			st, _ := c.Peer(bgp.PeerKey{Addr: reflector})
			if st.State == bgp.Established {
				t.Error("the session is still there")
			}
			network.Join(reflector, client)
		})
	}
}

// The reflector crashes and comes back: its routes are stale meanwhile.
func ExampleRun() {
	var network bgptest.Network
	rr, c, err := pair(&network)
	if err != nil {
		fmt.Println(err)
		return
	}
	kill := bgptest.Run(rr)
	defer bgptest.Run(c)()

	events, ctx := c.Watch(), context.Background()
	for e, err := range events.All(ctx) {
		if err != nil {
			return
		}
		switch {
		case e.Kind == bgp.EventEndOfRIB:
			fmt.Println("the reflector has said everything, and crashes:", kill())
		case e.Kind == bgp.EventRestart && e.Restart == bgp.RestartWaiting:
			fmt.Println("its routes are kept")
			return
		}
	}
	// Output:
	// the reflector has said everything, and crashes: <nil>
	// its routes are kept
}
