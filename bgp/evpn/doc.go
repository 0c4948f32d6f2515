// Package evpn is a codec of what EVPN says: routes, route targets and the other communities that
// go with them, and the PMSI Tunnel attribute. No state, no I/O.
//
// An UPDATE of the family is read by package wire, which iterates over its NLRI
// ([wire.List.EVPN]); [Parse] makes a [Route] of one, and [Route.AppendBinary] is the way back.
// Neither allocates. Routes of types 1 to 5 are decoded, and types 2, 3 and 5 are what a hypervisor
// originates; the octets of every other type are in Route.Octets, and are written as they were.
//
//	for n, err := range update.MPReach.EVPN() {
//		if r, perr := evpn.Parse(n.Octets); err == nil && perr == nil { ... }
//	}
//
// # Labels
//
// With VXLAN the three octets of an MPLS label are the VNI as a number of 24 bits (RFC 8365,
// Section 5.1.3); with MPLS the label is in the high 20 bits (RFC 7432, Section 7). Which of both
// it is depends on the encapsulation community, so [Label] has the 24 bits and methods for both.
//
// # Sources
//
// RFC 7432 (types 1 to 4, MAC mobility, ESI label, default gateway), 8365 (VXLAN), 9135 (the router's MAC), 9136
// (type 5), 6514 (PMSI Tunnel), 9012 (encapsulation), 4360 (route targets), 4364 (route distinguishers).
//
// # Limits
//
// Multicast routes (types 6 to 11: RFC 9251, Section 9, and RFC 9572, Section 3) are octets. Nothing here decides what a
// route means: which target is imported, which of two MACs has moved, what the kernel is told.
package evpn
