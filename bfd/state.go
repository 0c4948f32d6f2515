package bfd

import (
	"github.com/hyperfib/hyperfib/internal/enum"
)

// State is the state of one side of a session, as the Sta field carries it
// (RFC 5880, Section 4.1).
type State uint8

// The states of RFC 5880, Section 6.2. The zero State is AdminDown.
const (
	StateAdminDown State = iota // held down by an operator; says nothing about the path
	StateDown                   // no communication yet, or lost
	StateInit                   // the remote end is heard, but does not hear us yet
	StateUp                     // both ends hear each other
)

var stateNames = [...]string{"AdminDown", "Down", "Init", "Up"}

// String returns the name that RFC 5880, Section 6.2, has for the state.
func (s State) String() string { return enum.String("State", stateNames[:], s) }

// Diag is the diagnostic code that a system sends to say why its session last
// went to Down or AdminDown (RFC 5880, Section 4.1).
type Diag uint8

// Diagnostic codes of RFC 5880, Section 4.1.
const (
	DiagNone              Diag = 0 // no diagnostic
	DiagExpired           Diag = 1 // control detection time expired
	DiagEchoFailed        Diag = 2 // echo function failed
	DiagNeighborDown      Diag = 3 // neighbor signaled session down
	DiagForwardingReset   Diag = 4 // forwarding plane reset
	DiagPathDown          Diag = 5 // path down
	DiagConcatPathDown    Diag = 6 // concatenated path down
	DiagAdminDown         Diag = 7 // administratively down
	DiagReverseConcatDown Diag = 8 // reverse concatenated path down
)

var diagNames = [...]string{"none", "control detection time expired", "echo function failed",
	"neighbor signaled session down", "forwarding plane reset", "path down", "concatenated path down",
	"administratively down", "reverse concatenated path down"}

// String returns the words of RFC 5880, Section 4.1.
func (d Diag) String() string { return enum.String("Diag", diagNames[:], d) }

// Reason says why a session left its previous state. It is finer than [Diag]: a
// remote AdminDown and a remote Down carry the same diagnostic, but only the
// latter may take routes away (RFC 5882, Section 4.2).
type Reason uint8

// Reasons of a state change. The zero Reason belongs to changes towards Up and
// to a session that has never left Down.
const (
	ReasonNone            Reason = iota
	ReasonExpired                // no packet for a detection time: the path or the remote system died
	ReasonNeighborDown           // the remote system says Down: it does not hear us, or it restarted
	ReasonRemoteAdminDown        // the remote system was taken down by its operator; the path may be well
	ReasonLocalAdminDown         // this session was taken down or removed here
	ReasonEchoFailed             // echo packets no longer come back
	ReasonUnavailable            // the session cannot run here for now, for example because its interface is missing; Err says why
)

var reasonNames = [...]string{"", "expired", "neighbor down", "remote admin down", "local admin down", "echo failed", "unavailable"}

// String returns a short lower-case phrase for people and logs.
func (r Reason) String() string {
	if r == ReasonNone {
		return ""
	}
	return enum.String("Reason", reasonNames[:], r)
}
