// Package peering is the glue between the packages of the module, which never
// import each other: a configured session becomes a bgp.PeerConfig and a
// bfd.SessionConfig, BGP's paths become next hops, what package domain wants
// becomes package fib's values, and fib's next-hop objects become the failover
// lists of BFD sessions. Every function is pure.
package peering
