package ndp_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/ndp"
)

// A router for one guest, with a /64 of its own.
func Example() {
	conn, err := ndp.Listen(ndp.Config{Types: []ndp.Type{ndp.TypeRouterSolicitation}})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	vm1, err := net.InterfaceByName("vm1")
	if err != nil {
		log.Fatal(err)
	}
	a := ndp.NewAdvertiser(conn)
	err = a.Set(vm1.Index, ndp.Router{
		MAC:    ndp.MAC(vm1.HardwareAddr),
		Source: netip.MustParseAddr("fe80::1"),
		Advertisement: ndp.RouterAdvertisement{
			Lifetime: 30 * time.Minute,
			Prefixes: []ndp.Prefix{{
				Prefix: netip.MustParsePrefix("2001:db8:cb00:7100::/64"), OnLink: true, Autonomous: true,
				Valid: 24 * time.Hour, Preferred: 4 * time.Hour,
			}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := a.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// A day of router advertisements in no time.
func ExampleSchedule() {
	s := ndp.NewSchedule(ndp.Timing{Rand: func() float64 { return 0.5 }})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := now.Add(24 * time.Hour)
	s.Start(now)
	n := 0
	for now = s.Deadline(); now.Before(end); now = s.Deadline() {
		if s.Advance(now) == ndp.ScheduleAdvertise {
			n++
		}
	}
	fmt.Println(n, "advertisements")
	// Output: 218 advertisements
}

func ExampleSolicitedNode() {
	group := ndp.SolicitedNode(netip.MustParseAddr("2001:db8::1:2345:6789"))
	fmt.Println(group, ndp.GroupMAC(group))
	// Output: ff02::1:ff45:6789 33:33:ff:45:67:89
}
