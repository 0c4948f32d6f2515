package fibtest

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// Kernel is a network namespace in memory. NewKernel makes one. All methods are safe for
// concurrent use. What they change is notified to the FIBs as Linux does.
type Kernel struct {
	mu      sync.Mutex
	kernel  *fakekernel.Kernel
	faults  fakekernel.Faults    // of the sockets of all FIBs
	claimed map[uint8]bool       // protocol numbers that a FIB owns
	ports   uint32               // that were given out
	watches map[*sysctls]bool    // of the FIBs that run
	monitor []*fakekernel.Socket // of all FIBs, for LoseNotifications
}

// NewKernel returns a kernel with the interface lo, which has index 1, and the rules that
// Linux has from the start.
func NewKernel() *Kernel {
	k := &Kernel{kernel: fakekernel.New(), claimed: map[uint8]bool{}, ports: firstPort, watches: map[*sysctls]bool{}}
	k.kernel.AddDefaultRules(wire.FamilyIPv4)
	k.kernel.AddDefaultRules(wire.FamilyIPv6)
	return k
}

// firstPort is below the port ids of sockets, and otherPort is that of another program: an
// event about something that another program did has it.
const (
	firstPort = 1000
	otherPort = 999
)

// WithKernel returns a context for [fib.FIB.Run]: the FIBs that run with it, or with a
// context that is derived from it, work on k if netns is their Config.NetNS. The context
// may have a kernel for each of several namespaces. A FIB whose namespace has none does not
// run: its Run returns an error.
func WithKernel(ctx context.Context, netns string, k *Kernel) context.Context {
	return kernel.With(ctx, netns, opener{k})
}

// do calls f under the lock.
func (k *Kernel) do(f func(*fakekernel.Kernel)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(k.kernel)
}

// request carries out a request of another program.
func (k *Kernel) request(what string, b []byte) (err error) {
	k.do(func(fake *fakekernel.Kernel) {
		if errno := fake.Do(otherPort, b); errno != 0 {
			err = fmt.Errorf("fibtest: %s: %w", what, errno)
		}
	})
	return err
}

// AddLink makes an interface that is up and has its carrier, with addresses, and returns
// its index. It panics if there is one of that name.
func (k *Kernel) AddLink(name string, addresses ...netip.Prefix) (ifindex int) {
	k.do(func(fake *fakekernel.Kernel) {
		links := fake.Links()
		ifindex = 2
		if len(links) > 0 {
			ifindex = links[len(links)-1].IfIndex + 1
		}
		if !fake.CreateLink(ifindex, name) {
			panic("fibtest: there is an interface " + name)
		}
	})
	for _, a := range addresses {
		if err := k.AddAddress(name, a); err != nil {
			panic(err)
		}
	}
	return ifindex
}

// SetLink changes an interface: up is what `ip link set` does, and the carrier is that of
// the cable. As on Linux, its IPv6 addresses go when it goes down, the next-hop objects on
// it when it loses the one or the other, and the routes that have no other next hop.
func (k *Kernel) SetLink(name string, up, carrier bool) error {
	return k.link(name, func(fake *fakekernel.Kernel) bool { return fake.SetLink(name, up, carrier) })
}

// DeleteLink removes an interface with everything on it.
func (k *Kernel) DeleteLink(name string) error {
	return k.link(name, func(fake *fakekernel.Kernel) bool { return fake.DeleteLink(name) })
}

func (k *Kernel) link(name string, f func(*fakekernel.Kernel) bool) (err error) {
	k.do(func(fake *fakekernel.Kernel) {
		if !f(fake) {
			err = fmt.Errorf("fibtest: no interface %s", name)
		}
	})
	return err
}

// AddAddress adds an address to an interface. Its prefix makes gateways reachable.
func (k *Kernel) AddAddress(name string, p netip.Prefix) error {
	return k.address(rtnl.RTM_NEWADDR, name, p)
}

// DeleteAddress removes an address.
func (k *Kernel) DeleteAddress(name string, p netip.Prefix) error {
	return k.address(rtnl.RTM_DELADDR, name, p)
}

func (k *Kernel) address(typ uint16, name string, p netip.Prefix) error {
	a := wire.Address{Prefix: p, Scope: wire.ScopeUniverse, NoDAD: p.Addr().Is6()}
	k.do(func(fake *fakekernel.Kernel) { a.IfIndex = fake.Index(name) })
	return k.request(fmt.Sprintf("address %v on %s", p, name), wire.AppendAddress(nil, typ, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, 1, a, 0))
}

// SetRoute is what another program does with `ip route replace`, with its protocol number:
// 4 is that of the administrator. The route has its next hops in itself, not by an object.
func (k *Kernel) SetRoute(r fib.Route, protocol uint8) error {
	m := message(r.RouteKey)
	m.Type, m.Protocol, m.PrefSrc, m.MTU, m.AdvMSS = wire.RouteType(r.Type), protocol, r.PrefSrc, r.MTU, r.AdvMSS
	for _, h := range r.NextHops {
		m.NextHops = append(m.NextHops, wire.NextHop{Gateway: h.Gateway, IfIndex: int32(h.IfIndex), Weight: h.Weight, OnLink: h.OnLink})
	}
	fakekernel.Complete(&m, wire.Scope(r.Scope))
	flags := uint16(rtnl.NLM_F_REQUEST | rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE)
	return k.request("route "+r.RouteKey.String(), wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, flags, 1, &m, true))
}

// DeleteRoute is what another program does with `ip route del`: it removes the route under
// a key, whoever made it.
func (k *Kernel) DeleteRoute(key fib.RouteKey) error {
	m := message(key)
	return k.request("route "+key.String(), wire.AppendRoute(nil, rtnl.RTM_DELROUTE, rtnl.NLM_F_REQUEST, 1, &m, false))
}

// message begins a message about a route.
func message(key fib.RouteKey) wire.RouteMessage {
	m := wire.RouteMessage{Table: key.Table, Bits: uint8(key.Prefix.Bits()), TOS: key.TOS, Metric: key.Metric}
	m.Family = wire.FamilyOf(key.Prefix.Addr())
	if m.Hi, m.Lo = wire.PackAddr(key.Prefix.Addr()); m.Table == 0 {
		m.Table = rtnl.RT_TABLE_MAIN
	}
	return m
}

// DeleteNextHop is what another program does with `ip nexthop del`: the object leaves its
// groups, and routes by it alone go. Ids are in [fib.RouteStatus].
func (k *Kernel) DeleteNextHop(id uint32) error {
	return k.request(fmt.Sprintf("next hop %#x", id), wire.AppendDelNextHop(nil, 1, id))
}

// Sysctl returns the value of a sysctl by its path below /proc/sys, for example
// "net/ipv4/conf/eth0/forwarding": "0" until it is set. ok is false if it is one of an
// interface that is not there.
func (k *Kernel) Sysctl(path string) (value string, ok bool) {
	k.do(func(fake *fakekernel.Kernel) { value, ok = fake.Sysctl(path) })
	return value, ok
}

// SetSysctl is what another program does with `sysctl -w`.
func (k *Kernel) SetSysctl(path, value string) (err error) {
	k.do(func(fake *fakekernel.Kernel) {
		if errno := fake.SetSysctl(path, value); errno != 0 {
			err = fmt.Errorf("fibtest: sysctl %s: %w", path, errno)
			return
		}
		for s := range k.watches {
			s.written(path)
		}
	})
	return err
}

// Refuse makes the kernel refuse a gateway as unreachable, or accept it again.
func (k *Kernel) Refuse(gateway netip.Addr, refuse bool) {
	k.do(func(fake *fakekernel.Kernel) {
		if fake.Refuse[gateway] = refuse; !refuse {
			delete(fake.Refuse, gateway)
		}
	})
}

// FailRequests makes the next n requests of FIBs fail with errno, whatever they ask for.
func (k *Kernel) FailRequests(errno syscall.Errno, n int) {
	k.do(func(*fakekernel.Kernel) {
		k.faults.Errno, k.faults.ErrnoLeft = map[uint16]syscall.Errno{0: errno}, n
	})
}

// DelayNotifications makes notifications wait in the kernel, and with false lets them go.
func (k *Kernel) DelayNotifications(on bool) {
	k.do(func(fake *fakekernel.Kernel) {
		k.faults.Late = on
		fake.Wake()
	})
}

// MuteNotifications makes the kernel send no notifications, and with false send them again: what is
// changed meanwhile, a FIB finds by its audit (see [fib.Config].AuditRound).
func (k *Kernel) MuteNotifications(on bool) {
	k.do(func(*fakekernel.Kernel) { k.faults.Mute = on })
}

// LoseNotifications loses the notifications that are waiting, as when a socket's receive
// buffer overflows: the FIBs read the kernel again.
func (k *Kernel) LoseNotifications() {
	k.do(func(*fakekernel.Kernel) {
		for _, s := range k.monitor {
			s.Overflow()
		}
	})
}

// Routes returns the routes of all tables and their protocol numbers, those under one key
// in the kernel's order. Next-hop objects and groups are resolved into next hops.
func (k *Kernel) Routes() (list []fib.Learned) {
	k.do(func(fake *fakekernel.Kernel) {
		for _, r := range fake.Routes() {
			list = append(list, learned(fake.Resolve(r)))
		}
	})
	return list
}

func learned(m wire.RouteMessage) fib.Learned {
	r := fib.Route{RouteKey: fib.RouteKey(m.RouteKey()), Type: fib.RouteType(m.Type), NextHops: nextHops(m.NextHops), PrefSrc: m.PrefSrc, MTU: m.MTU, AdvMSS: m.AdvMSS}
	if m.Family == wire.FamilyIPv4 {
		r.Scope = fib.Scope(wire.ScopeFromKernel(m.Scope))
	}
	return fib.Learned{Route: r, Protocol: m.Protocol}
}

func nextHops(hops []wire.NextHop) (list []fib.NextHop) {
	for _, h := range hops {
		list = append(list, fib.NextHop{Gateway: h.Gateway, IfIndex: int(h.IfIndex), Weight: h.Weight, OnLink: h.OnLink})
	}
	return list
}

// String returns what there is, one object a line, nearly as iproute2 prints it: rules,
// then routes with their next hops in the place of ids of objects, then permanent
// neighbours.
func (k *Kernel) String() string {
	var b strings.Builder
	k.do(func(fake *fakekernel.Kernel) {
		for _, r := range fake.Rules() {
			fmt.Fprintf(&b, "rule %v\n", r.Rule)
		}
		for _, line := range fake.State() {
			fmt.Fprintf(&b, "route %s\n", line)
		}
		for _, n := range fake.Neighbors() {
			proxy := ""
			if n.Proxy {
				proxy = " proxy"
			}
			fmt.Fprintf(&b, "neighbour %v dev %s%s\n", n.Addr, fake.NameOf(int32(n.IfIndex)), proxy)
		}
	})
	return b.String()
}
