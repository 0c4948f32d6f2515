// Package unnumbered finds the BGP neighbours of interfaces that have no addresses but link-local
// ones: which routers a link has is known by their router advertisements (RFC 4861, Section 4.2),
// and BGP is spoken between link-local addresses, as FRR does with `neighbor eth0 interface`.
//
// A [Tracker] is pure: it has no goroutine, clock or socket. Its owner reports the links with our
// addresses, the advertisements heard and how the sessions are, and has a session with each
// neighbour that [Tracker.Neighbors] lists, for as long as it is listed. A [Prober], as pure, says which
// of the advertisements count: those whose senders answer neighbour solicitations. Package
// github.com/hyperfib/hyperfib/ndp hears and sends advertisements, and package
// github.com/hyperfib/hyperfib/bgp has the sessions; examples/hvrouter puts them together.
//
// # What is tracked
//
// A neighbour is tracked as long as its interface is there: another address, another MAC or
// another router in its place is heard and tried at once; several routers on one link all get a
// session. A router with two addresses is one: by its BGP identifier and AS the session that is
// older ends, so that no path leads to an address that is no more. That address is tried again if the
// session with the newer one ends, or the router is heard there alone.
//
// # Who is no neighbour
//
// Any host on a link may advertise, and many routers speak no BGP. So at most [Config.Max]
// neighbours of an interface have a session or are tried at a time. One that gets no session
// within [Config.Patience] gives its place to the next who waits, and is tried again when all
// others have been. The routers that had a session go first. At most [Config.Known] are
// remembered; where more are heard, those make room that were tried in vain, and those of the MAC that
// has the most.
//
// An advertisement can be forged at no cost, by the hundred a second. Whoever has the address that it comes
// from answers for it, so an advertisement counts when its address has been asked for and has answered. A host
// may answer for as many addresses as it likes: places, and those that are remembered, are shared by MACs. The
// addresses of one MAC leave places to another at once, until that has as many. So with fewer MACs than places a
// router that comes is tried at once, or after Patience if its MAC has as many places as the others. Who forges
// MACs as well and answers for all of them keeps a router out that has a new MAC, but not one whose MAC had one of the
// last Max sessions: it is tried after Patience at the latest. Who answers with the MAC of a router keeps that one's new
// address out. A session is never ended for somebody who waits.
//
// RFC 4861 (Neighbor Discovery), RFC 4271 (BGP identifier), RFC 8950, Section 4 (IPv4 routes on such
// sessions). There is no RFC for the way in which neighbours are found.
package unnumbered
