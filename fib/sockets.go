package fib

import (
	"fmt"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// transport is a netlink socket, or in tests a model of the kernel.
type transport interface {
	Send(b []byte) error
	Receive(b []byte) (int, error)
	Dump(request, buffer []byte, f func(b []byte) (done bool, err error)) error
	Wait() error
	Close() error
}

// sockets are what Run holds open.
type sockets struct {
	commands, monitor, dumps transport
	watch                    *sysctlWatch // nil in tests without a namespace
	claims                   claims
}

// close makes everything return that waits for a socket.
func (s *sockets) close() {
	for _, t := range []transport{s.commands, s.monitor, s.dumps} {
		if t != nil {
			_ = t.Close()
		}
	}
	if s.watch != nil {
		s.watch.file.Close()
	}
	s.claims.release()
}

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

// openSockets claims the protocol numbers and opens the sockets.
func openSockets(f *FIB) (s sockets, err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	path := f.config.NetNS
	if !f.config.DryRun {
		if s.claims, err = claim(path, f.config.Protocol, f.config.PersistentProtocol); err != nil {
			return s, err
		}
	}
	commands, err := openSocket(path, commandBuffer)
	if err != nil {
		return s, err
	}
	s.commands = commands
	dumps, err := openSocket(path, dumpBuffer)
	if err != nil {
		return s, err
	}
	s.dumps = dumps
	monitor, err := openSocket(path, monitorBuffer)
	if err != nil {
		return s, err
	}
	s.monitor = monitor
	if s.watch, err = newSysctlWatch(); err != nil {
		return s, err
	}
	if err := monitor.Ignore(commands.Port()); err != nil {
		return s, fmt.Errorf("fib: %w", err)
	}
	err = monitor.Join(rtnl.RTNLGRP_LINK, rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR,
		rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE, rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE, rtnl.RTNLGRP_NEIGH,
		rtnl.RTNLGRP_IPV4_NETCONF, rtnl.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return s, fmt.Errorf("fib: %w", err)
	}
	if monitor.Join(rtnl.RTNLGRP_NEXTHOP) != nil {
		f.lock()
		f.core.NoNextHops() // before Linux 5.3
		f.unlock()
	}
	return s, nil
}
