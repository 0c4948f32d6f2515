package bfd

import (
	"fmt"
	"time"
)

// Status is a copy of what a session knows at one moment.
type Status struct {
	Key
	State       State  // of this session
	RemoteState State  // as the last packet said
	Diag        Diag   // why we last left Up or Init, as we tell the remote system
	RemoteDiag  Diag   // of the last packet of the remote system
	Reason      Reason // why State was entered
	RemoteC     bool   // Control Plane Independent bit of the last packet received

	Discr, RemoteDiscr uint32 // discriminators; RemoteDiscr is 0 while unknown

	DesiredMinTx  time.Duration // as configured
	RequiredMinRx time.Duration // as configured
	Multiplier    uint8         // as configured

	RemoteMinTx      time.Duration // remote Desired Min TX Interval
	RemoteMinRx      time.Duration // remote Required Min RX Interval
	RemoteMultiplier uint8         // Detect Mult of the last packet

	TxInterval time.Duration // negotiated, before jitter; 0: nothing periodic is sent
	DetectTime time.Duration // a session Up that hears nothing for so long goes Down; 0: not watched

	Since    time.Time // when State was entered
	Downs    uint64    // how often the session left Up
	Sent     uint64    // packets sent
	Received uint64    // packets accepted
	Refused  uint64    // packets that reached the session and failed its checks
	Unsent   uint64    // packets that found no room in the send buffer of their socket, in this process; not in Sent

	// Err says what the session lacks, if it cannot run for now; it is tried again.
	Err string
}

// String returns the session, its state and what matters of it.
func (s Status) String() string {
	text := fmt.Sprintf("%v: %v since %v (%v; diag %d), remote %v (diag %d), discriminators %d and %d, sending every %v, detection time %v, %d downs, %d sent, %d received, %d refused",
		s.Key, s.State, s.Since.Format("15:04:05.000000"), s.Reason, s.Diag, s.RemoteState, s.RemoteDiag, s.Discr, s.RemoteDiscr,
		s.TxInterval, s.DetectTime, s.Downs, s.Sent, s.Received, s.Refused)
	if s.Unsent > 0 {
		text += fmt.Sprintf(", %d unsent", s.Unsent)
	}
	if s.Err != "" {
		text += ": " + s.Err
	}
	return text
}

// Event says that a session changed state. Events of one session that a reader
// has not fetched yet are folded into the latest, except that a Down between two
// Ups is never hidden: the reader gets it before the second Up.
type Event struct {
	Key
	State      State  // the new state
	Diag       Diag   // our diagnostic
	RemoteDiag Diag   // the remote system's
	Reason     Reason // why State was entered
	// Err says what the session lacks, if Reason is ReasonUnavailable.
	Err string
	// RemoteC is the remote system's Control Plane Independent bit: its BFD does
	// not share fate with its control plane (RFC 5882, Section 4.3).
	RemoteC bool
	Time    time.Time // when it happened, to the nanosecond
	Downs   uint64    // how often the session left Up so far
	// Removed is true of the last event of a session: it no longer exists.
	Removed bool
	// Failover reports what became of the session's next-hop objects. Such an event comes
	// after the Down that caused it and repeats the state, which may be Up again.
	Failover []FailoverResult
}

// String returns the session, its state and why.
func (e Event) String() string {
	text := fmt.Sprintf("%v: %v at %v", e.Key, e.State, e.Time.Format("15:04:05.000000"))
	if e.Reason != ReasonNone {
		text += fmt.Sprintf(" (%v; diag %d, remote %d)", e.Reason, e.Diag, e.RemoteDiag)
	}
	if e.Err != "" {
		text += ": " + e.Err
	}
	if e.Removed {
		text += ", removed"
	}
	for _, f := range e.Failover {
		text += fmt.Sprintf(", next hop %d deleted: %v %s", f.ID, f.Deleted, f.Err)
	}
	return text
}

// FailoverResult is the fate of one next-hop object after its session went Down.
type FailoverResult struct {
	ID      uint32        // NHA_ID
	Deleted bool          // the object is gone; else Err says why not
	Err     string        // why it was left alone; empty if Deleted
	Took    time.Duration // from the Down to the kernel's answer
}
