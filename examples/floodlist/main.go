// Command floodlist makes a VXLAN device with head-end replication to the VTEPs given,
// or brings an existing one in line. Run it again with other VTEPs: only the
// difference is written, and entries of others stay.
//
//	floodlist -dev vx100 -vni 100 -local 172.22.2.1 172.22.2.2 172.22.2.3
package main

import (
	"cmp"
	"context"
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
	addr, err := netip.ParseAddr(*local)
	check(err)
	var vteps []netip.Addr
	for _, arg := range flag.Args() {
		v, err := netip.ParseAddr(arg)
		check(err)
		vteps = append(vteps, v)
	}
	fdb, err := vxlan.New(vxlan.Config{})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- fdb.Run(ctx)
		cancel() // what waits for it returns
	}()
	device := vxlan.Device{Interface: *dev, VNI: uint32(*vni), Local: addr, Learning: true}
	made, r, err := flood(ctx, fdb, device, vteps)
	cancel()
	check(cmp.Or(<-ended, err)) // why Run has ended comes first
	fmt.Printf("%s: written %v; added %d, deleted %d, kept %d, foreign %d\n", *dev, made, r.Added, r.Deleted, r.Kept, r.Foreign)
}

// flood makes the device, and vteps its flood list.
func flood(ctx context.Context, fdb *vxlan.FDB, d vxlan.Device, vteps []netip.Addr) (made bool, r vxlan.Result, err error) {
	link, made, err := fdb.Ensure(ctx, d)
	if err == nil {
		err = fdb.SetFlood(link, vteps)
	}
	if err == nil {
		r, err = fdb.Flush(ctx)
	}
	return made, r, err
}

func check(err error) {
	if err != nil {
		log.Fatal("floodlist: ", err)
	}
}
