package bgp_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// A hypervisor: iBGP to two route reflectors, one on each fabric, a route of its
// own, and the best paths as they come.
func Example() {
	speaker, err := bgp.New(bgp.Config{
		AS:       65000,
		RouterID: netip.MustParseAddr("10.77.0.1"),
		GracefulRestart: bgp.GracefulRestart{
			Enabled: true,
			// Set by who has found the routes of the process before in the kernel.
			Restarting: true, ForwardingPreserved: true,
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, reflector := range []bgp.PeerConfig{
		{Addr: netip.MustParseAddr("198.51.100.126"), Interface: "fabric-a"},
		{Addr: netip.MustParseAddr("198.51.100.226"), Interface: "fabric-b"},
	} {
		reflector.Families = []wire.Family{wire.IPv4Unicast}
		reflector.AddPathReceive = reflector.Families
		reflector.TTLSecurity = true
		if err := speaker.AddPeer(reflector); err != nil {
			fmt.Println(err)
			return
		}
	}
	_ = speaker.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("203.0.113.1/32")})
	speaker.InventoryComplete()

	routes := speaker.WatchRoutes(rib.WatchConfig{})
	defer routes.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	go speaker.Run(ctx)

	for c, err := range routes.All(ctx) {
		if err != nil {
			break // ctx has ended
		}
		fmt.Println(c.Prefix, "local:", c.Paths[0].Local)
	}
	// Output: 203.0.113.1/32 local: true
}

// A route reflector whose clients are known by range alone.
func ExampleSpeaker_AddRange() {
	speaker, err := bgp.New(bgp.Config{AS: 65000, RouterID: netip.MustParseAddr("10.77.0.1")})
	if err != nil {
		fmt.Println(err)
		return
	}
	both := []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
	err = speaker.AddRange(bgp.RangeConfig{
		Prefix: netip.MustParsePrefix("10.77.0.0/24"),
		Template: bgp.PeerConfig{
			RouteReflectorClient: true, Families: both, AddPathSend: both,
			MD5Key: "one key for all of them", TTLSecurity: true,
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

// A policy that prefers what carries a community and refuses a default route.
func ExamplePeerConfig() {
	preferred := wire.Community(65000<<16 | 90)
	peer := bgp.PeerConfig{
		Addr: netip.MustParseAddr("198.51.100.126"),
		Import: func(r *rib.Route) rib.Verdict {
			if r.Prefix.Bits() == 0 {
				return rib.VerdictReject
			}
			if r.HasCommunity(preferred) {
				r.SetLocalPref(200)
			}
			return rib.VerdictAccept
		},
	}
	fmt.Println(peer.Key())
	// Output: 198.51.100.126
}
