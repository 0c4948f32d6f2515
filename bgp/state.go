package bgp

import "github.com/hyperfib/hyperfib/bgp/fsm"

// State is the state of a peer in the sense of RFC 4271, Section 8.2.2. The zero value is
// Idle. String returns the name that the RFC uses.
type State = fsm.State

// The six states of RFC 4271, Section 8.2.2.
const (
	// Idle: stopped, or waiting for the idle hold time after a failure. Unless
	// the peer is stopped, incoming connections are accepted even now.
	Idle State = fsm.Idle
	// Connect: our TCP connection is being opened.
	Connect State = fsm.Connect
	// Active: waiting for the peer's connection or for the next attempt.
	Active State = fsm.Active
	// OpenSent: our OPEN is out, the peer's is awaited.
	OpenSent State = fsm.OpenSent
	// OpenConfirm: OPENs are exchanged, the first KEEPALIVE is awaited.
	OpenConfirm State = fsm.OpenConfirm
	// Established: routes are exchanged.
	Established State = fsm.Established
)

// RestartStatus is the phase of graceful restart a peer is in. String returns "none",
// "waiting", "long-lived" or "syncing".
type RestartStatus = fsm.RestartStatus

// Phases of graceful restart.
const (
	// RestartNone: nothing is stale.
	RestartNone RestartStatus = fsm.RestartNone
	// RestartWaiting: the peer is gone, its paths are stale (RFC 4724, Section 4.2).
	RestartWaiting RestartStatus = fsm.RestartWaiting
	// RestartLongLived: the peer is still gone, its paths are long-lived stale
	// (RFC 9494, Section 4.2).
	RestartLongLived RestartStatus = fsm.RestartLongLived
	// RestartSyncing: the peer is back, End-of-RIB is awaited.
	RestartSyncing RestartStatus = fsm.RestartSyncing
)
