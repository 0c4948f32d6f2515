// Command bgpwatch connects to a BGP peer and prints what it announces as it
// changes, one prefix a line, and what happens to the session on standard error.
//
//	bgpwatch -as 65000 -router-id 10.77.0.9 -peer 10.77.0.1 [-announce 192.0.2.0/24]
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

func main() {
	var id, peer netip.Addr
	as := flag.Uint("as", 65000, "our `AS` number")
	flag.TextVar(&id, "router-id", netip.MustParseAddr("192.0.2.1"), "our BGP identifier")
	flag.TextVar(&peer, "peer", netip.Addr{}, "`address` of the peer")
	announce := flag.String("announce", "", "`prefix` to announce")
	flag.Parse()
	speaker, err := bgp.New(bgp.Config{AS: uint32(*as), RouterID: id})
	check(err)
	both := []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
	check(speaker.AddPeer(bgp.PeerConfig{Addr: peer, AS: bgp.AnyAS, Families: both, AddPathReceive: both,
		Import: rib.AcceptAll, Export: rib.AcceptAll}))
	if *announce != "" {
		prefix, err := netip.ParsePrefix(*announce)
		check(err)
		check(speaker.Originate(rib.LocalPath{Prefix: prefix}))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go logEvents(ctx, speaker.Watch())
	go printPaths(ctx, speaker)
	check(speaker.Run(ctx))
}

// printPaths prints the best paths of each prefix that changes.
func printPaths(ctx context.Context, speaker *bgp.Speaker) {
	routes := speaker.WatchRoutes(rib.WatchConfig{})
	defer routes.Close()
	for c, err := range routes.All(ctx) {
		if err != nil {
			return
		}
		if c.Converged {
			fmt.Println("converged")
			continue
		}
		line := c.Prefix.String()
		if len(c.Paths) == 0 {
			line += " gone"
		}
		for _, p := range c.Paths {
			if p.Local {
				line += " ours"
				continue
			}
			line += fmt.Sprintf(" via %v", p.Gateway())
		}
		fmt.Println(line)
	}
}

func logEvents(ctx context.Context, events *bgp.Watcher) {
	for e, err := range events.All(ctx) {
		if err != nil {
			return
		}
		log.Println(e.Kind, e.Peer, e.State, e.Err)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
