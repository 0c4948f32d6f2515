// Package netns is the state of one network namespace: what is known of it, what is desired
// in it, and what makes the kernel have that.
//
//	fib.Watcher --> Namespace.Next --> the daemon's loop --> Links (interfaces, addresses)
//	configuration, guests --> Namespace.Apply --> desired (sysctls, addresses, neighbours, rules,
//	                                              persistent routes), firewall, VRFs
//	routes of the domains --> Namespace.SetRoute --> the kernel
//
// Most hypervisors have one namespace. A domain belongs to one; the guests live in one. A
// Namespace is not safe for concurrent use: the daemon's loop owns it, and the methods that
// other goroutines may call say so. Its parts have types of their own: [Links], desired (what
// stands because of the configuration), shield (the firewall as it was applied), roles (which interfaces
// are the host's own, and which were guests'), preserved (what an earlier run has left).
package netns
