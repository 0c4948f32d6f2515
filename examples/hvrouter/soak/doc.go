// Package soak is a test of what is left over: two hypervisors, four networks with BIRD, FRR and ours as
// reflectors, and guests who come, go and move, also on overlays with EVPN (with MACs that both
// hypervisors have, and route target constraint), links that flap or fail silently, reloads that are
// good, bad or wait for their confirmation, drains, programs that change what is ours, sessions that
// are reset, and daemons, BFD processes and reflectors that are killed, at random, under streams of
// packets. Hypervisor 1 is restarted again and again, hypervisor 2 never, so that what a restart
// leaves behind and what a long run does both show.
//
// At the end everything is as in the beginning: rules, routes, next hops, neighbours, addresses,
// forwarding entries, nftables, EVPN routes, files, what the reflectors have, descriptors, threads, goroutines,
// and memory within a bound. No packet may be lost but while a path is broken, or
// while the machine stood still, by the watch of a process of its own: how often that was, and how
// many outages it excused, is printed.
//
// It needs root, BIRD 2 and FRR:
//
//	go test ./examples/hvrouter/soak -v -length 1m                          # while something is changed
//	go test ./examples/hvrouter/soak -v -length 10m -seed 7                 # what .ci/test does, with a seed of its own
//	go test ./examples/hvrouter/soak -v -length 1m -actions 'reload|drain'  # only those
//
// Without -length the soak does not begin.
//
// The seed decides which actions are taken, in which order, with which pauses; it is printed, and
// -seed takes them again. What happens at the same moment is up to the machine.
package soak
