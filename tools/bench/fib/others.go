package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// contender writes n routes of a kind into a table of its own, changes them, and
// removes them. It returns the CPU time of one operation.
type contender struct {
	name  string
	table int
	slow  bool // gets -slow routes
	can   func(k kind) bool
	do    func(l *lab, k kind, n, op int) time.Duration
}

func any_(kind) bool       { return true }
func noGroups(k kind) bool { return !k.group }

var contenders = []contender{
	{"hyperfib fib", 90, false, any_, ours},
	{"vishvananda handle", 91, true, noGroups, vishvananda},
	{"rtnetlink", 92, true, noGroups, rtnl},
	{"ip -batch", 93, true, any_, ipBatch},
	{"BIRD", 94, true, func(k kind) bool { return !k.group }, bird},
}

// ours is the whole way: SetRoute of every route, then Flush; map, interning,
// encoding and errors included. The FIB runs for the time of a kind.
func ours(l *lab, k kind, n, op int) time.Duration {
	routes := make([]fib.Route, 1)
	hops := make([]fib.NextHop, k.hops)
	for i, gw := range gateways(k.v6, k.hops, op != opAdd) {
		hops[i] = fib.NextHop{Gateway: gw, IfIndex: l.link[i%2]}
	}
	routes[0].NextHops = hops
	f := running(l)
	start := usage(unix.RUSAGE_SELF)
	for i := range n {
		r := fib.Route{RouteKey: fib.RouteKey{Table: 90, Prefix: prefix(k.v6, i)}, NextHops: hops, RTAMultipath: k.classic}
		if op == opDelete {
			must(f.DeleteRoute(r.RouteKey))
		} else {
			must(f.SetRoute(r))
		}
	}
	must(f.Flush(context.Background()))
	return time.Duration(usage(unix.RUSAGE_SELF) - start)
}

// current is the FIB of the kind that is being measured.
var current struct {
	f    *fib.FIB
	stop func()
}

func running(l *lab) *fib.FIB {
	if current.f == nil {
		f, err := fib.New(fib.Config{NetNS: l.path(), Tables: []uint32{90}})
		must(err)
		w := f.Watch(fib.WatchOptions{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		for e, err := range w.All(ctx) {
			must(err)
			if e.Kind == fib.EventSynced {
				break
			}
		}
		w.Close()
		current.f, current.stop = f, func() { cancel(); must(<-done) }
	}
	return current.f
}

func halt() {
	if current.f != nil {
		current.stop()
		current.f = nil
	}
}

func vishvananda(l *lab, k kind, n, op int) time.Duration {
	var h *netlink.Handle
	must(netns.Do(l.path(), func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	}))
	defer h.Close()
	family := netlink.FAMILY_V4
	if k.v6 {
		family = netlink.FAMILY_V6
	}
	route := func(i int) *netlink.Route {
		p := prefix(k.v6, i)
		r := &netlink.Route{Family: family, Table: 91, Protocol: 201, Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if op == opDelete {
			return r
		}
		gws := gateways(k.v6, k.hops, op != opAdd)
		if k.hops == 1 {
			r.Gw, r.LinkIndex = gws[0].AsSlice(), l.link[0]
			return r
		}
		for j, gw := range gws {
			r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{LinkIndex: l.link[j%2], Gw: gw.AsSlice()})
		}
		return r
	}
	do := []func(*netlink.Route) error{h.RouteAdd, h.RouteReplace, h.RouteDel}[op]
	start := usage(unix.RUSAGE_SELF)
	for i := range n {
		must(do(route(i)))
	}
	return time.Duration(usage(unix.RUSAGE_SELF) - start)
}

func rtnl(l *lab, k kind, n, op int) time.Duration {
	var c *rtnetlink.Conn
	must(netns.Do(l.path(), func() (err error) {
		c, err = rtnetlink.Dial(nil)
		return err
	}))
	defer c.Close()
	family := uint8(unix.AF_INET)
	if k.v6 {
		family = unix.AF_INET6
	}
	do := []func(*rtnetlink.RouteMessage) error{c.Route.Add, c.Route.Replace, c.Route.Delete}[op]
	gws := gateways(k.v6, k.hops, op != opAdd)
	start := usage(unix.RUSAGE_SELF)
	for i := range n {
		p := prefix(k.v6, i)
		m := &rtnetlink.RouteMessage{Family: family, Table: 92, Protocol: 201, Type: unix.RTN_UNICAST, DstLength: uint8(p.Bits()),
			Attributes: rtnetlink.RouteAttributes{Dst: p.Addr().AsSlice(), Table: 92}}
		switch {
		case op == opDelete:
		case k.hops == 1:
			m.Attributes.Gateway, m.Attributes.OutIface = gws[0].AsSlice(), uint32(l.link[0])
		default:
			for j, gw := range gws {
				m.Attributes.Multipath = append(m.Attributes.Multipath, rtnetlink.NextHop{Hop: rtnetlink.RTNextHop{IfIndex: uint32(l.link[j%2])}, Gateway: gw.AsSlice()})
			}
		}
		must(do(m))
	}
	return time.Duration(usage(unix.RUSAGE_SELF) - start)
}

func ipBatch(l *lab, k kind, n, op int) time.Duration {
	var b strings.Builder
	verb := [...]string{"add", "replace", "del"}[op]
	tail := ""
	gws := gateways(k.v6, k.hops, op != opAdd)
	switch {
	case k.group:
		tail = fmt.Sprintf(" nhid %d", k.groupID(op != opAdd))
	case op == opDelete:
	case k.hops == 1:
		tail = fmt.Sprintf(" via %v dev v0", gws[0])
	default:
		for j, gw := range gws {
			tail += fmt.Sprintf(" nexthop via %v dev v%d", gw, j%2)
		}
	}
	for i := range n {
		fmt.Fprintf(&b, "route %s %v table 93 proto 201%s\n", verb, prefix(k.v6, i), tail)
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("hfbench-%d.batch", os.Getpid()))
	must(os.WriteFile(file, []byte(b.String()), 0o600))
	defer os.Remove(file)
	args := []string{"-n", l.name, "-batch", file}
	if k.v6 {
		args = append([]string{"-6"}, args...)
	}
	start := usage(unix.RUSAGE_CHILDREN)
	must(run("ip", args...))
	return time.Duration(usage(unix.RUSAGE_CHILDREN) - start)
}

// bird has the routes as static ones and exports them to a kernel table. Its CPU
// time for that is the difference to the same configuration without export.
// Only add is measured: the others come with reading the configuration anew.
func bird(l *lab, k kind, n, op int) time.Duration {
	if op != opAdd {
		return 0
	}
	with := birdRun(l, k, n, "all")
	without := birdRun(l, k, n, "none")
	return max(with-without, 0)
}

func birdRun(l *lab, k kind, n int, export string) time.Duration {
	dir, err := os.MkdirTemp("", "hfbench-bird")
	must(err)
	defer os.RemoveAll(dir)
	family := "ipv4"
	if k.v6 {
		family = "ipv6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "router id 10.0.0.1;\nprotocol device {}\nprotocol kernel { kernel table 94; merge paths yes; %s { export %s; }; }\nprotocol static { %s;\n", family, export, family)
	hops := ""
	for _, gw := range gateways(k.v6, k.hops, false) {
		hops += fmt.Sprintf(" via %v", gw)
	}
	for i := range n {
		fmt.Fprintf(&b, "route %v%s;\n", prefix(k.v6, i), hops)
	}
	b.WriteString("}\n")
	conf := filepath.Join(dir, "bird.conf")
	must(os.WriteFile(conf, []byte(b.String()), 0o600))
	cmd := exec.Command("ip", "netns", "exec", l.name, "bird", "-f", "-c", conf, "-s", filepath.Join(dir, "ctl"))
	start := usage(unix.RUSAGE_CHILDREN)
	must(cmd.Start())
	deadline := time.Now().Add(60 * time.Second)
	for quiet, last := 0, -1; quiet < 3 && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		now := int(processCPU(cmd.Process.Pid) / time.Millisecond)
		if quiet++; now != last {
			quiet = 0
		}
		last = now
	}
	// Killed, not stopped: BIRD would remove its routes, which is not what is measured.
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	took := time.Duration(usage(unix.RUSAGE_CHILDREN) - start)
	fam := "-4"
	if k.v6 {
		fam = "-6"
	}
	out, _ := exec.Command("ip", "-n", l.name, fam, "route", "show", "table", "94").Output()
	if have := strings.Count(string(out), "proto bird"); export == "all" && have < n {
		fmt.Printf("    BIRD: only %d of %d routes arrived\n", have, n)
	}
	_ = exec.Command("ip", "-n", l.name, fam, "route", "flush", "table", "94", "proto", "bird").Run()
	return took
}

// processCPU reads the CPU time of a process, in clock ticks of 10 ms.
func processCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system int64
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}
