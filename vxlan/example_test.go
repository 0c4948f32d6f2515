package vxlan_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/vxlan"
)

// A device, its flood list, and one guest that is known to be at a certain VTEP.
func Example() {
	fdb, err := vxlan.New(vxlan.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- fdb.Run(ctx) }()
	link, _, err := fdb.Ensure(ctx, vxlan.Device{Interface: "vx100", VNI: 100, Local: netip.MustParseAddr("172.22.2.1")})
	if err != nil {
		fmt.Println(err, <-ended) // it is closed if Run could not open its sockets
		return
	}
	err = errors.Join(
		fdb.SetFlood(link, []netip.Addr{netip.MustParseAddr("172.22.2.2"), netip.MustParseAddr("172.22.2.3")}),
		fdb.SetMAC(link, vxlan.MAC{0x50, 0x54, 0x33, 0, 0, 0x0f}, netip.MustParseAddr("172.22.2.2")))
	if r, failed := fdb.Flush(ctx); err == nil && failed == nil {
		fmt.Println(r.Writes(), "entries written")
	}
	for e := range fdb.Watch().All(ctx) { // the entries that are there, and what becomes of them
		fmt.Println(e)
	}
}

// What EVPN would know of a VNI whose device is a port of a bridge: two VTEPs, and a guest behind one of them.
func ExampleFDB_SetSegment() {
	fdb, err := vxlan.New(vxlan.Config{DeferSweep: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	const device, bridge = 7, 6 // interface indexes
	guest, vtep := vxlan.MAC{0x50, 0x54, 0x33, 0, 0, 0x0f}, netip.MustParseAddr("172.22.2.2")
	err = fdb.SetSegment(vxlan.Segment{
		Device: device, Flood: []netip.Addr{vtep, netip.MustParseAddr("172.22.2.3")}, MACs: map[vxlan.MAC]netip.Addr{guest: vtep},
		Interface: bridge, Neighbors: map[netip.Addr]vxlan.MAC{netip.MustParseAddr("192.168.5.1"): guest},
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, link := range []int{device, bridge} {
		for _, e := range fdb.Entries(link) {
			fmt.Println(e) // Run and Flush write them, and Sweep deletes what an earlier process has left besides
		}
	}
	// Output:
	// 00:00:00:00:00:00 dev 7 dst 172.22.2.2
	// 00:00:00:00:00:00 dev 7 dst 172.22.2.3
	// 50:54:33:00:00:0f dev 7 dst 172.22.2.2
	// 192.168.5.1 dev 6 lladdr 50:54:33:00:00:0f
}

func ExampleGuestMTU() {
	fmt.Println(vxlan.GuestMTU(1550, netip.MustParseAddr("172.22.2.1")))
	// Output: 1500
}

func ExampleEntry_String() {
	fmt.Println(vxlan.Entry{IfIndex: 7, VTEP: netip.MustParseAddr("172.22.2.2")})
	// Output: 00:00:00:00:00:00 dev 7 dst 172.22.2.2
}
