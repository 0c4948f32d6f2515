package bgp

import "github.com/hyperfib/hyperfib/internal/enum"

// PathFailure is why a path to a peer is held for dead, or not.
type PathFailure uint8

// Reasons for [Speaker.PathDown].
const (
	// PathFailureBFDDown: the BFD session went Down because its detection time expired or
	// the other side signalled Down, and at least one side's BFD shares the fate
	// of its control plane (its C bit is clear).
	PathFailureBFDDown PathFailure = iota
	// PathFailureBFDDownIndependent: the same, where no control plane can have taken its BFD
	// along: the C bit is set on both sides, or on the other side while ours is
	// known to be alive. It was the forwarding path that failed (RFC 5882, Section
	// 4.3.1).
	PathFailureBFDDownIndependent
	// PathFailureBFDRemoteAdminDown: the other side took its BFD session down on purpose.
	// Nothing follows from it (RFC 5882, Section 4.2).
	PathFailureBFDRemoteAdminDown
	// PathFailureCarrierLost: the interface towards the peer is down.
	PathFailureCarrierLost
)

// String returns a short name.
func (f PathFailure) String() string {
	return enum.String("PathFailure", []string{"BFD down", "BFD down (independent)", "BFD remote admin down", "carrier lost"}, f)
}
