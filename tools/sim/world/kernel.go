package world

import (
	"context"
	"errors"
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
	life := h.daemon.lives
	monitor.OnReady = func() {
		if h.daemon.lives == life && !h.daemon.drained {
			h.w.after(0, func() {
				if h.daemon.lives == life {
					h.daemon.do(func() {})
				}
			})
		}
	}
	return model.Handles{Commands: commands, Monitor: monitor, Dumps: h.socket(), Sysctls: sysctls{}}, nil
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

// decide returns what the kernel does with a packet: the next hops that it chooses from, or why it
// goes nowhere.
func decide(d fakekernel.Decision) (list []nexthop, verdict string) {
	switch d.Type {
	case wire.RouteLocal:
		return []nexthop{{local: true}}, ""
	case wire.RouteUnicast:
		for _, n := range d.NextHops {
			list = append(list, nexthop{gateway: n.Gateway, ifindex: int(n.IfIndex)})
		}
		return list, ""
	}
	return nil, fmt.Sprintf("%v in table %d", fib.RouteType(d.Type), d.Table)
}

// foreignPort is the netlink port of other programs.
const foreignPort = 0xf0000000

// foreign is another program that changes what is ours: "foreign h1 delete-route 17", where the
// number chooses one of those that there are.
func (w *World) foreign(words []string) error {
	h, err := w.hostNamed(words, 0)
	if err != nil || len(words) < 3 {
		return errors.Join(err, errWords)
	}
	if !h.alive {
		return nil
	}
	h.kernelTrouble("another program changes the kernel: 35 s", foreignTime)
	if words[1] == "replace-route" && (h.daemon.state != running || h.daemon.slow > 0 || h.troubled()) {
		// It cannot be repaired at once, so that it is the other program's from then on: it is
		// learned, and stays until that deletes it.
		w.leave(&h.away[foreignAway], "another program has a route of its own under a key of ours: until it is gone")
	}
	k, n := h.kernel, number(words[2])
	var ours []*fakekernel.Route
	for _, r := range k.Routes() {
		if r.Protocol == protocol {
			ours = append(ours, r)
		}
	}
	var requests [][]byte
	switch words[1] {
	case "delete-route", "replace-route":
		if len(ours) == 0 {
			return nil
		}
		m := ours[n%len(ours)].RouteMessage
		if words[1] == "delete-route" {
			requests = append(requests, wire.AppendRoute(nil, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, 1, &m, false))
			break
		}
		m.Protocol, m.NextHopID, m.Type = unix.RTPROT_STATIC, 0, wire.RouteUnicast
		m.NextHops = []wire.NextHop{{Gateway: address(0, 0), IfIndex: firstUplink, Weight: 1}}
		requests = append(requests, wire.AppendRoute(nil, unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE, 1, &m, true))
	case "delete-nexthop":
		if list := k.NextHops(); len(list) > 0 {
			requests = append(requests, wire.AppendDelNextHop(nil, 1, list[n%len(list)].ID))
		}
	case "delete-rule":
		if list := k.Rules(); len(list) > 0 {
			r := list[n%len(list)]
			requests = append(requests, wire.AppendRule(nil, unix.RTM_DELRULE, unix.NLM_F_REQUEST, 1, r.Rule, r.Protocol))
		}
	case "flush":
		for _, r := range ours {
			requests = append(requests, wire.AppendRoute(nil, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, 1, &r.RouteMessage, false))
		}
	default:
		return errWords
	}
	for _, b := range requests {
		if errno := k.Do(foreignPort, b); errno != 0 {
			w.note("%s: the other program is refused: %v", h.name, errno)
		}
	}
	h.kick()
	return nil
}

// dropForeign takes away what other programs have put into the kernel.
func (h *hypervisor) dropForeign() {
	for _, r := range h.kernel.Routes() {
		if r.Protocol == unix.RTPROT_STATIC {
			h.kernel.Do(foreignPort, wire.AppendRoute(nil, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, 1, &r.RouteMessage, false))
		}
	}
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
	if errno := k.h.kernel.Do(bfdPort, b); errno != 0 {
		return errno
	}
	k.h.kick()
	return nil
}

// lookupAll returns the hops of a packet, sorted, for comparisons.
func (h *hypervisor) lookupAll(dst netip.Addr, iif int) []string {
	list, verdict := h.lookup(dst, iif)
	if verdict != "" {
		return []string{verdict}
	}
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprintf("%v on %d, local %v", n.gateway, n.ifindex, n.local))
	}
	slices.Sort(out)
	return out
}

// troubled reports whether the kernel refuses requests, or keeps back or loses notifications.
func (h *hypervisor) troubled() bool {
	f := h.faults
	return f.ErrnoLeft > 0 || f.Late || f.LoseNotification > 0
}
