// Package lookup says what the kernel of a network namespace does with a packet, and which of
// its rules, routes, next-hop objects and neighbours make it do so.
//
// The kernel is asked (RTM_GETROUTE with RTM_F_FIB_MATCH), and its tables are read and looked
// through in the same order ([Walk]): only that says which rule led there, whose it is, and
// what did not count. Both must agree; [Report] says where they do not. Nothing here knows what the daemon has
// written: what reads is written from the kernel's documentation, without the code of package fib.
//
//   - packet.go, rule.go, route.go: values, and what they are called in iproute2.
//   - walk.go: the decision, pure.
//   - message.go: netlink messages to values and back.
//   - kernel.go: [Kernel], the tables of a namespace through a [Conn].
//   - fdb.go: [ExplainMAC], where frames for a MAC of an overlay go, by the forwarding entries of its bridge and
//     its VXLAN device.
//   - conn_linux.go: a Conn of the running kernel.
//   - report.go: [Explain] joins all of it in a [Report]; text.go prints it.
package lookup
