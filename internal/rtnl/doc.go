// Package rtnl is the module's one layer of rtnetlink: what packages fib, vxlan and bfd
// send to the kernel and read from it goes through here. It depends on the standard
// library and golang.org/x/sys alone.
//
//   - abi.go: the numbers of the kernel's ABI, under the kernel's own names. They do
//     not depend on GOOS, so that codecs and state machines compile and are tested
//     anywhere.
//   - encode.go: appends messages to a buffer.
//   - decode.go: walks over the messages of a datagram and the attributes of a
//     message without an allocation.
//   - error.go: the kernel's answer to a message, with its extended acknowledgement.
//   - writer.go: sends many requests with one system call and collects those that
//     failed.
//   - exchange.go: one request and its answer; dumps.
//   - socket_linux.go: the socket. On another system than Linux, [Open] returns
//     [errors.ErrUnsupported].
//
// # Messages
//
// A datagram has any number of messages, each padded to 4 octets:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                  nlmsg_len, with this header                  |
//	+-------------------------------+-------------------------------+
//	|          nlmsg_type           |          nlmsg_flags          |
//	+-------------------------------+-------------------------------+
//	|                           nlmsg_seq                           |
//	+---------------------------------------------------------------+
//	|           nlmsg_pid: the port id of who caused it             |
//	+---------------------------------------------------------------+
//	|       a fixed header by type (rtmsg, ndmsg, nhmsg, ...)       |
//	|            attributes, each padded to 4 octets:               |
//	+-------------------------------+-------------------------------+
//	|   nla_len, with this header   |  nla_type, flags in 2 bits    |
//	+-------------------------------+-------------------------------+
//	|                            value                              |
//
// Integers are in host byte order, addresses and what the kernel calls __be16 or
// __be32 in network order.
//
// Documents: Documentation/userspace-api/netlink/intro.rst of the kernel;
// include/uapi/linux/netlink.h, rtnetlink.h, neighbour.h, nexthop.h, fib_rules.h,
// if_link.h, if_addr.h, netconf.h and net_namespace.h; RFC 3549, Section 3.
package rtnl
