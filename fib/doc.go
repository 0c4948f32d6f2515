// Package fib keeps the kernel's routing tables equal to a desired state.
//
// A [FIB] holds what its user wants in one network namespace: routes, policy
// rules, addresses, neighbours and sysctls. Set and Delete change what is desired and
// never block, also before Run; an owner goroutine ([FIB.Run]) opens the sockets, compares
// it with what the kernel has and writes the difference, at once when idle and coalesced
// when busy.
// [FIB.Flush] is the barrier. What others break is repaired within milliseconds,
// driven by notifications. What no notification tells is found by an audit, which reads
// everything again, slowly; sysctls and proxy entries are compared every few seconds.
//
// # How a route gets into the kernel
//
// All decisions are in internal/fibcore, which does no I/O: this package gives it what is
// desired, what the kernel says and the time, and writes what it asks for.
//
// SetRoute interns the content of the route (a want) and marks the key dirty, once,
// however often it changes. The owner resolves the want to a form: what to say in
// netlink's terms right now, given the links that are up, the gateways that are
// dead and the groups that exist. Forms are interned too, and so is what the kernel
// is known to have. The difference of a route is therefore a comparison of two
// pointers, and half a million unchanged routes after a restart cost little
// more than reading them.
//
// Differences are encoded into batches and sent without asking for acknowledgements.
// The kernel works a batch off inside sendmsg(2), so that a drain that does not wait
// yields every failure, with its route and the kernel's extended-ACK text. What
// fails is reported once, kept in [FIB.Routes], and tried again: with back-off, and as
// soon as a link, an address or a next hop changes. If replies are lost (ENOBUFS), the
// tables concerned are read again.
//
// [FIB.WatchRoutes] reports how far each route has come: whether the kernel has it, with
// how many of its next hops, refuses it, or has lost it. A program that announces what it
// routes announces what the kernel has.
//
// # Next-hop groups, and failover
//
// A route with several next hops refers to a next-hop group that all routes with the same
// next hops share. [FIB.GatewayDown] deletes the objects of a dead gateway, one message
// each; the kernel shrinks every group that has them, whatever the number of routes.
// Since the kernel removes an emptied group with all its routes, that never happens:
// a group that has nothing else first gets a second object of the same gateway.
// A route with one next hop refers to no object, so that no deletion can take it along.
// Members come back in place in small groups; a group with thousands of routes is
// rebuilt under a new id and its routes are moved, in the background, since the
// kernel answers the replacement of a group with a notification for each of its
// routes while it holds its big lock. [FIB.NextHops] tells another process what it may
// delete in an emergency; when it does, the object stays out for 50 ms, so that word
// that the gateway is dead can arrive.
//
// An IPv4 route may have IPv6 gateways, link-local ones and such beside IPv4 ones, in every form: a
// single next hop and RTA_MULTIPATH have them as RTA_VIA, an object has one as its gateway. Routes of
// both families whose next hops are the same IPv6 gateways share one group, so that one deletion
// is enough for both. The link needs no IPv4 address, but while it has some, the kernel takes the
// routes that have no object away with the last of them (fib_disable_ip), and they are written again.
//
// # What the kernel does not tell
//
// IPv4 routes vanish without a message when their link goes down, when its last
// address or their preferred source goes, and when their next-hop object goes;
// next-hop objects vanish without one when their link loses carrier. All this is
// deduced from the link, address and next-hop notifications. If
// notifications are lost, everything is read again. A dump is no snapshot: the owner
// subscribes, takes in what has arrived, dumps, and replays what arrived meanwhile.
//
// Where notifications leave something open, the owner reads again and never guesses: policy rules,
// of which the kernel holds equal ones, are counted in dumps only; several IPv4 routes of
// one prefix and metric, of which a notification names one, are read by table. Such reads take
// at most a tenth of the owner's time. A dump that the kernel marks as interrupted
// (NLM_F_DUMP_INTR) and one that breaks off tell what is there, not what is missing: on
// their word nothing is deleted and nothing is written again. They are repeated, ever more
// slowly, while the notifications fill in what changed.
//
// # The audit
//
// Every 30 s ([Config].AuditRound) the owner begins to read interfaces, addresses, rules, neighbours,
// next-hop objects and routes again, and compares them with what it knows. It reads 16 datagrams at a time (some
// 5,000 routes, two to five milliseconds), and then rests for 99 times as long as that took: a hundred thousand routes
// take a fifth of a second in a round of 20 s; a million, by that, two seconds in 200 s. Between
// two slices everything else goes on, so the dump is older than the newest writes: what has changed since the
// kernel wrote a datagram is not judged by it, what a dump lacks is missing only if it was read
// to its end without a mark of interruption, and nothing counts that a notification explains within 100 ms.
// What is left is an [EventDifference], and is repaired as if it had been notified. Where others
// stand beside our route, and for all that is few, the part is read again at once before anything is
// written. [Stats] counts rounds, time and differences.
//
// # Ownership
//
// What carries our rtm_protocol is ours; nothing else is touched. A foreign route under
// the key of a desired one is refused, waited for, or taken over, as
// [Config].OnForeign says; a foreign change of a route of ours is undone. New
// routes are therefore written with NLM_F_EXCL. One race remains that the kernel gives
// no means to close: NLM_F_REPLACE in IPv4 replaces whatever has the key, so that
// a foreign route that takes the place of ours between the last notification that
// was read and the write is replaced with it.
//
// Next-hop objects and groups are compared by content: the gateway, the interface, the flags,
// the members and their weights. One that another program has replaced is repaired, one
// of another program under an id of our range stays, and ours gets another id.
//
// Addresses, neighbours and rules carry the protocol number too (IFA_PROTO since Linux
// 5.18). Sysctls have no owner: forgetting one leaves it as it is.
//
// Each repair is an [EventRepair] with the protocol and, where the kernel tells, the
// netlink port of who made it necessary. A program that breaks the same thing again and again meets a
// brake: ten repairs of one key come at once, then they wait 100 ms, 200 ms and so on up
// to 30 s. The brake is released when nothing had to be repaired for twice the last wait, and 10 s
// at least. So an owner writes at most 14 messages in a second about a key that another program
// fights for, and soon one in 30 s, and [EventContended] names the key and the
// other's protocol. The deletion of what another program makes with our protocol number, and nobody
// wants, has the same brake; what the user deletes goes at once.
//
// One FIB owns a protocol number in a network namespace: Run holds an abstract UNIX socket with
// the number in its name, and a second Run gets [ErrInUse], which names the first's process.
//
// # Interfaces
//
// What is desired names interfaces by index, as the kernel does. An interface that is deleted and made again
// has another index: the FIB remembers the name and follows it. Until it is back, a route
// with other next hops keeps these, is [StatePartial], and [FIB.Diff] says "1 of 2 next hops".
//
// # Restart
//
// The end of Run leaves everything in the kernel. The next start reads what is ours,
// with the kernel filtering, and adopts it, next-hop ids and groups by their content.
// Until [FIB.Sweep] nothing is deleted but what DeleteRoute names, so that a control
// plane can learn again in peace; routes that are desired again in between cost no
// message at all. Routes with Persistent set carry a second protocol number: they are for
// what must be there when nobody is, such as a last-resort blackhole.
//
// # Limits
//
// It works on Linux only, from 4.20 on, with next-hop objects from 5.3 on; on another system
// the package compiles, and [FIB.Run] returns [errors.ErrUnsupported]. It needs CAP_NET_ADMIN,
// without which Run fails at once. Package fib/fibtest has a kernel in memory for tests.
//
// 65,535 pairs of table and family, 2^32-2 routes, ids of next hops as configured. A
// route costs about 65 octets of heap. IPv6 multipath without groups is replaced next hop by
// next hop by the kernel: never empty, but not atomic; with groups it is atomic. The kernel
// may lose an IPv6 packet that has found a route in the very moment in which it is replaced
// (IP6InNoRoutes: ip6_pol_route cannot copy a route that is being released); that is one
// packet in ten thousand replacements on a busy machine, and nothing here can prevent it.
// Encapsulations and FDB next hops are read as foreign and not made.
// An IPv4 route without MTU and AdvMSS that shares its next-hop group with one that has them gets
// that one's, and the kernel says nothing (fib_create_info, net/ipv4/fib_semantics.c: what is found by
// fib_find_info_nh is not compared by its metrics). The audit names such a route as changed, round for
// round; with RTAMultipath set it has its own.
// Several FIBs in one namespace need protocol numbers and id ranges of their own. With
// [Config].Tables nil, a start reads the routes of our protocol only: a foreign route that
// was there before is noticed when ours is refused because of it.
//
// Everything is safe for concurrent use. Decoding, encoding, SetRoute of known content
// and notifications about others' routes do not allocate.
//
// There is no RFC for this; the reference is the kernel's source: net/ipv4/fib_trie.c,
// fib_semantics.c, nexthop.c, net/ipv6/ip6_fib.c, route.c, net/core/fib_rules.c and
// rtnetlink.c.
package fib
