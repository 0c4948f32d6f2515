// Command radvertise is an IPv6 router for the hosts on an interface: it announces a
// prefix and DNS servers, and says goodbye when it is interrupted.
//
//	radvertise -dev vm1 -prefix 2001:db8:cb00:7100::/64 -dns 2001:4860:4860::8888
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

func main() {
	dev := flag.String("dev", "", "`interface` of the hosts")
	prefix := flag.String("prefix", "", "`prefix` to form addresses in, a /64")
	dns := flag.String("dns", "", "`address` of a DNS server")
	mtu := flag.Uint("mtu", 0, "MTU to announce, in octets; 0: none")
	flag.Parse()
	ifi, err := net.InterfaceByName(*dev)
	check(err)
	p, err := netip.ParsePrefix(*prefix)
	check(err)
	ra := ndp.RouterAdvertisement{HopLimit: 64, Lifetime: 30 * time.Minute, MTU: uint32(*mtu)}
	ra.Prefixes = []ndp.Prefix{{Prefix: p, OnLink: true, Autonomous: true, Valid: 24 * time.Hour, Preferred: 4 * time.Hour}}
	if server, err := netip.ParseAddr(*dns); err == nil {
		ra.RDNSS = []ndp.RDNSS{{Lifetime: time.Hour, Servers: []netip.Addr{server}}}
	}
	conn, err := ndp.Listen(ndp.Config{Types: []ndp.Type{ndp.TypeRouterSolicitation}})
	check(err)
	a := ndp.NewAdvertiser(conn)
	check(a.Set(ifi.Index, ndp.Router{MAC: ndp.MAC(ifi.HardwareAddr), Advertisement: ra}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { a.Remove(ifi.Index) })
	last, cancel := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { time.AfterFunc(ndp.FinalCount*ndp.FinalInterval, cancel) })
	check(a.Run(last))
}

func check(err error) {
	if err != nil {
		log.Fatal("radvertise: ", err)
	}
}
