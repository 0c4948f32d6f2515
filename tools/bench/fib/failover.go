package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// load makes n routes of one group desired.
func load(l *lab, v6 bool, n int) []fib.NextHop {
	f := running(l)
	hops := make([]fib.NextHop, 2)
	for i, gw := range gateways(v6, 2, false) {
		hops[i] = fib.NextHop{Gateway: gw, IfIndex: l.link[i]}
	}
	for i := range n {
		must(f.SetRoute(fib.Route{RouteKey: fib.RouteKey{Table: 90, Prefix: prefix(v6, i)}, NextHops: hops}))
	}
	must(f.Flush(context.Background()))
	return hops
}

// failover measures GatewayDown until the kernel says that it has no more
// such next hop, as another process sees it, by the number of routes.
func failover() bool {
	ok := true
	fmt.Println("failover: from GatewayDown to RTM_DELNEXTHOP at another socket; next-hop messages sent")
	sizes := []int{1000, 10000, 100000}
	if *big > 100000 {
		sizes = append(sizes, *big)
	}
	for _, v6 := range []bool{false, true} {
		for _, n := range sizes {
			took, messages, repair := failoverOnce(v6, n)
			what := fmt.Sprintf("%s, %d routes (%d message, repaired in %v)", map[bool]string{false: "IPv4", true: "IPv6"}[v6], n, messages, repair.Round(time.Millisecond))
			ok = verdict(what, float64(took.Microseconds())/1000, 5, "ms") && messages == 1 && ok
		}
	}
	return ok
}

func failoverOnce(v6 bool, n int) (took time.Duration, messages uint64, repair time.Duration) {
	l := newLab()
	defer l.close()
	defer halt()
	hops := load(l, v6, n)
	f := current.f
	f.Sweep()
	heard := l.listen()
	var all []time.Duration
	for range 5 {
		before := f.Stats().ObjectWrites
		start := time.Now()
		f.GatewayDown(hops[0].IfIndex, hops[0].Gateway)
		at := <-heard
		all = append(all, at.Sub(start))
		must(f.Flush(context.Background()))
		messages = f.Stats().ObjectWrites - before
		start = time.Now()
		f.GatewayUp(hops[0].IfIndex, hops[0].Gateway)
		must(f.Flush(context.Background()))
		repair = time.Since(start)
		time.Sleep(1200 * time.Millisecond) // leftovers are collected
		for len(heard) > 0 {
			<-heard
		}
	}
	slices.Sort(all)
	return all[len(all)/2], messages, repair
}

// listen tells when RTM_DELNEXTHOP arrives.
func (l *lab) listen() <-chan time.Time {
	var fd int
	must(netns.Do(l.path(), func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	}))
	must(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	must(unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_NEXTHOP))
	c := make(chan time.Time, 1000)
	go func() {
		runtime.LockOSThread()
		b := make([]byte, 1<<16)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				return
			}
			if n >= 16 && binary.NativeEndian.Uint16(b[4:]) == unix.RTM_DELNEXTHOP {
				c <- time.Now()
			}
		}
	}()
	return c
}

// reconcile measures a start with n routes in the kernel that are all desired
// again, and the memory of a desired route.
func reconcile() bool {
	n := max(*big, *count)
	fmt.Printf("restart with %d unchanged routes\n", n)
	ok := true
	for _, v6 := range []bool{false, true} {
		l := newLab()
		var m0, m1 runtime.MemStats
		running(l)
		runtime.GC()
		runtime.ReadMemStats(&m0)
		load(l, v6, n)
		runtime.GC()
		runtime.ReadMemStats(&m1)
		family := map[bool]string{false: "IPv4", true: "IPv6"}[v6]
		ok = verdict(family+": heap a desired route, in the kernel", float64(m1.HeapAlloc-m0.HeapAlloc)/float64(n), 150, "B") && ok
		halt()
		runtime.GC()
		runtime.ReadMemStats(&m0)
		var all, dump time.Duration
		var writes uint64
		for range *rounds {
			halt()
			runtime.GC()
			d := rawDump(l, v6)
			start := usage(unix.RUSAGE_SELF)
			load(l, v6, n)
			current.f.Sweep()
			must(current.f.Flush(context.Background()))
			took := time.Duration(usage(unix.RUSAGE_SELF)-start) - d
			if all == 0 || took < all {
				all, dump = took, d
			}
			s := current.f.Stats()
			writes = s.Adds + s.Replaces + s.Deletes + s.ObjectWrites
		}
		runtime.ReadMemStats(&m1)
		fmt.Printf("  %s: the kernel's dump alone takes %.2f us a route\n", family, dump.Seconds()*1e6/float64(n))
		ok = verdict(family+": adopt and compare, without the kernel's dump", all.Seconds()*1e6/float64(n), 1.2, "us") && ok
		ok = verdict(family+": writes", float64(writes), 0, "") && ok
		ok = verdict(family+": allocations a route, dump and desire included", float64(m1.Mallocs-m0.Mallocs)/float64(n)/float64(*rounds), 0.1, "") && ok
		halt()
		l.close()
	}
	return ok
}

// rawDump is what reading our routes costs when nobody looks at them.
func rawDump(l *lab, v6 bool) time.Duration {
	fd := rawSocket(l)
	defer unix.Close(fd)
	must(unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1))
	family := byte(unix.AF_INET)
	if v6 {
		family = unix.AF_INET6
	}
	b := make([]byte, 28)
	binary.NativeEndian.PutUint32(b, 28)
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[16], b[21] = family, 201
	in := make([]byte, 1<<16)
	start := usage(unix.RUSAGE_SELF)
	must(unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for {
		n, _, err := unix.Recvfrom(fd, in, 0)
		must(err)
		if n < 16 || binary.NativeEndian.Uint16(in[4:]) == unix.NLMSG_DONE {
			return time.Duration(usage(unix.RUSAGE_SELF) - start)
		}
	}
}
