// Package daemon is hvrouter at work: one event loop that owns all state, and the
// sources and sinks around it.
//
//	fib.Watcher  (links, repairs) --\                     /--> fib.FIB   (routes, rules, addresses, sysctls)
//	fib.Learner  (foreign routes) ---\                   /---> bgp.Speaker (announce, withdraw), one a domain
//	bgp.Watcher  (paths, a domain) ---+--> loop (router) ----> edge      (interfaces, RA, ARP announcements)
//	API, SIGHUP, inventory files  ---/                   \---> firewall      (nftables)
//	bfd.Watcher  (paths up, down)  -----> guard ----------\--> fib.GatewayDown, bgp PathDown
//
// Every source is a watcher that coalesces by key, read by a small goroutine (a
// pump) that hands batches to the loop over an unbuffered channel: while the loop
// is busy the pump waits, and the watcher folds changes together. There is no
// queue that grows.
//
// BFD does not go through the loop: a dead path is told to the kernel and to BGP
// from its own goroutine (the guard), so that nothing which the loop is busy with
// can delay it.
//
// Most hypervisors have one network namespace; each that the configuration names is a
// namespace with its own FIB, links, rules, sysctls and firewall, and a domain belongs to one.
// The loop, the API, the inventory and the BFD process serve all of them.
//
// A restart is: find our routes in the kernel, tell the peers that forwarding was
// preserved, set everything that is desired again (which writes nothing where the
// kernel is right), and sweep what is left over once every domain has converged.
// A stop leaves everything as it is.
package daemon
