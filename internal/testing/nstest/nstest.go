// Package nstest makes network namespaces for tests, with iproute2, and removes
// them when the test ends. Tests that use it need root and skip with a clear
// message without it.
package nstest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// NS is a named network namespace that lives as long as its test.
type NS struct {
	Name string // as `ip netns` shows it
	Path string // as internal/netns and the NetNS field of configs take it
	tb   testing.TB
}

var serial atomic.Int32

// New creates an empty namespace with loopback up.
func New(tb testing.TB, label string) *NS {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root to create network namespaces")
	}
	name := fmt.Sprintf("hft-%d-%d-%s", os.Getpid(), serial.Add(1), label)
	ns := &NS{Name: name, Path: "/run/netns/" + name, tb: tb}
	run(tb, "ip", "netns", "add", name)
	tb.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	ns.IP("link set lo up")
	return ns
}

// IP runs `ip -n NAME ARGS` and fails the test if it fails. Words are split at
// spaces. It returns what ip printed.
func (ns *NS) IP(args string) string {
	ns.tb.Helper()
	return run(ns.tb, "ip", append([]string{"-n", ns.Name}, strings.Fields(args)...)...)
}

// Exec runs a command inside the namespace and fails the test if it fails.
func (ns *NS) Exec(name string, args ...string) string {
	ns.tb.Helper()
	return run(ns.tb, "ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Command prepares a command that will run inside the namespace.
func (ns *NS) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Do runs f on a thread inside the namespace; see [netns.Do].
func (ns *NS) Do(f func() error) {
	ns.tb.Helper()
	if err := netns.Do(ns.Path, f); err != nil {
		ns.tb.Fatal(err)
	}
}

// Sysctl writes a value below /proc/sys as seen from the namespace, for example
// "net/ipv4/ip_forward".
func (ns *NS) Sysctl(name, value string) {
	ns.tb.Helper()
	ns.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

// Veth joins two namespaces with a veth pair and gives each end its addresses
// (space separated, with prefix length; IPv6 without duplicate address
// detection). Both ends have their carrier when it returns.
func Veth(a *NS, aName, aAddrs string, b *NS, bName, bAddrs string) {
	a.tb.Helper()
	// The kernel tells of the carrier of a pair whose ends have the same index up to a
	// second later, and until then drops what is sent.
	a.IP(fmt.Sprintf("link add %s index %d type veth peer name %s netns %s", aName, 1000+serial.Add(1), bName, b.Name))
	end(a, aName, aAddrs)
	end(b, bName, bAddrs)
	Wait(a.tb, time.Second, "the carrier of "+aName+" and "+bName, func() bool { return a.running(aName) && b.running(bName) })
}

// running reports whether an interface has its carrier, and the kernel has acted on it.
func (ns *NS) running(name string) (yes bool) {
	ns.tb.Helper()
	ns.Do(func() error {
		i, err := net.InterfaceByName(name)
		yes = err == nil && i.Flags&net.FlagRunning != 0
		return err
	})
	return yes
}

func end(ns *NS, name, addrs string) {
	ns.tb.Helper()
	for _, addr := range strings.Fields(addrs) {
		if strings.Contains(addr, ":") {
			ns.IP("addr add " + addr + " dev " + name + " nodad")
			continue
		}
		ns.IP("addr add " + addr + " dev " + name)
	}
	ns.IP("link set " + name + " up")
}

// Patience is the least that Wait waits before it fails a test: a machine that is
// shared may be slow, or not run at all for seconds.
const Patience = 30 * time.Second

// Wait polls cond until it is true. Namespace tests wait for conditions, never for
// times: limit is what a machine that is not busy needs at most, and to exceed it is
// only noted; at three times the limit, and no earlier than Patience, the test fails,
// with what it waited for.
func Wait(tb testing.TB, limit time.Duration, what string, cond func() bool) {
	tb.Helper()
	start, last := time.Now(), max(3*limit, Patience)
	for !cond() {
		if time.Since(start) > last {
			tb.Fatalf("not within %v: %s", last, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if d := time.Since(start); d > limit {
		tb.Logf("slow: %v until %s", d.Round(time.Millisecond), what)
	}
}

func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
