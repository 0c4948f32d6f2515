package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/vxlan"
)

// forwarding writes 50,000 MAC entries, ours and with `bridge -batch`.
func forwarding(b *bench) error {
	const n, theirs = 50000, 5000
	w, err := newWire("fdb")
	defer w.close()
	if err != nil {
		return err
	}
	fdb, err := vxlan.New(vxlan.Config{NetNS: path(w.host)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fdb.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	vtep := netip.MustParseAddr("172.22.2.2")
	link, _, err := fdb.Ensure(ctx, vxlan.Device{Interface: "vx100", VNI: 100, Local: netip.MustParseAddr("172.22.2.1")})
	if err != nil {
		return err
	}
	if _, _, err := fdb.Ensure(ctx, vxlan.Device{Interface: "vx101", VNI: 101, Local: netip.MustParseAddr("172.22.2.1")}); err != nil {
		return err
	}
	mac := func(i int) (m vxlan.MAC) {
		m[0] = 2
		binary.BigEndian.PutUint32(m[2:], uint32(i))
		return m
	}
	var script strings.Builder
	for i := range theirs {
		fmt.Fprintf(&script, "fdb append %v dev vx101 dst %v\n", mac(i), vtep)
	}
	cmd := exec.Command("ip", "netns", "exec", w.host, "bridge", "-batch", "-")
	cmd.Stdin = strings.NewReader(script.String())
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bridge: %v: %s", err, out)
	}
	b.add("VXLAN FDB writes", "bridge -batch", fmt.Sprintf("%.1fk/s", theirs/time.Since(begin).Seconds()/1000), "", true)

	for i := range n {
		if err := fdb.SetMAC(link, mac(i), vtep); err != nil {
			return err
		}
	}
	begin = time.Now()
	r, err := fdb.Flush(ctx)
	if err != nil || r.Added != n {
		return fmt.Errorf("%+v, %v", r, err)
	}
	perSecond := n / time.Since(begin).Seconds()
	b.add("VXLAN FDB writes", "hyperfib", fmt.Sprintf("%.1fk/s", perSecond/1000), "50k/s", perSecond >= 50000)
	begin = time.Now()
	if r, err = fdb.Reconcile(ctx); err != nil {
		return err
	}
	b.add("reconcile of 50k entries without a difference", "hyperfib", fmt.Sprintf("%d writes, %v", r.Writes(), time.Since(begin).Round(time.Millisecond)), "0 writes", r.Writes() == 0)
	return nil
}
