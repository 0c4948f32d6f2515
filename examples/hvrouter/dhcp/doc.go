// Package dhcp gives each guest the one IPv4 address that is allocated to it:
// the server of RFC 2131, Section 4.3, without a pool. What a guest gets is a pure function of its request and
// its [Lease]; nothing is stored, so a restart forgets nothing.
//
// One [Server] serves all guest interfaces of a network namespace. Requests come
// in on a UDP socket, which tells the interface; answers go out as frames to the
// guest's MAC, because a guest without an address does not answer ARP. The coding
// of options is insomniacslk/dhcp's.
//
// A server with a [Relay] answers nothing itself: it forwards with the
// relay agent information of RFC 3046, Section 2.1, from an address of the hypervisor that is
// reachable from the server (the gateway's is not: every hypervisor has it).
package dhcp
