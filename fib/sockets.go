package fib

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// linux is the kernel itself.
type linux struct{}

// Receive buffers, in octets of kernel memory. Commands: 1,300 error replies.
// Monitor: a full table's worth of notifications while the owner is busy.
const (
	commandBuffer = 1 << 20
	monitorBuffer = 32 << 20
	dumpBuffer    = 1 << 20
)

func openSocket(netns string, receive int) (*rtnl.Socket, error) {
	s, err := rtnl.Open(rtnl.Config{NetNS: netns, ReceiveBuffer: receive})
	if err != nil {
		return nil, fmt.Errorf("fib: %w", err)
	}
	return s, nil
}

// Open implements kernel.Kernel.
func (linux) Open(path string, protocols ...uint8) (h kernel.Handles, err error) {
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	commands, err := openSocket(path, commandBuffer)
	if err != nil {
		return h, err
	}
	h.Commands = commands
	if len(protocols) > 0 {
		if err := privileged(commands); err != nil {
			return h, err
		}
		owned, err := claim(path, protocols...)
		if err != nil {
			return h, err
		}
		h.Release = owned.release
	}
	dumps, err := openSocket(path, dumpBuffer)
	if err != nil {
		return h, err
	}
	h.Dumps = dumps
	audits, err := openSocket(path, dumpBuffer)
	if err != nil {
		return h, err
	}
	h.Audits = audits
	monitor, err := openSocket(path, monitorBuffer)
	if err != nil {
		return h, err
	}
	h.Monitor = monitor
	watch, err := newSysctlWatch()
	if err != nil {
		return h, err
	}
	h.Sysctls = &sysctlFiles{netns: path, watch: watch, buffer: make([]byte, 1<<16)}
	if err := monitor.Ignore(commands.Port()); err != nil {
		return h, fmt.Errorf("fib: %w", err)
	}
	err = monitor.Join(rtnl.RTNLGRP_LINK, rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR,
		rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE, rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE, rtnl.RTNLGRP_NEIGH,
		rtnl.RTNLGRP_IPV4_NETCONF, rtnl.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return h, fmt.Errorf("fib: %w", err)
	}
	h.NoNextHops = monitor.Join(rtnl.RTNLGRP_NEXTHOP) != nil // before Linux 5.3
	return h, nil
}

// privileged returns an error with EPERM if the kernel does not let this process change
// routes: a request of no family, which no kernel carries out, is refused for that reason
// before all others (rtnetlink_rcv_msg).
func privileged(commands *rtnl.Socket) error {
	w := rtnl.NewWriter(commands)
	w.Add(rtnl.End(append(rtnl.Begin(w.Buffer(), rtnl.RTM_NEWROUTE, rtnl.NLM_F_REQUEST, w.Seq()), make([]byte, rtnl.SizeRoute)...), 0))
	if _, err := w.Flush(); err != nil {
		return fmt.Errorf("fib: %w", err)
	}
	if errors.Is(w.Err(0), unix.EPERM) {
		return fmt.Errorf("fib: may not change routes, CAP_NET_ADMIN is missing: %w", unix.EPERM)
	}
	return nil
}
