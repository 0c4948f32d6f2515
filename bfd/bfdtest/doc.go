// Package bfdtest is for tests of what uses BFD, without sockets, privileges or waiting.
//
// A [Service] has sessions that go up and down as the test says. It stands in for a
// bfd.Server or bfd.Client where a program is to act upon failures: end BGP sessions, take
// next hops out of the kernel, log.
//
// A [Pair] is two bfd.Sessions, the real state machine, and a link between them that loses,
// repeats and delays packets, in virtual time: for questions about the protocol itself, such
// as how long a detection takes with these intervals and that loss.
package bfdtest
