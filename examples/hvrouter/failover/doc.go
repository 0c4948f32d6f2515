// Package failover turns the end of a BFD session into the end of everything that depends on
// the path: first the gateways in the kernel, then the BGP session.
//
//	bfd.Watcher --> Monitor --+--> fib.GatewayDown, in the namespace of the session
//	                          +--> Paths (BGP), from a goroutine that may wait for a peer
//	fib's next-hop objects ---+--> bfd.Service: sessions, and the objects that the BFD process
//	                               may delete by itself while there is no daemon
//
// It does not go through the daemon's loop: nothing that the loop is busy with delays a
// failover. What is decided is in state and notices, which are pure; Monitor has the lock, the
// log and the sockets. [Monitor.Run] has goroutines; without, [Monitor.Begin], [Monitor.Event] and
// [Monitor.Step] do the same on the caller's.
//
// [NextHops] is what BGP keeps of it: which next hops of a speaker are dead, by a probe or
// because their link has no carrier. Such a next hop is not announced, and not used where a
// prefix has another.
package failover
