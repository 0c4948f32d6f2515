// Package fakekernel is the routing part of one Linux network namespace in memory:
// interfaces, addresses, neighbours, policy rules, next-hop objects and routes, behind the
// octets of rtnetlink. It is slow, obvious, and written from the kernel's side: it takes
// what the kernel takes, refuses what the kernel refuses, notifies as the kernel does, and
// is silent where the kernel is silent. TestFakeKernel of package fib does the same things
// to it and to the kernel itself, and compares; TestLookupAsLinux compares where packets go.
//
// # Use
//
// A [Kernel] has no goroutine, clock or lock: one caller at a time. A program opens a
// [Socket] for each netlink socket that it would have. Send carries requests out and
// queues the answers, or the datagrams of a dump; Receive takes one datagram from the
// queue. Notifications arrive in the queues of the sockets that have joined their group.
//
//	k := fakekernel.New()
//	k.CreateLink(2, "eth0")
//	commands, monitor := k.Open(1000, nil), k.Open(1001, nil)
//	monitor.Join(rtnl.RTNLGRP_IPV4_ROUTE)
//	err := commands.Send(request)
//	n, err := commands.Receive(buffer) // EAGAIN: the request was carried out
//	n, err = monitor.Receive(buffer)   // the notification
//
// What the administrator and the cable do has methods of its own (SetLink, DeleteLink and
// so on). What another program does is a request of another port: [Kernel.Do].
// [Kernel.Lookup] is the forwarding decision.
//
// # Faults
//
// A socket has [Faults]: requests that fail, answers that are lost, notifications that are
// late, lost or come twice, dumps that break off or are interrupted. Programs that share
// one Faults share what goes wrong. [Kernel.Refuse] is a property of the kernel.
//
// # What is missing
//
// The connected and local routes of addresses are not in the tables: gateways are checked
// against the addresses, and Lookup knows them, but they are neither dumped nor notified.
// There are no multicast and no cached routes, no state of neighbours other than that they
// are permanent, no idle timers, no VRF devices and bridges (an interface has a table, see
// [Kernel.SetTable]), and no requests for one object but for the route of a packet and for a
// neighbour. IPv6 addresses do not look for duplicates.
package fakekernel
