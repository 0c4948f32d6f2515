// Package bfdcore holds the decisions of package bfd that concern more than one session:
// which session a packet belongs to ([Demux]), what exists when several clients want the
// same ([Sharing]), what a client has to request of the BFD process ([Desired]), who has the
// sessions while one process hands them over to another ([Giver], [Taker]), and which
// next-hop objects may go when a path is dead ([Failover]).
//
// It is pure: no goroutine, clock, lock or socket. Callers pass the time and serialize
// calls; what is to be done comes back as a value, or by way of a function or interface
// of the caller's.
package bfdcore
