package main

import (
	"context"
	"log"
	"net/netip"
	"os"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/fib"
)

func main() { // embed ROUTER-ID GUEST-PREFIX REFLECTOR...
	ctx := context.Background()
	if os.Args[1] == "bfd" { // this is the BFD process, which outlives the agent
		log.Fatal(bfd.ListenAndServe(ctx, "bfd.sock", bfd.ServeConfig{}))
	}
	kernel := must(fib.New(fib.Config{}))
	go func() { log.Fatal(kernel.Run(ctx)) }()
	old := must(kernel.Adopted(ctx))
	restart := bgp.GracefulRestart{Enabled: true, Restarting: old, ForwardingPreserved: old}
	id := netip.MustParseAddr(os.Args[1])
	speaker := must(bgp.New(bgp.Config{AS: 65000, RouterID: id, GracefulRestart: restart}))
	command := []string{"/proc/self/exe", "bfd"}
	service := must(bfd.NewClient(bfd.ClientConfig{Socket: "bfd.sock", Command: command}))
	for _, reflector := range os.Args[3:] {
		peer := netip.MustParseAddr(reflector)
		must(0, speaker.AddPeer(bgp.PeerConfig{Addr: peer}))
		must(0, service.Add(bfd.SessionConfig{Key: bfd.Key{Peer: peer}}))
	}
	must(0, service.Synced())
	must(0, speaker.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(os.Args[2])}))
	speaker.InventoryComplete()
	go func() { log.Fatal(service.Run(ctx)) }()
	go func() { log.Fatal(speaker.Run(ctx)) }()
	go func() {
		for e := range service.Watch().Failures(ctx) {
			_ = speaker.PathDown(bgp.PeerKey{Addr: e.Peer}, bgp.PathFailureBFDDown)
		}
	}()
	for c := range speaker.WatchRoutes(rib.WatchConfig{}).All(ctx) {
		route := fib.Route{RouteKey: fib.RouteKey{Prefix: c.Prefix, Metric: 20}}
		if route.NextHops = kernel.Via(c.NextHops()...); c.Converged {
			kernel.Sweep()
		} else if len(route.NextHops) == 0 {
			_ = kernel.DeleteRoute(route.RouteKey)
		} else {
			_ = kernel.SetRoute(route) // if the kernel refuses it, it is tried again
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
