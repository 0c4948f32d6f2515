package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
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
	took, err := batch(w.host, "bridge", script.String())
	if err != nil {
		return err
	}
	b.add("VXLAN FDB writes", "bridge -batch", fmt.Sprintf("%.1fk/s", theirs/took.Seconds()/1000), "", true)

	for i := range n {
		if err := fdb.SetMAC(link, mac(i), vtep); err != nil {
			return err
		}
	}
	begin := time.Now()
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
	return segment(ctx, b, w, fdb, mac)
}

// segment writes an overlay behind a bridge: 25,000 MACs in the device's table and the bridge's, and 10,000 neighbours, ours
// and with `bridge -batch` and `ip -batch`.
func segment(ctx context.Context, b *bench, w *wire, fdb *vxlan.FDB, mac func(int) vxlan.MAC) error {
	const n, neighbors, theirs = 25000, 10000, 2500
	script := "link add br102 type bridge\nlink set br102 up\nlink add br103 type bridge\nlink set br103 up\n"
	if _, err := batch(w.host, "ip", script); err != nil {
		return err
	}
	vtep, links := netip.MustParseAddr("172.22.2.2"), map[string]int{}
	if err := netns.Do(path(w.host), func() error {
		for _, name := range []string{"br102", "br103"} {
			i, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			links[name] = i.Index
		}
		return nil
	}); err != nil {
		return err
	}
	if _, _, err := fdb.Ensure(ctx, vxlan.Device{Interface: "vx103", VNI: 103, Local: netip.MustParseAddr("172.22.2.1"), Bridge: links["br103"]}); err != nil {
		return err
	}
	device, _, err := fdb.Ensure(ctx, vxlan.Device{Interface: "vx102", VNI: 102, Local: netip.MustParseAddr("172.22.2.1"), Bridge: links["br102"]})
	if err != nil {
		return err
	}
	var forwarding, resolving strings.Builder
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	for i := range theirs {
		fmt.Fprintf(&forwarding, "fdb append %v dev vx103 dst %v\nfdb append %v dev vx103 master extern_learn\n", mac(i), vtep, mac(i))
		fmt.Fprintf(&resolving, "neigh add %v dev br103 lladdr %v nud noarp extern_learn proto 201\n", addr(i), mac(i))
	}
	one, err := batch(w.host, "bridge", forwarding.String())
	if err != nil {
		return err
	}
	two, err := batch(w.host, "ip", resolving.String())
	if err != nil {
		return err
	}
	b.add("overlay behind a bridge, entries written", "bridge -batch, ip -batch", fmt.Sprintf("%.1fk/s", 3*theirs/(one+two).Seconds()/1000), "", true)

	s := vxlan.Segment{Device: device, MACs: map[vxlan.MAC]netip.Addr{}, Interface: links["br102"], Neighbors: map[netip.Addr]vxlan.MAC{}}
	for i := range n {
		s.MACs[mac(i)] = vtep
		if i < neighbors {
			s.Neighbors[addr(i)] = mac(i)
		}
	}
	begin := time.Now()
	if err := fdb.SetSegment(s); err != nil {
		return err
	}
	r, err := fdb.Flush(ctx)
	if err != nil || r.Added != 2*n+neighbors {
		return fmt.Errorf("%+v, %v", r, err)
	}
	perSecond := (2*n + neighbors) / time.Since(begin).Seconds()
	b.add("overlay behind a bridge, entries written", "hyperfib", fmt.Sprintf("%.1fk/s", perSecond/1000), "50k/s", perSecond >= 50000)
	begin = time.Now()
	if r, err = fdb.Reconcile(ctx); err != nil {
		return err
	}
	b.add("reconcile of that, and of the 50k entries, without a difference", "hyperfib", fmt.Sprintf("%d writes, %v", r.Writes(), time.Since(begin).Round(time.Millisecond)), "0 writes", r.Writes() == 0)
	return nil
}

// batch has iproute2 read commands in a namespace, and returns how long that took.
func batch(host, program, script string) (time.Duration, error) {
	cmd := exec.Command("ip", "netns", "exec", host, program, "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %v: %s", program, err, out)
	}
	return time.Since(begin), nil
}
