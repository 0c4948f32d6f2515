package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// The part of docs/scale.md, which runs only if it is named: a hypervisor that has a host
// route for each guest of a fleet, by a group of two next hops for each other host, one on
// each of two fabrics.
var (
	fleetHosts = flag.Int("hosts", 8000, "hosts of -only scale")
	fleetEach  = flag.Int("each", 125, "guests of each of them")
	fleetCut   = flag.Bool("cut", true, "let a fabric die, too")
)

func scale() bool {
	for _, v6 := range []bool{false, true} {
		scaleOnce(v6, *fleetHosts, *fleetEach)
	}
	return true
}

// hostHops are the next hops to host i, with their addresses in a /16 or /64 of each link.
func hostHops(l *lab, v6 bool, i int) []fib.NextHop {
	hops := make([]fib.NextHop, 2)
	for k := range hops {
		a := netip.AddrFrom4([4]byte{10, 100 + byte(k), byte((i + 10) >> 8), byte(i + 10)})
		if v6 {
			a = netip.AddrFrom16([16]byte{0xfd, 100 + byte(k), 14: byte((i + 10) >> 8), 15: byte(i + 10)})
		}
		hops[k] = fib.NextHop{Gateway: a, IfIndex: l.link[k]}
	}
	return hops
}

// guest is the host route of guest i.
func guest(v6 bool, i int) netip.Prefix {
	var a [16]byte
	copy(a[:], []byte{0x20, 1, 0xd, 0xb8})
	binary.BigEndian.PutUint32(a[8:], uint32(i))
	if v6 {
		return netip.PrefixFrom(netip.AddrFrom16(a), 128)
	}
	binary.BigEndian.PutUint32(a[:], 20<<24+uint32(i))
	return netip.PrefixFrom(netip.AddrFrom4([4]byte(a[:4])), 32)
}

func scaleOnce(v6 bool, hosts, each int) {
	l := newLab()
	defer l.close()
	defer halt()
	for k := range 2 {
		l.ip("addr add 10.%d.0.1/16 dev v%d", 100+k, k)
		l.ip("addr add fd%x::1/64 dev v%d nodad", 100+k, k)
	}
	f := running(l)
	n := float64(hosts * each)
	fmt.Printf("%s: %d hosts with %d guests each\n", map[bool]string{false: "IPv4", true: "IPv6"}[v6], hosts, each)
	heard := l.count()
	var heap0, heap1 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&heap0)
	kernel0, cpu0, start := kernelMemory(), usage(unix.RUSAGE_SELF), time.Now()
	for h := range hosts {
		hops := hostHops(l, v6, h)
		for i := range each {
			must(f.SetRoute(fib.Route{RouteKey: fib.RouteKey{Table: 90, Prefix: guest(v6, h*each+i)}, NextHops: hops}))
		}
	}
	must(f.Flush(context.Background()))
	wall, cpu := time.Since(start), time.Duration(usage(unix.RUSAGE_SELF)-cpu0)
	kernel := kernelMemory() - kernel0
	runtime.GC()
	runtime.ReadMemStats(&heap1)
	fmt.Printf("  written in %.2f s, %.2f us of CPU a route\n", wall.Seconds(), cpu.Seconds()*1e6/n)
	fmt.Printf("  kernel: %.0f MiB, %.0f octets a route; heap of the process: %.0f octets a route\n", float64(kernel)/(1<<20), float64(kernel)/n, float64(heap1.HeapAlloc-heap0.HeapAlloc)/n)
	time.Sleep(time.Second)
	fmt.Printf("  notifications at another socket: %d of %.0f messages, %.0f octets each\n", heard.messages.Load(), n, float64(heard.octets.Load())/float64(max(1, heard.messages.Load())))
	f.Sweep()
	d := rawDump(l, v6)
	fmt.Printf("  the kernel's dump: %.2f us of CPU a route\n", d.Seconds()*1e6/n)
	if *fleetCut {
		cutFabric(l, v6, hosts)
	}
	time.Sleep(2 * time.Second)
	var gone, moved []time.Duration
	var work time.Duration
	for h := range 9 {
		start = time.Now()
		for i := range each {
			must(f.DeleteRoute(fib.RouteKey{Table: 90, Prefix: guest(v6, h*each+i)}))
		}
		must(f.Flush(context.Background()))
		gone = append(gone, time.Since(start))
		start, cpu0 = time.Now(), usage(unix.RUSAGE_SELF)
		must(f.SetRoute(fib.Route{RouteKey: fib.RouteKey{Table: 90, Prefix: guest(v6, (h+20)*each)}, NextHops: hostHops(l, v6, h+30)}))
		must(f.Flush(context.Background()))
		moved = append(moved, time.Since(start))
		work += time.Duration(usage(unix.RUSAGE_SELF) - cpu0)
		time.Sleep(200 * time.Millisecond)
	}
	slices.Sort(gone)
	slices.Sort(moved)
	fmt.Printf("  median of 9: a host dies, its %d routes go: %.2f ms; a guest moves: %.2f ms, %.2f ms of CPU\n", each, gone[4].Seconds()*1e3, moved[4].Seconds()*1e3, work.Seconds()*1e3/9)
}

// cutFabric has all next hops on one of the two fabrics die at once.
func cutFabric(l *lab, v6 bool, hosts int) {
	f := running(l)
	before := f.Stats().ObjectWrites
	start, cpu0 := time.Now(), usage(unix.RUSAGE_SELF)
	for h := range hosts {
		hop := hostHops(l, v6, h)[0]
		f.GatewayDown(hop.IfIndex, hop.Gateway)
	}
	must(f.Flush(context.Background()))
	wall, cpu := time.Since(start), time.Duration(usage(unix.RUSAGE_SELF)-cpu0)
	fmt.Printf("  a fabric dies, all next hops on it go: %.2f s, %d messages, %.0f us of CPU each\n", wall.Seconds(), f.Stats().ObjectWrites-before, cpu.Seconds()*1e6/float64(hosts))
}

// kernelMemory is what the kernel has allocated in octets, whoever asked for it: slabs, vmalloc
// and memory of each CPU.
func kernelMemory() (sum int64) {
	file, err := os.Open("/proc/meminfo")
	must(err)
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		var kib int64
		name, rest, _ := strings.Cut(s.Text(), ":")
		switch name {
		case "Slab", "VmallocUsed", "Percpu":
			_, err := fmt.Sscan(rest, &kib)
			must(err)
			sum += kib << 10
		}
	}
	return sum
}

// counter counts notifications.
type counter struct{ messages, octets atomic.Int64 }

// count counts the RTM_NEWROUTE that a program with a large receive buffer hears.
func (l *lab) count() *counter {
	var fd int
	must(netns.Do(l.path(), func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	}))
	must(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<30))
	for _, group := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		must(unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
	}
	c := &counter{}
	go func() {
		runtime.LockOSThread()
		b := make([]byte, 1<<16)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil && err != unix.ENOBUFS && err != unix.EINTR {
				return
			}
			if n >= 16 && binary.NativeEndian.Uint16(b[4:]) == unix.RTM_NEWROUTE {
				c.messages.Add(1)
				c.octets.Add(int64(n))
			}
		}
	}()
	return c
}
