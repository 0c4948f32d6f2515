package world

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/bfdcore"
	"github.com/hyperfib/hyperfib/internal/fibcore"
	model "github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
	"golang.org/x/sys/unix"
)

// Open implements the kernel of internal/fibcore/kernel: what the daemon's FIB opens.
func (h *hypervisor) Open(string, ...uint8) (model.Handles, error) {
	commands, monitor := h.socket(), h.socket()
	_ = monitor.Ignore(commands.Port())
	_ = monitor.Join(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEIGH, unix.RTNLGRP_NEXTHOP)
	h.monitor = monitor
	life, waking := h.daemon.lives, false
	monitor.OnReady = func() {
		if h.daemon.lives == life && !h.daemon.drained && !waking {
			waking = true // one wake-up for all that comes until then
			h.w.after(0, func() {
				if waking = false; h.daemon.lives == life {
					h.daemon.do(nil, func() {})
				}
			})
		}
	}
	audits := h.socket()
	audits.Slow = true
	return model.Handles{Commands: commands, Monitor: monitor, Dumps: h.socket(), Audits: audits, Sysctls: sysctls{}}, nil
}

// socket opens a netlink socket of the daemon's.
func (h *hypervisor) socket() *fakekernel.Socket {
	h.w.sockets++
	return h.kernel.Open(h.w.sockets, h.faults)
}

// sysctls takes every value.
type sysctls struct{ model.Sysctls }

// Apply implements model.Sysctls.
func (sysctls) Apply(todo []fibcore.Sysctl, _ bool) []model.SysctlResult {
	return make([]model.SysctlResult, len(todo))
}

// Forget implements model.Sysctls.
func (sysctls) Forget(string) {}

// Close implements model.Sysctls.
func (sysctls) Close() {}

// kernel is the kernel of a hypervisor as its daemon sees it.
type kernel struct {
	*fib.FIB
	h *hypervisor
}

var _ netns.Kernel = kernel{}

// Watch implements [netns.Kernel].
func (k kernel) Watch(o fib.WatchOptions) netns.Events { return k.FIB.Watch(o) }

// WatchRoutes implements [netns.Kernel].
func (k kernel) WatchRoutes(f fib.RouteFilter) netns.RouteChanges { return k.FIB.WatchRoutes(f) }

// Learn implements [netns.Kernel].
func (k kernel) Learn(f fib.Filter) netns.LearnChanges { return k.FIB.Learn(f) }

// Addresses implements [netns.Kernel].
func (k kernel) Addresses() (list []host.Address, err error) {
	for _, a := range k.h.kernel.Addresses() {
		list = append(list, host.Address{Link: int(a.IfIndex), Prefix: a.Prefix, Global: true, Permanent: true})
	}
	return list, nil
}

// Neighbours implements [netns.Kernel].
func (k kernel) Neighbours() ([]netns.Neighbour, error) { return nil, nil }

// Flush implements [netns.Kernel]: nothing can be waited for here.
func (k kernel) Flush(context.Context) error { return nil }

// decide returns why a packet goes nowhere, "" if it goes somewhere.
func decide(d *fakekernel.Decision) (verdict string) {
	if d.Type == wire.RouteLocal || d.Type == wire.RouteUnicast {
		return ""
	}
	return fmt.Sprintf("%v in table %d", fib.RouteType(d.Type), d.Table)
}

// protocol is the rtm_protocol of hvrouter's routes.
const protocol = 201

// failoverKernel is the kernel as the BFD process uses it.
type failoverKernel struct{ h *hypervisor }

var _ bfdcore.Kernel = failoverKernel{}

func (h *hypervisor) failoverKernel(int) bfdcore.Kernel { return failoverKernel{h} }

func coreNextHop(n *fakekernel.NextHop) bfdcore.NextHop {
	out := bfdcore.NextHop{ID: n.ID, Link: int(n.IfIndex), Gateway: n.Gateway, Proto: n.Protocol}
	for _, m := range n.Members {
		out.Group = append(out.Group, bfdcore.Member{ID: m.ID, Weight: m.Weight - 1})
	}
	return out
}

// NextHop implements [bfdcore.Kernel].
func (k failoverKernel) NextHop(id uint32) (bfdcore.NextHop, error) {
	if n := k.h.kernel.NextHop(id); n != nil {
		return coreNextHop(n), nil
	}
	return bfdcore.NextHop{}, bfdcore.ErrNoNextHop
}

// Groups implements [bfdcore.Kernel].
func (k failoverKernel) Groups() (list []bfdcore.NextHop, err error) {
	for _, n := range k.h.kernel.NextHops() {
		if n.Members != nil {
			list = append(list, coreNextHop(n))
		}
	}
	return list, nil
}

// bfdPort is the netlink port of the BFD process.
const bfdPort = 0xb0000000

// Delete implements [bfdcore.Kernel].
func (k failoverKernel) Delete(id uint32) error {
	return k.do(wire.AppendDelNextHop(nil, 1, id))
}

// Replace implements [bfdcore.Kernel].
func (k failoverKernel) Replace(g bfdcore.NextHop) error {
	m := wire.NextHopMessage{ID: g.ID, Protocol: g.Proto}
	for _, one := range g.Group {
		m.Members = append(m.Members, wire.Member{ID: one.ID, Weight: one.Weight + 1})
	}
	return k.do(wire.AppendNextHop(nil, unix.NLM_F_REPLACE, 1, &m))
}

func (k failoverKernel) do(b []byte) error {
	var errno unix.Errno
	k.h.failed(func() { errno = k.h.kernel.Do(bfdPort, b) })
	if errno != 0 {
		return errno
	}
	return nil // the daemon hears of it by a notification
}

// lookupAll returns the hops of a packet, sorted, for comparisons.
func (h *hypervisor) lookupAll(dst netip.Addr, iif int) []string {
	d := h.lookup(dst, iif)
	if verdict := decide(&d); verdict != "" {
		return []string{verdict}
	}
	if d.Type == wire.RouteLocal {
		return []string{"local"}
	}
	var out []string
	for _, n := range d.NextHops {
		out = append(out, fmt.Sprintf("%v on %d, local false", n.Gateway, n.IfIndex))
	}
	slices.Sort(out)
	return out
}

// troubled reports whether the kernel refuses requests, interrupts dumps, or keeps back or loses
// notifications.
func (h *hypervisor) troubled() bool {
	f := h.faults
	return f.ErrnoLeft > 0 || f.Interrupted != nil || f.Late || f.LoseNotification > 0
}
