// Package rib holds the routing tables of a BGP speaker: Adj-RIB-In, Loc-RIB and
// Adj-RIB-Out, with the decision process between them. It does no I/O, starts no goroutine and
// reads no clock; one mutex in [Table] makes it safe for concurrent use.
package rib
