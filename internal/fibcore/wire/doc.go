// Package wire is the codec of package fib: the rtnetlink messages of routes, next-hop
// objects and groups, rules, addresses, neighbours and links, and the types that they
// carry. Parse methods and Parse functions take the body of a message, without its netlink
// header; Append functions append a whole message.
//
// Layouts: include/uapi/linux/rtnetlink.h, nexthop.h, fib_rules.h, if_addr.h, neighbour.h
// and if_link.h of the kernel. What a message says that this package can not express is
// marked as Unknown, so that nobody takes it for equal to something else.
package wire
