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
//	Plan, Commit                what to write, and what has
//	                            come of it                  (turn.go)
//	TakeSysctls, SysctlDone     the same, of files          (turn.go)
//	Finish, Deadline            when to come again          (turn.go)
//	Status, Diff, Followers,    what the user sees          (status.go, follower.go, learner.go)
//	Learners, the emit function
//
// A turn of the shell is: the notifications that have arrived, what StartReading asks for,
// Plan and Commit of each Step, Finish. Between two turns it sleeps until Deadline, a
// notification or a change of what is desired. All methods of a [Core], and of the
// Readings, Followers and Learners that it has made, are called under one lock, which is
// not held while the shell waits for the kernel: what is desired may change between Plan
// and Commit.
//
// # Routes
//
// SetRoute interns the content of a route as a want. It is resolved to a form, what to say
// in netlink's terms right now (resolve.go). What the kernel has is a form, too, and forms
// are interned, so that the difference of a route is a comparison of two pointers
// (diff.go). Entries are in a store that costs 65 octets a route (store.go); those that
// differ are in a queue, first in first out, once each.
//
// # Next hops
//
// Groups of next hops are shared by the wants that have the same ones (objects_state.go).
// plan_objects.go makes them, keeps them as they should be, and takes dead gateways out of
// them.
//
// # What is not known
//
// A reread says that part of the kernel's state is to be read again (rereads.go). While it
// is unknown, nothing is written that would depend on it.
package fibcore
