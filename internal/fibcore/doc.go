// Package fibcore is the state of a FIB, desired and as the kernel has it, and all its
// decisions: what to write next, what to read again, what to report. It has no goroutine,
// channel, lock, clock or socket. Package fib is the shell around it, with the API that
// users see; package wire below this one is the codec.
//
// # What goes in, and what comes out
//
//	SetRoute, SetRule, ...      what is desired             (desire.go)
//	Notification                what the kernel tells       (observe*.go)
//	StartReading, Reading       what the kernel dumps       (reading.go, reading_routes.go)
//	StartSlice, Slice           the same, slowly, to compare (audit*.go)
//	Plan, Commit                what to write, and what has
//	                            come of it                  (turn.go)
//	TakeSysctls, SysctlDone     the same, of files          (turn.go)
//	Finish, Deadline            when to come again          (turn.go)
//	Page, Diff, Stats,          what the user sees          (status.go, follower.go, learner.go)
//	Follower, Learner, emit
//
// A turn of the shell is: the notifications that have arrived, what StartReading asks for, a
// Slice of the audit if one is due, Plan and Commit of each Step, Finish. Between two turns it sleeps until Deadline, a
// notification or a change of what is desired. All methods of a [Core], and of the
// Readings, Followers and Learners that it has made, are called under one lock, which is
// not held while the shell waits for the kernel: what is desired may change between Plan
// and Commit.
//
// # Parts
//
// A [Core] is made of parts, which are types of their own with fields of their own. Each
// knows those above it in this list, and none below:
//
//	env        configuration, time, counters, what is to be read again     env.go, rereads.go
//	links      interfaces, by index and by name                            links.go
//	nexthops   next-hop objects and groups, failover                       *nexthops.go
//	contents   what routes say: wants, and the forms they resolve to       contents.go, resolve.go, form.go
//	routes     desired and in the kernel, by key; the queue of those       routes.go, *_routes.go,
//	           that differ; who follows their status                       status.go, store.go
//	learners   who wants to know the routes of others                      learner.go
//	rules, addresses, neighbors, sysctls                                   *rules.go, desired.go, sysctls.go
//
// What concerns several of them is the Core's: what goes with an interface or an address
// (observe_links.go), an interface that is made again (follow_link.go), and the order of
// things (turn.go, reading.go). So is the audit (audit.go), of which each part knows one part of the
// model: it compares, and tells the model as a notification would.
//
// SetRoute interns the content of a route as a want. It is resolved to a form, what to say
// in netlink's terms right now. What the kernel has is a form, too, and forms are interned, so
// that the difference of a route is a comparison of two pointers (diff.go). An entry costs 65
// octets. Groups of next hops are shared by the wants that have the same ones.
//
// # What is not known
//
// A reread says that part of the kernel's state is to be read again (rereads.go). While it
// is unknown, nothing is written that would depend on it.
package fibcore
