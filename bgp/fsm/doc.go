// Package fsm is the session of a BGP speaker without its sockets: the state machine of a
// peer, the negotiation of OPENs, and graceful restart as both sides see it. It is pure: what
// happens and the time go in, what is to be done comes out. There is no goroutine, clock,
// random source, lock, logger or socket in it, so that a speaker, a test and a simulator can
// all drive it, and a whole day of failures plays in a millisecond.
//
// # Data flow
//
//	TCP, timers, operator -> Machine  -> dial, OPEN, KEEPALIVE, NOTIFICATION, close, up, down
//	                              | up, down
//	                              v
//	End-of-RIB, BFD -------> Helper   -> mark, sweep or drop the peer's paths
//	                `------> Deferral -> the R bit; when best paths may be selected
//
// [Machine] is the finite state machine of RFC 4271, Section 8, for one peer, with up to two
// TCP connections. An [Event] is an event of Section 8.1; an [Effect] is what the RFC has the
// local system do. Messages are neither parsed nor encoded here, only judged: the owner
// reports that an OPEN came and what it negotiated.
//
// [OpenConfig] makes our OPEN, and compares the peer's with it; [Negotiated] is what both
// agreed on.
//
// [Helper] decides what becomes of a peer's paths when its session is lost and while it
// restarts (RFC 4724, Section 4.2; RFC 8538, Section 4; RFC 9494, Section 4). [Negotiated.Retains] says which ends
// of a session it covers.
//
// [Deferral] is the other role, and one for the whole speaker: after a restart of our own it
// decides for how long best paths wait for End-of-RIB (RFC 4724, Section 4.1).
//
// # Use
//
// Each of them has one owner, which calls it from one goroutine, or under a lock. The owner
//
//  1. reports an event with the time at which it takes it in,
//  2. carries out what Effects returns, in order, and
//  3. sets a timer for Deadline, and calls Advance when it expires.
//
// Time may not go back. An owner that was busy for long calls [Machine.HoldDue] before
// Advance and looks for input first: else it would blame the peer for its own delay.
//
// A connection has a [ConnID] from the machine, for its own attempts and, with
// [Machine.NextConn], for the peer's connections. Reports about a connection that is closed
// are ignored, so the owner need not order what its goroutines say about different
// connections.
//
// # Back-off
//
// How long a machine waits for its next attempt depends on what failed. A peer that does not
// answer is called soon and often, as it may be back any moment; one that refuses, or breaks
// the protocol, less and less often; so is one whose sessions end at once. A session that
// lasted for [StableTime] ends a row of failures. The peer's own connections are accepted all
// the while, so that the wait only bounds what we do.
//
// # An OPEN without capabilities
//
// A peer may answer our OPEN with Unsupported Optional Parameter (2/4), by which a speaker
// that is older than RFC 5492, Section 3, says that it knows no capabilities. Then the next OPEN has none
// (RFC 5492, Section 3), and the one after that session, or after that attempt if it fails,
// has all again: no session that carries routes is ended to find out whether a better one can
// be had. A peer that cannot do without a capability (Config.RequireAS4) is not asked so.
//
// # Strict mode
//
// With [StrictConfig] a session does not become Established before BFD is Up. What BFD says comes
// as EventBFDUp, EventBFDDown and EventBFDAdminDown, at any time and as often as the caller likes:
// the machine keeps the last of them, so that a connection whose OPENs are exchanged later knows.
// The wait is in OpenSent, [Machine.WaitsForBFD] reports it, and it always ends. BFD that flaps is
// dampened, see [HoldDownMax].
//
// # What differs from the RFCs' letter
//
//   - RFC 4271, Section 8.2.2, Idle: "In this state, BGP FSM refuses all incoming BGP
//     connections for this peer." A peer that only waits for its IdleHoldTimer accepts them.
//   - A failed attempt to connect leads to Active, not Idle, and so does one that took too
//     long. The waits between attempts are those above, not a ConnectRetryTime of 120 s
//     (Section 10).
//   - DelayOpen is absent, but our OPEN on a connection that the peer opens beside an
//     Established session waits for the peer's: only the peer's shows whether it has
//     restarted (RFC 4724, Section 4.2).
//   - Section 6.8 looks for a collision when an OPEN comes while another connection is in
//     OpenConfirm, and, "if CollisionDetectEstablishedState is enabled", in Established. We
//     look in OpenSent, too, for a second: the loser is closed before the peer counts it as
//     a session.
//   - RFC 4724, Section 4.1: see [Deferral.Up].
//   - draft-ietf-idr-bgp-bfd-strict-mode-19, Section 8.5.5, starts the BfdHoldTimer only if there
//     is no HoldTimer. It always runs here: a peer that sends KEEPALIVEs would have us wait for
//     ever. ConnectDelayOpenBfdUpPending and ActiveDelayOpenBfdUpPending (Section 8.1) are absent
//     with DelayOpen. Event 33, BfdDisabled, is EventBFDAdminDown; event 35,
//     BfdStrictConfigChanged, is a stop and a start by the caller. Section 10 would hold a session
//     down in OpenConfirm; it is held in OpenSent, without our KEEPALIVE, so that the peer does not
//     take it for Established.
//   - RFC 5492, Section 3, would have an operator begin again after Unsupported Capability
//     (2/7). We do so ourselves, after the waits of a refusal, since the peer may be
//     configured otherwise by then.
//
// # Standards
//
// RFC 4271 (Sections 6.2, 6.8, 8, 10), 4724, 5492, 6286, 6608, 6793 (the capability), 7911
// (the capability), 8538, 8950 (the capability), 9494, 9687;
// draft-ietf-idr-bgp-bfd-strict-mode-19.
package fsm
