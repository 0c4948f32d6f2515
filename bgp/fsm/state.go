package fsm

import (
	"github.com/hyperfib/hyperfib/internal/enum"
)

// State is the state of a peer, or of one of its connections (RFC 4271, Section 8.2.2).
// The zero value is Idle. States are ordered: a later one is nearer to a session.
type State uint8

// The six states of RFC 4271, Section 8.2.2.
const (
	// Idle: stopped, or waiting for the idle hold time after a failure. Unless
	// the peer is stopped, incoming connections are accepted even now.
	Idle State = iota
	// Connect: our TCP connection is being opened.
	Connect
	// Active: waiting for the peer's connection or for the next attempt.
	Active
	// OpenSent: our OPEN is out, the peer's is awaited.
	OpenSent
	// OpenConfirm: OPENs are exchanged, the first KEEPALIVE is awaited.
	OpenConfirm
	// Established: routes are exchanged.
	Established
)

var stateNames = [...]string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"}

// String returns the name the RFC uses.
func (s State) String() string { return enum.String("State", stateNames[:], s) }

// MarshalText returns the name of the state, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
