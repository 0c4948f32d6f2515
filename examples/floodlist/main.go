// Command floodlist makes a VXLAN device with head-end replication to the VTEPs given,
// or brings an existing one in line. Run it again with other VTEPs: only the
// difference is written, and entries of others stay.
//
//	floodlist -dev vx100 -vni 100 -local 172.22.2.1 172.22.2.2 172.22.2.3
package main

import (
	"flag"
	"fmt"
	"log"
	"net/netip"

	"github.com/hyperfib/hyperfib/vxlan"
)

func main() {
	dev := flag.String("dev", "vx100", "`name` of the device")
	vni := flag.Uint("vni", 100, "VXLAN network identifier")
	local := flag.String("local", "", "own VTEP `address`")
	flag.Parse()
	fdb, err := vxlan.Open(vxlan.Config{})
	check(err)
	addr, err := netip.ParseAddr(*local)
	check(err)
	link, made, err := fdb.Ensure(vxlan.Device{Interface: *dev, VNI: uint32(*vni), Local: addr, Learning: true})
	check(err)
	var vteps []netip.Addr
	for _, arg := range flag.Args() {
		v, err := netip.ParseAddr(arg)
		check(err)
		vteps = append(vteps, v)
	}
	fdb.SetFlood(link, vteps)
	r, err := fdb.Reconcile()
	check(err)
	fmt.Printf("%s: written %v; added %d, deleted %d, kept %d, foreign %d\n", *dev, made, r.Added, r.Deleted, r.Kept, r.Foreign)
}

func check(err error) {
	if err != nil {
		log.Fatal("floodlist: ", err)
	}
}
