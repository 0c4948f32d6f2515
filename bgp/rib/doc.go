// Package rib holds the routing tables of a BGP speaker: Adj-RIB-In, Loc-RIB and Adj-RIB-Out,
// the decision process between them, route reflection, ADD-PATH, update groups and policy. It
// does no I/O, starts no goroutine and reads no clock. Whoever owns sessions and timers says
// what happened, in calls; what is to be sent and what a FIB should know is fetched by those
// who want it.
//
// # Data flow
//
//	wire.Update -> In.Update -> Loc-RIB -> dirty set of each reader
//	                                         |-> update group -> Out.Fill -> octets
//	                                         `-> Watcher.Next -> changes for a FIB
//
// [In] is the Adj-RIB-In of a peer. It lives longer than a session, so that paths can wait
// for a peer that restarts. Update interns the attributes of a message once, checks them for
// loops, asks the import policy about each prefix, and puts the path in its place among the
// paths to that prefix: they are kept sorted by the decision process (see [Step]), best first.
//
// Then every reader, and only those whom it concerns, has the prefix marked dirty. That is
// one bit and one entry in a queue for each reader and prefix, however often the prefix
// changes: there are no queues of changes in this package, so nothing grows when
// a reader is slow, and what is slow sees fewer, later states.
//
// [Out] is the Adj-RIB-Out of a session. Sessions that are to be sent the same share an
// update group. When a session that has sent everything asks for more, the group looks at
// what is dirty, compares what should be advertised with what is, and encodes the
// differences, sorted into messages by attribute set. All members copy from these messages,
// each at its own pace; one that falls more than a few megabytes behind gets a dirty set of its own and
// catches up from what the group advertises. So eight readers cost little more than one, the
// first UPDATE after silence is one call away, and a burst is packed the better the busier
// everybody is. Paths are not sent back to the peer they came from; see group for how that
// goes together with sharing.
//
// [Watcher] is for a FIB: first a snapshot, then changes with multipath sets, and a converged
// event that says when what was not mentioned is gone.
//
// # Ownership
//
// One mutex in [Table] guards the table with all its In, Out and Watcher values, so all
// methods are safe for concurrent use. Work on a whole session (Drop, MarkStale) lets the mutex
// go every few thousand paths. Notify functions and policies are called with the table
// locked and must not call back.
//
// What is handed out is never changed: [Attrs] alias interned octets that the garbage
// collector frees when the last view is gone. What is taken in is copied: [wire.Update] may
// be reused after the call.
//
// # Restarts
//
// With Config.Deferred a table takes paths in but selects none but local ones until
// [Table.Converge] (RFC 4724, Section 4.1). End-of-RIB follows what was in the table when
// the session first asked or the table converged, and with Config.HoldEndOfRIB also waits for
// [Table.InventoryComplete]. For a peer that restarts: [In.MarkStale] when its session ends,
// [In.MarkLongLived] when its restart time is over, [In.EndOfRIB] when it has said everything
// again, [In.Sweep] or [In.Drop] when it has not. Stale paths stay selected and advertised, but
// lose against fresh equals and never share a multipath set with them, and those of a route
// reflector's client are not advertised once another client adds a path to the destination; long-lived stale ones
// lose against everything.
//
// # Memory
//
// Destinations and paths are entries without pointers in pages of 2048, found by 4-octet
// indices; the garbage collector does not look into them. An IPv4 prefix with one path takes
// about 70 octets, of which 16 are the prefix, 32 the path and 8 to 16 the hash table; a reader
// adds 4 octets while the prefix is dirty, an update group 16 while it advertises it. Attribute
// sets are counted, and freed with their last path. Pages that become empty go back.
//
// The paths of a prefix are a list. A prefix that ever had more than 64 keeps them in an index
// instead, at about 40 octets more for each path, and readers that are sent all paths have single
// paths dirty, a bit for each: so what a change costs does not grow with the number of paths.
//
// # External peers
//
// [EBGP] is what is configured for them alone. A path must
// begin with the peer's AS, one with GRACEFUL_SHUTDOWN gets LOCAL_PREF 0 whatever the import
// policy says, and roles keep route leaks out (RFC 9234, Section 5). Paths of several neighbouring ASes may share
// a multipath set; MEDs compare within one AS unless Config.AlwaysCompareMED is set. This
// package accepts and sends without policies what package bgp does not (RFC 8212, Section 3).
//
// # Default routes
//
// [DefaultRoute] announces the default route to one session. It is no path of the table: the update group makes it, in the
// place of the paths that the table has for that prefix. For its condition the group counts the destinations of the family whose best
// path meets it, which it looks at as they become dirty.
//
// # Limits
//
// IPv4 and IPv6 unicast, and EVPN, whose routes are named by a key and not by a prefix ([wire.EVPN]):
// their next hop is never replaced by our own. Route target memberships ([wire.Membership]) are originated
// and reflected as RFC 4684, Section 3.2, wants, and a peer with which they are exchanged is sent the EVPN
// routes that it wants (see [Out.ConstraintKnown]). A reflector some of whose peers do not know of
// memberships must originate the default one: else those who do keep from it what these want. Where
// reflectors have reflectors, the lower one is not told of a membership that it sent itself and that is the
// best path above, as its cluster is in CLUSTER_LIST: give sessions between reflectors ADD-PATH for the
// family, or not the family. 33 million destinations of each family, 65535 paths of a prefix, 65535 peers.
// Refused paths are not kept, but for a number of them that [In.Refused] tells of:
// a new import policy takes effect by a route refresh. There is no IGP: next hops are on-link, and
// the policy [OnLink] refuses others. No route damping, no aggregation, no confederations
// beyond carrying their segments.
//
// # Sources
//
// RFC 4271 (decision process, Section 9.1), 4456 (route reflection), 4724 and 9494 (graceful
// restart, long-lived), 2918 and 7313 (route refresh), 7606 (treat-as-withdraw), 7911
// (ADD-PATH), 7432 and 9136 (EVPN's keys), 4684 (route target memberships), 1997, 4360 and 8092 (communities), 8326 (graceful shutdown), 8654 (extended messages), 8950
// (IPv4 over IPv6 next hops), 4486 (maximum prefixes), 6996 (private AS numbers), 9234 (OTC).
package rib
