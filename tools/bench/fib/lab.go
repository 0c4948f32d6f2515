package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// lab is a namespace with two uplinks, v0 and v1, and their other ends in
// another one.
type lab struct {
	name, peer string
	link       [2]int
}

func newLab() *lab {
	l := &lab{name: fmt.Sprintf("hfbench-%d", os.Getpid()), peer: fmt.Sprintf("hfbench-%d-peer", os.Getpid())}
	l.close()
	for _, ns := range []string{l.name, l.peer} {
		must(run("ip", "netns", "add", ns))
		must(run("ip", "-n", ns, "link", "set", "lo", "up"))
	}
	for i := range 2 {
		l.ip("link add v%d type veth peer name p%d netns %s", i, i, l.peer)
		l.ip("addr add 10.0.%d.1/24 dev v%d", i, i)
		l.ip("addr add fd0%d::1/64 dev v%d nodad", i, i)
		l.ip("link set v%d up", i)
		must(run("ip", "-n", l.peer, "link", "set", fmt.Sprintf("p%d", i), "up"))
		out, err := exec.Command("ip", "netns", "exec", l.name, "cat", fmt.Sprintf("/sys/class/net/v%d/ifindex", i)).Output()
		must(err)
		_, err = fmt.Sscan(string(out), &l.link[i])
		must(err)
	}
	// The groups that next-hop id routes use: the first two gateways, the second two.
	for f, gw := range map[int]string{0: "10.0.%d.%d", 10: "fd0%d::%d"} {
		for i := range 4 {
			l.ip("nexthop add id %d via "+gw+" dev v%d", 1+f+i, i%2, 2+i/2, i%2)
		}
		l.ip("nexthop add id %d group %d/%d", 100+f, 1+f, 2+f)
		l.ip("nexthop add id %d group %d/%d", 101+f, 3+f, 4+f)
	}
	return l
}

func (l *lab) close() {
	_ = exec.Command("ip", "netns", "del", l.name).Run()
	_ = exec.Command("ip", "netns", "del", l.peer).Run()
}

func (l *lab) path() string { return "/run/netns/" + l.name }

func (l *lab) ip(format string, args ...any) {
	must(run("ip", append([]string{"-n", l.name}, strings.Fields(fmt.Sprintf(format, args...))...)...))
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// prefix is the i-th route.
func prefix(v6 bool, i int) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), 64)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(16 + i>>16), byte(i >> 8), byte(i), 0}), 24)
}

// gateways returns n gateways: the first set, or with second another one.
func gateways(v6 bool, n int, second bool) (out []netip.Addr) {
	for i := range n {
		host := 2
		if second {
			host = 3
		}
		if v6 {
			out = append(out, netip.MustParseAddr(fmt.Sprintf("fd0%d::%d", i%2, host)))
		} else {
			out = append(out, netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i%2, host)))
		}
	}
	return out
}

// usage is the CPU time of this process, and of children that have ended.
func usage(who int) int64 {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// fill keeps one route in a table, so that every contender's trie has the same
// shape when it is empty otherwise.
func (l *lab) fill(table int) {
	l.ip("route replace 192.0.2.0/24 via 10.0.0.2 dev v0 table %d", table)
	l.ip("-6 route replace 3000::/64 via fd00::2 dev v0 table %d", table)
}
