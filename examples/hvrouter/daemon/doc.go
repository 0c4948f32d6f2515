// Package daemon is hvrouter at work: one event loop that owns all state, and the sources and sinks
// around it.
//
//	fib.Watcher  (links, repairs) --\                     /--> netns    (routes, rules, addresses, sysctls, firewall)
//	fib.Learner  (foreign routes) ---\                   /---> sessions (announce, withdraw), a member a domain
//	sessions     (paths, a domain) ---+--> loop (router) ----> edge     (interfaces, RA, ARP announcements)
//	edge         (what guests say) --/
//	API, SIGHUP, inventory files  --/
//	bfd.Watcher  (paths up, down)  -----> failover.Monitor --> fib.GatewayDown, bgp PathDown
//
// Every source is a watcher that coalesces by key, read by a small goroutine (of pumps) that hands
// batches to the loop over an unbuffered channel: while the loop is busy the pump waits, and the
// watcher folds changes together. There is no queue that grows.
//
// The router is what the loop owns: of each namespace a netns.Namespace, of each domain a routing,
// and what follows from both (router.go; refresh.go brings everything in line after a batch of
// events, events.go takes them). What has a state of its own is a type of its own: announcements,
// targets, vteps, attached. BFD does not go through the loop, so that nothing which the loop is
// busy with can delay it.
//
// All of this is the loop's side; [Run] is it with goroutines, sockets and a clock, and a [Core]
// without: its caller is the loop, and polls the same sources (core.go). What a start, a change of
// guests, a reload, domains that come and go by one, and a drain consist of is in start.go,
// guests.go, reload.go, domains.go and drain.go, and both do it.
//
// A restart is: find our routes in the kernel, say to the peers that forwarding was preserved, set
// everything that is desired again (which writes nothing where the kernel is right), and sweep
// what is left over once every domain has converged. A stop leaves everything as it is.
package daemon
