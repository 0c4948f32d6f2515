// Command arpwatch prints who appears, moves, fights over an address and disappears on
// an interface, a line an event.
//
//	arpwatch -dev vm1 -from 203.0.113.254 -idle 10s
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/hyperfib/hyperfib/arp"
)

func main() {
	dev := flag.String("dev", "", "`interface` to watch")
	from := flag.String("from", "", "own `address` there, to ask the silent from; empty: nobody is asked")
	idle := flag.Duration("idle", time.Minute, "silence after which a station is asked")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ifi, err := net.InterfaceByName(*dev)
	check(err)
	conn, err := arp.Listen(arp.Config{})
	check(err)
	defer conn.Close()
	m := arp.NewMonitor(conn, arp.WatchConfig{Idle: *idle})
	ip, _ := netip.ParseAddr(*from)
	check(m.AddLink(ifi.Index, arp.MAC(ifi.HardwareAddr), ip))
	go print(ctx, m.Watch())
	check(m.Run(ctx))
}

func print(ctx context.Context, events *arp.Watcher) {
	for e, err := range events.All(ctx) {
		if err != nil {
			return
		}
		fmt.Println(time.Now().Format(time.TimeOnly), e)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal("arpwatch: ", err)
	}
}
