package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// latency measures one route at a time: from SetRoute to the kernel's notification
// at another socket, from somebody else's write to the learner, and from somebody
// else's deletion until our route is back.
func latency() bool {
	l := newLab()
	defer l.close()
	defer halt()
	f := running(l)
	f.Sweep()
	heard := l.listenRoutes()
	learner := f.Learn(fib.Filter{Tables: []uint32{95}})
	defer learner.Close()
	buf := make([]fib.LearnChange, 16)
	_, err := learner.Next(context.Background(), buf) // Synced: the table is empty
	must(err)
	fd := rawSocket(l)
	defer unix.Close(fd)
	k := kinds[0]
	var set, learn, heal []time.Duration
	hops := []fib.NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: l.link[0]}}
	for i := range 300 {
		p := prefix(false, i)
		start := time.Now()
		must(f.SetRoute(fib.Route{RouteKey: fib.RouteKey{Table: 90, Prefix: p}, NextHops: hops}))
		set = append(set, (<-heard).Sub(start))

		start = time.Now()
		must(unix.Sendto(fd, foreign(k.message(nil, 95, p, unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE, k.tail(l))), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
		n, err := learner.Next(context.Background(), buf)
		must(err)
		learn = append(learn, time.Since(start))
		if n != 1 || buf[0].Prefix != p {
			panic(fmt.Sprint("learned ", buf[:n]))
		}
		<-heard

		start = time.Now()
		must(unix.Sendto(fd, k.message(nil, 90, p, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, nil), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
		heal = append(heal, (<-heard).Sub(start))
		time.Sleep(2 * time.Millisecond)
	}
	fmt.Println("one route at a time, median of 300")
	ok := true
	for _, m := range []struct {
		what string
		all  []time.Duration
	}{{"SetRoute to RTM_NEWROUTE at another socket", set}, {"somebody else's write to Learner.Next", learn}, {"somebody else's deletion to our route being back", heal}} {
		slices.Sort(m.all)
		ok = verdict(m.what, float64(m.all[150].Microseconds())/1000, 2, "ms") && ok
		fmt.Printf("  %-58s %8.2f ms\n", "  99th percentile", float64(m.all[297].Microseconds())/1000)
	}
	return ok
}

func (k kind) tail(l *lab) []byte {
	t := attr(nil, unix.RTA_GATEWAY, gateways(k.v6, 1, false)[0].AsSlice())
	return attr(t, unix.RTA_OIF, u32(uint32(l.link[0])))
}

// foreign makes the message somebody else's: protocol static.
func foreign(b []byte) []byte {
	b[16+5] = unix.RTPROT_STATIC
	return b
}

// listenRoutes tells when RTM_NEWROUTE arrives.
func (l *lab) listenRoutes() <-chan time.Time {
	var fd int
	must(netns.Do(l.path(), func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	}))
	must(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	must(unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_IPV4_ROUTE))
	c := make(chan time.Time, 1000)
	go func() {
		runtime.LockOSThread()
		b := make([]byte, 1<<16)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				return
			}
			if n >= 16 && binary.NativeEndian.Uint16(b[4:]) == unix.RTM_NEWROUTE {
				c <- time.Now()
			}
		}
	}()
	return c
}
