// Package sessions is hvrouter's BGP: the speakers of the domains, their peers, and what is
// said to them.
//
//	daemon --> Member.Announce, Withdraw, ... --> bgp.Speaker <--> reflectors
//	bgp    --> follower --> Sink (the daemon's loop): paths, a domain, and when all are there
//	failover.Monitor --> Speakers.PathDown, PathUp, and the liveness of next hops
//
// [Speakers.Run] does this with goroutines; without, [Speakers.Begin] and [Speakers.Step] do the
// same on the caller's.
//
// A domain has a speaker of its own, or shares one with the domains that share its sessions: a
// [Member] is one domain's part of it. The peers that a configuration asks for, and when each
// of them gets what it asks for, is decided by plan and rollout, which are pure; when the peers
// have sent all of their routes is known by initialSync.
package sessions
