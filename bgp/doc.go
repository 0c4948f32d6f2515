// Package bgp is a BGP-4 speaker and route reflector as a library: sessions with
// dynamic peers and graceful restart in both roles, around the state machine of package
// fsm, the tables of package rib and the codec of package wire.
//
// # Use
//
// Make a [Speaker] with [New], give it peers with [Speaker.AddPeer] and ranges of
// peers with [Speaker.AddRange], and let [Speaker.Run] run. Routes go in and out
// through [Speaker.Originate], [Speaker.Withdraw] and [Speaker.WatchRoutes], or the
// [rib.Table] itself. [Speaker.Watch] and [Speaker.Peers] show what happens to peers.
// Watch and Peers can be called at any time. All other methods return [ErrClosed] once Run has
// ended (or [Driver.Stop] was called); those that concern a session return [ErrStopped] before.
//
// # How it works
//
// Every peer has one owner that alone uses its state: the state machine of package
// fsm, its TCP connections (connections; two at a time, because of collisions), the
// Established session with its Adj-RIBs (session), the paths that live longer than that
// (learned), and what becomes an event (peerEvents). In [Speaker.Run] the owner is a goroutine
// (peerLoop), which selects on commands, accepted and dialled
// connections, input, output and one timer. Each connection has two pumps beside
// it: a reader that cuts the stream into messages and hands over a buffer full of
// them at a time, and a writer with one buffer in flight. So nothing that may
// block is ever done by the owner, and memory is bounded whatever the peer does:
// an owner that is busy leaves its reader without a buffer, TCP closes the window,
// the peer slows down; a peer that does not read costs one buffer and a dirty bit
// a prefix, until the send hold timer (RFC 9687, Section 4.2) ends it.
//
// What a session is to do is decided by package [github.com/hyperfib/hyperfib/bgp/fsm],
// which is pure: the state machine, the negotiation of OPENs, and both roles of graceful
// restart. What becomes an event (reporter) is pure, too. Their tests are the scenarios in
// testdata.
//
// # External peers
//
// A peer in another AS is external. Without an import and an export policy its session comes up and
// exchanges nothing (RFC 8212, Section 3): PeerStatus.MissingPolicy and [EventNoPolicy] say so. What
// is configured for external peers alone is in [PeerConfig].EBGP, see [rib.EBGP]: a local AS, private
// AS numbers, next hops, the role of RFC 9234, Section 4.1. They are expected to be directly connected
// unless PeerConfig.Multihop is set.
//
// # BFD
//
// BFD is the program's: it reports what its sessions say with [Speaker.PathDown] and
// [Speaker.PathUp]. With [PeerConfig].BFDStrict a session is not Established before BFD is Up
// (strict mode). A speaker keeps the last report for as long as it has the peer. One that is new,
// such as a peer of a range that has just connected, has none: its session waits, and
// [EventBFDWait] asks for it.
//
// # Without goroutines
//
// A speaker with a Config.Transport is driven by its caller instead: [Driver]. The caller has
// the clock and the network, reports what happens, and asks for the next deadline; the owner of
// all peers is its goroutine. The peers, their connections and tables are the same code; what
// differs is who calls them (peerLoop or drivenPeer) and what moves the octets (pumps or
// driven). A simulator has a fleet of them under virtual time, and equal seeds give equal
// octets. The example of Driver is two speakers with a network of 50 lines.
//
// # What differs from the RFCs' letter
//
// Package fsm says where the state machine and graceful restart deviate. Attempts that
// nobody answers come after 50 ms at first and every five seconds at most, not every two
// minutes; a peer that refuses is called after a second at first and every minute at most
// (see [PeerConfig].ConnectRetry and IdleHold). For a peer that knows no capabilities see
// [EventPlain] and [PeerStatus].Plain.
//
// # Standards
//
// RFC 4271, 2385 (also for prefixes of peers), 2545, 2918, 4456, 4486, 4724,
// 4760, 5082, 5492, 5882 (Section 4), 6286, 6608, 6793, 7313, 7606, 7911, 8212, 8326 (from
// external peers; else by policy), 8538, 8654, 8950, 9003, 9072, 9234, 9384, 9494, 9687;
// draft-ietf-idr-bgp-bfd-strict-mode-19.
package bgp
