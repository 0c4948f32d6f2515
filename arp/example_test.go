package arp_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/arp"
)

// A hypervisor answers VM1 for every guest of the subnet that lives elsewhere.
func Example() {
	conn, err := arp.Listen(arp.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	vm1, err := net.InterfaceByName("vm1")
	if err != nil {
		log.Fatal(err)
	}
	r := arp.NewResponder(conn)
	err = r.SetGuest(vm1.Index, arp.Guest{
		Router:    arp.MAC(vm1.HardwareAddr),
		Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")},
	})
	if err != nil {
		log.Fatal(err)
	}
	r.SetTarget(netip.MustParsePrefix("203.0.113.3/32"), 0)
	if err := r.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func ExamplePacket_Answer() {
	mac := arp.MAC{0x50, 0x54, 0x33, 0, 0, 7}
	q := arp.NewRequest(mac, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.3"))
	fmt.Println(q)
	fmt.Println(q.Answer(arp.MAC{2, 0, 0, 0, 0, 0xfe}))
	// Output:
	// who-has 203.0.113.3 tell 203.0.113.1 (50:54:33:00:00:07)
	// 203.0.113.3 is-at 02:00:00:00:00:fe, to 203.0.113.1 (50:54:33:00:00:07)
}

// The policy can be used without a socket.
func ExamplePolicy() {
	var p arp.Policy
	p.SetGuest(1, arp.Guest{Router: arp.MAC{2, 0, 0, 0, 0, 0xfe}, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}})
	p.SetTarget(netip.MustParsePrefix("203.0.113.3/32"), 0)
	for _, target := range []string{"203.0.113.1", "203.0.113.3", "203.0.113.77"} {
		f := arp.NewProbe(arp.MAC{0x50, 0x54, 0x33, 0, 0, 7}, netip.MustParseAddr(target)).On(1)
		_, verdict := p.Decide(time.Now(), &f)
		fmt.Println(target, verdict)
	}
	// Output:
	// 203.0.113.1 own
	// 203.0.113.3 answered
	// 203.0.113.77 unallocated
}
