package fibtest

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/fib"
)

// bed is a kernel with two uplinks, eth0 (2) and eth1 (3), and the FIB that runs over it, in
// a bubble.
type bed struct {
	*testing.T
	*Kernel
	fib  *fib.FIB
	stop func() error
}

func inBubble(t *testing.T, f func(b *bed)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bed{T: t, Kernel: NewKernel()}
		b.AddLink("eth0", netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64"))
		b.AddLink("eth1", netip.MustParsePrefix("10.0.1.1/24"))
		b.start(fib.Config{})
		f(b)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}

func (b *bed) start(config fib.Config) {
	b.Helper()
	f, err := fib.New(config)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(WithKernel(b.Context(), config.NetNS, b.Kernel))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	b.fib, b.stop = f, func() error { cancel(); return <-done }
	synctest.Wait()
}

// settle lets a time pass in which the FIB does what there is to do.
func (b *bed) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func route(prefix string, gateways ...string) fib.Route {
	r := fib.Route{RouteKey: fib.RouteKey{Table: 254, Prefix: netip.MustParsePrefix(prefix)}}
	for i, g := range gateways {
		r.NextHops = append(r.NextHops, fib.NextHop{Gateway: netip.MustParseAddr(g), IfIndex: 2 + i})
	}
	return r
}

func (b *bed) set(r fib.Route) {
	b.Helper()
	if err := b.fib.SetRoute(r); err != nil {
		b.Error(err)
	}
	synctest.Wait()
}

// goes checks where packets to an address go.
func (b *bed) goes(to, want string) {
	b.Helper()
	if d := b.Lookup(Packet{Dst: netip.MustParseAddr(to)}); d.String() != want {
		b.Errorf("to %s: %v, want %s\n%v", to, d, want, b.Kernel)
	}
}

const both, first = "192.0.2.0/24 table 254 via 10.0.0.2 dev eth0 via 10.0.1.2 dev eth1", "192.0.2.0/24 table 254 via 10.0.0.2 dev eth0"

// TestLinks: what the cable and the administrator do is seen and repaired.
func TestLinks(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.set(route("192.0.2.0/24", "10.0.0.2", "10.0.1.2"))
		b.set(route("2001:db8::/32", "fd00::2"))
		b.goes("192.0.2.1", both)
		b.goes("2001:db8::1", "2001:db8::/32 table 254 via fd00::2 dev eth0")
		b.goes("10.0.1.9", "10.0.1.0/24 table 254 dev eth1")
		b.goes("10.0.1.1", "local 10.0.1.1/32 table 255")
		b.goes("8.8.8.8", "unreachable")
		check := func(err error) {
			b.Helper()
			if err != nil {
				b.Error(err)
			}
			b.settle(time.Second)
		}
		check(b.SetLink("eth1", true, false))
		b.goes("192.0.2.1", first)
		check(b.SetLink("eth1", true, true))
		b.goes("192.0.2.1", both)
		check(b.DeleteLink("eth1"))
		b.goes("192.0.2.1", first)
		b.AddLink("eth1", netip.MustParsePrefix("10.0.1.1/24"))
		b.settle(time.Second)
		b.goes("192.0.2.1", both)
		check(b.DeleteAddress("eth1", netip.MustParsePrefix("10.0.1.1/24")))
		check(b.AddAddress("eth1", netip.MustParsePrefix("10.0.1.1/24")))
		b.goes("192.0.2.1", both)
		if err := b.SetLink("eth9", true, true); err == nil {
			b.Error("an interface that is not there was set")
		}
	})
}

// TestOthers: what other programs do is repaired, whatever becomes of the notifications.
func TestOthers(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.set(route("192.0.2.0/24", "10.0.0.2", "10.0.1.2"))
		other := route("192.0.2.0/24", "10.0.0.9")
		for what, f := range map[string]func() error{
			"replaced": func() error { return b.SetRoute(other, 4) },
			"deleted":  func() error { return b.DeleteRoute(other.RouteKey) },
			"object deleted": func() error {
				for s := range b.fib.Routes() {
					return b.DeleteNextHop(s.NextHopID)
				}
				return errors.New("no route")
			},
			"late": func() error {
				b.DelayNotifications(true)
				err := b.DeleteRoute(other.RouteKey)
				synctest.Wait()
				b.goes("192.0.2.1", "unreachable")
				b.DelayNotifications(false)
				return err
			},
			"never sent": func() error {
				b.MuteNotifications(true)
				err := b.DeleteRoute(other.RouteKey)
				b.MuteNotifications(false)
				synctest.Wait()
				b.goes("192.0.2.1", "unreachable")
				b.settle(time.Minute) // a round of the audit
				return err
			},
			"lost": func() error {
				b.DelayNotifications(true)
				err := b.DeleteRoute(other.RouteKey)
				b.LoseNotifications()
				b.DelayNotifications(false)
				return err
			},
		} {
			if err := f(); err != nil {
				b.Errorf("%s: %v", what, err)
			}
			b.settle(time.Minute)
			b.goes("192.0.2.1", both)
		}
		if err := b.SetRoute(route("198.51.100.0/24", "10.0.0.9"), 4); err != nil {
			b.Error(err)
		}
		if rs := b.Routes(); len(rs) != 2 || rs[1].Protocol != 4 || rs[1].NextHops[0].Gateway != netip.MustParseAddr("10.0.0.9") {
			b.Errorf("routes %+v", rs)
		}
	})
}

// TestFaults: what the kernel refuses is reported, and tried again.
func TestFaults(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.FailRequests(syscall.ENOBUFS, 2)
		b.set(route("192.0.2.0/24", "10.0.0.2", "10.0.1.2"))
		if err := b.fib.Flush(b.Context()); !errors.Is(err, syscall.ENOBUFS) {
			b.Errorf("Flush: %v", err)
		}
		b.settle(time.Minute)
		b.goes("192.0.2.1", both)
		b.Refuse(netip.MustParseAddr("10.0.0.3"), true)
		b.set(route("198.51.100.0/24", "10.0.0.3"))
		if err := b.fib.Flush(b.Context()); !errors.Is(err, syscall.ENETUNREACH) {
			b.Errorf("Flush: %v", err)
		}
		b.Refuse(netip.MustParseAddr("10.0.0.3"), false)
		b.settle(time.Minute)
		b.goes("198.51.100.1", "198.51.100.0/24 table 254 via 10.0.0.3 dev eth0")
	})
}

// TestRestart: routes stay in the kernel, and the next FIB adopts and sweeps them. Two at a
// time are refused.
func TestRestart(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.set(route("192.0.2.0/24", "10.0.0.2", "10.0.1.2"))
		b.set(route("198.51.100.0/24", "10.0.0.2"))
		second, err := fib.New(fib.Config{})
		if err != nil {
			b.Fatal(err)
		}
		if err := second.Run(WithKernel(b.Context(), "", b.Kernel)); !errors.Is(err, fib.ErrInUse) {
			b.Errorf("a second FIB: %v", err)
		}
		if err := b.stop(); err != nil {
			b.Error(err)
		}
		if d := b.SetLink("eth1", true, false); d != nil { // nobody hears of it
			b.Error(d)
		}
		b.start(fib.Config{})
		if adopted, err := b.fib.Adopted(b.Context()); !adopted || err != nil {
			b.Error(adopted, err)
		}
		b.set(route("192.0.2.0/24", "10.0.0.2", "10.0.1.2"))
		b.goes("198.51.100.1", "198.51.100.0/24 table 254 via 10.0.0.2 dev eth0")
		b.fib.Sweep()
		b.settle(time.Second)
		b.goes("198.51.100.1", "unreachable")
		b.goes("192.0.2.1", first)
	})
}

// TestSysctls: values are written, repaired, and not those of this machine.
func TestSysctls(t *testing.T) {
	inBubble(t, func(b *bed) {
		const file = "net/ipv4/conf/eth2/forwarding"
		if err := b.fib.SetSysctl(fib.Sysctl{Path: file, Value: "1"}); err != nil {
			b.Error(err)
		}
		b.settle(time.Second)
		if _, ok := b.Sysctl(file); ok {
			b.Error("of an interface that is not there")
		}
		b.AddLink("eth2")
		b.settle(10 * time.Second)
		value := func(want string) {
			b.Helper()
			if v, ok := b.Sysctl(file); v != want || !ok {
				b.Errorf("%q %v, want %s", v, ok, want)
			}
		}
		value("1")
		if err := b.SetSysctl(file, "0"); err != nil {
			b.Error(err)
		}
		value("0")
		b.settle(time.Second)
		value("1")
		_ = b.DeleteLink("eth2")
		if err := b.SetSysctl(file, "0"); !errors.Is(err, syscall.ENOENT) {
			b.Error(err)
		}
	})
}

// TestNamespaces: each FIB works on the kernel of its namespace, and none on the machine.
func TestNamespaces(t *testing.T) {
	inBubble(t, func(b *bed) {
		red, blue := NewKernel(), NewKernel()
		ctx, cancel := context.WithCancel(WithKernel(WithKernel(b.Context(), "/run/netns/red", red), "/run/netns/blue", blue))
		done := make(chan error, 2)
		for netns, prefix := range map[string]string{"/run/netns/red": "192.0.2.0/24", "/run/netns/blue": "198.51.100.0/24"} {
			f, err := fib.New(fib.Config{NetNS: netns})
			if err != nil {
				b.Fatal(err)
			}
			_ = f.SetRoute(fib.Route{RouteKey: route(prefix).RouteKey, Type: fib.RouteBlackhole})
			_ = f.SetRule(fib.Rule{Family: fib.FamilyIPv6, Priority: 9, Table: 90})
			go func() { done <- f.Run(ctx) }()
		}
		f, err := fib.New(fib.Config{})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Run(ctx); err == nil || !strings.Contains(err.Error(), `namespace ""`) {
			b.Errorf("without a kernel: %v", err)
		}
		b.settle(time.Second)
		want := "rule 0: from all lookup 255\nrule 32766: from all lookup 254\nrule 32767: from all lookup 253\nrule 0: from all lookup 255\nrule 9: from all lookup 90\nrule 32766: from all lookup 254\n" +
			"route blackhole 192.0.2.0/24 table 254 proto 201\n"
		if red.String() != want {
			b.Errorf("red:\n%v", red)
		}
		if s := blue.String(); !strings.Contains(s, "198.51.100.0/24") || strings.Contains(s, "192.0.2") {
			b.Errorf("blue:\n%v", s)
		}
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				b.Error(err)
			}
		}
	})
}

// TestDryRun: nothing is written, and no protocol number is owned.
func TestDryRun(t *testing.T) {
	inBubble(t, func(b *bed) {
		f, err := fib.New(fib.Config{DryRun: true})
		if err != nil {
			b.Fatal(err)
		}
		_ = f.SetRoute(route("192.0.2.0/24", "10.0.0.2"))
		ctx, cancel := context.WithCancel(WithKernel(b.Context(), "", b.Kernel))
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		b.settle(time.Second)
		if d := f.Diff(); len(d) != 1 || len(b.Routes()) > 0 {
			b.Errorf("differences %v, routes %v", d, b.Routes())
		}
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}
