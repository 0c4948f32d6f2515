package wire

import (
	"fmt"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// ErrorCode is the error code of a NOTIFICATION (RFC 4271, Section 4.5).
type ErrorCode uint8

// Error codes: of RFC 4271, Section 4.5, unless another source is named.
const (
	CodeHeader       ErrorCode = 1
	CodeOpen         ErrorCode = 2
	CodeUpdate       ErrorCode = 3
	CodeHoldTimer    ErrorCode = 4
	CodeFSM          ErrorCode = 5
	CodeCease        ErrorCode = 6
	CodeRouteRefresh ErrorCode = 7 // RFC 7313, Section 5
	CodeSendHold     ErrorCode = 8 // RFC 9687, Section 4.3
)

// Subcodes of CodeHeader (RFC 4271, Section 6.1).
const (
	SubNotSynchronized uint8 = 1
	SubBadLength       uint8 = 2
	SubBadType         uint8 = 3
)

// Subcodes of CodeOpen: of RFC 4271, Section 6.2, unless another source is named.
const (
	SubVersion               uint8 = 1
	SubBadPeerAS             uint8 = 2
	SubBadID                 uint8 = 3
	SubOptionalParameter     uint8 = 4
	SubHoldTime              uint8 = 6
	SubUnsupportedCapability uint8 = 7  // RFC 5492, Section 5
	SubRoleMismatch          uint8 = 11 // RFC 9234, Section 4.2
)

// Subcodes of CodeUpdate (RFC 4271, Section 6.3).
const (
	SubMalformedAttributes uint8 = 1
	SubUnknownWellKnown    uint8 = 2
	SubMissingWellKnown    uint8 = 3
	SubAttributeFlags      uint8 = 4
	SubAttributeLength     uint8 = 5
	SubOrigin              uint8 = 6
	SubNextHop             uint8 = 8
	SubOptionalAttribute   uint8 = 9
	SubNetwork             uint8 = 10
	SubASPath              uint8 = 11
)

// Subcodes of CodeFSM (RFC 6608, Section 3).
const (
	SubFSMOpenSent    uint8 = 1
	SubFSMOpenConfirm uint8 = 2
	SubFSMEstablished uint8 = 3
)

// Subcodes of CodeCease (RFC 4486, Section 3; RFC 8538, Section 3; RFC 9384, Section 3).
const (
	SubMaxPrefixes   uint8 = 1
	SubShutdown      uint8 = 2
	SubDeconfigured  uint8 = 3
	SubReset         uint8 = 4
	SubRejected      uint8 = 5
	SubConfigChanged uint8 = 6
	SubCollision     uint8 = 7
	SubResources     uint8 = 8
	SubHardReset     uint8 = 9
	SubBFDDown       uint8 = 10
)

// SubRefreshLength is the subcode of CodeRouteRefresh (RFC 7313, Section 5).
const SubRefreshLength uint8 = 1

var codeNames = [...]string{
	CodeHeader: "Message Header Error", CodeOpen: "OPEN Message Error", CodeUpdate: "UPDATE Message Error",
	CodeHoldTimer: "Hold Timer Expired", CodeFSM: "Finite State Machine Error", CodeCease: "Cease",
	CodeRouteRefresh: "ROUTE-REFRESH Message Error", CodeSendHold: "Send Hold Timer Expired",
}

var subcodeNames = [...][]string{
	CodeHeader: {1: "Connection Not Synchronized", 2: "Bad Message Length", 3: "Bad Message Type"},
	CodeOpen: {1: "Unsupported Version Number", 2: "Bad Peer AS", 3: "Bad BGP Identifier", 4: "Unsupported Optional Parameter",
		5: "Authentication Failure", 6: "Unacceptable Hold Time", 7: "Unsupported Capability", 11: "Role Mismatch"},
	CodeUpdate: {1: "Malformed Attribute List", 2: "Unrecognized Well-known Attribute", 3: "Missing Well-known Attribute",
		4: "Attribute Flags Error", 5: "Attribute Length Error", 6: "Invalid ORIGIN Attribute", 7: "AS Routing Loop",
		8: "Invalid NEXT_HOP Attribute", 9: "Optional Attribute Error", 10: "Invalid Network Field", 11: "Malformed AS_PATH"},
	CodeFSM: {1: "Unexpected Message in OpenSent State", 2: "Unexpected Message in OpenConfirm State",
		3: "Unexpected Message in Established State"},
	CodeCease: {1: "Maximum Number of Prefixes Reached", 2: "Administrative Shutdown", 3: "Peer De-configured",
		4: "Administrative Reset", 5: "Connection Rejected", 6: "Other Configuration Change",
		7: "Connection Collision Resolution", 8: "Out of Resources", 9: "Hard Reset", 10: "BFD Down"},
	CodeRouteRefresh: {1: "Invalid Message Length"},
	CodeSendHold:     {},
}

// String returns the name that the RFCs give to c.
func (c ErrorCode) String() string { return enum.String("ErrorCode", codeNames[:], c) }

// SubcodeString returns the name that the RFCs give to subcode s of c: "" for 0,
// "subcode N" for one without a name.
func (c ErrorCode) SubcodeString(s uint8) string {
	if int(c) < len(subcodeNames) && int(s) < len(subcodeNames[c]) && subcodeNames[c][s] != "" {
		return subcodeNames[c][s]
	}
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("subcode %d", s)
}
