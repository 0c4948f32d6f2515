package vxlan_test

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/vxlan"
)

// A device, its flood list, and one guest that is known to be at a certain VTEP.
func Example() {
	fdb, err := vxlan.Open(vxlan.Config{})
	if err != nil {
		return
	}
	defer fdb.Close()
	link, _, err := fdb.Ensure(vxlan.Device{Interface: "vx100", VNI: 100, Local: netip.MustParseAddr("172.22.2.1")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fdb.SetFlood(link, []netip.Addr{netip.MustParseAddr("172.22.2.2"), netip.MustParseAddr("172.22.2.3")})
	fdb.SetMAC(link, vxlan.MAC{0x50, 0x54, 0x33, 0, 0, 0x0f}, netip.MustParseAddr("172.22.2.2"))
	if r, err := fdb.Reconcile(); err == nil {
		fmt.Println(r.Writes(), "entries written")
	}
}

func ExampleGuestMTU() {
	fmt.Println(vxlan.GuestMTU(1550, netip.MustParseAddr("172.22.2.1")))
	// Output: 1500
}

func ExampleEntry_String() {
	fmt.Println(vxlan.Entry{IfIndex: 7, VTEP: netip.MustParseAddr("172.22.2.2")})
	// Output: 00:00:00:00:00:00 dev 7 dst 172.22.2.2
}
