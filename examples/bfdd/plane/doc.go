// Package plane decides what the data plane of FRR's bfdd does. A Plane stands between
// connections of bfdd, which add and delete sessions under ids of their own, and a
// [bfd.Service], which has the sessions.
//
// A session is named by its addresses, its interface and whether it is multihop, never by
// bfdd's id: a bfdd that was restarted adds it under another one, and finds it as it
// was. A session that no connection wants any more lingers, and is as it was if it is
// added again; at the end of that time it goes to AdminDown, which the remote system does
// not take for a failure.
//
// A Plane has no goroutine, clock or socket: its caller brings messages, events and time,
// and takes the octets that are to be sent. For a bfdd that does not read it keeps two
// states of each session at the most, the newest one and a Down that this would
// hide, and the answers to what it has asked.
//
// Bugs of bfdd that are allowed for: see Plane.counters and MaxBurst.
package plane
