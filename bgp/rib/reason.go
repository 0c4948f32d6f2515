package rib

import (
	"encoding/json"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Reason says why a path was refused or dropped.
type Reason uint8

// Reasons. The zero value is none.
const (
	_ Reason = iota
	// Malformed: an attribute was malformed, the paths count as withdrawn
	// (RFC 7606, treat-as-withdraw).
	Malformed
	// NotUnicast: the prefix names no unicast destination.
	NotUnicast
	// ASLoop: our AS is in AS_PATH (RFC 4271, Section 9.1.2).
	ASLoop
	// OriginatorLoop: ORIGINATOR_ID is our router id (RFC 4456, Section 8).
	OriginatorLoop
	// ClusterLoop: our cluster id is in CLUSTER_LIST (RFC 4456, Section 8).
	ClusterLoop
	// NextHopNotOnLink: the next hop is not on a connected network; see [OnLink].
	NextHopNotOnLink
	// OwnNextHop: the next hop is our own address of the session (RFC 4271, Section 5.1.3).
	OwnNextHop
	// LinkLocalNextHop: the next hop is a link-local address alone, and the session is on no
	// link: that address means nothing here (RFC 2545, Section 3).
	LinkLocalNextHop
	// Rejected: the import policy rejected it.
	Rejected
	// TableFull: there is no room for another prefix.
	TableFull
	// OverLimit: the peer has announced as much as it may; see [PrefixLimit].
	OverLimit
	// TooManyPaths: the prefix has 65535 paths already.
	TooManyPaths
	// SessionEnded: the peer's session ended, or its In was closed.
	SessionEnded
	// NotRenewed: the peer came back but did not announce the path again before its
	// End-of-RIB, the end of its refresh, or the stale timer.
	NotRenewed
	// NoLongLived: the path may not become long-lived stale: it carries NO_LLGR
	// (RFC 9494, Section 4.2).
	NoLongLived
	// PathFailed: BFD or the interface says that the way to the peer is dead, and
	// another peer offers a path.
	PathFailed

	reasons
)

var reasonText = [reasons]string{
	Malformed: "malformed", NotUnicast: "not unicast", ASLoop: "AS loop", OriginatorLoop: "originator loop",
	ClusterLoop: "cluster loop", NextHopNotOnLink: "next hop not on-link", OwnNextHop: "own next hop", LinkLocalNextHop: "link-local next hop", Rejected: "policy",
	TableFull: "table full", OverLimit: "prefix limit", TooManyPaths: "too many paths", SessionEnded: "session ended", NotRenewed: "not renewed", NoLongLived: "NO_LLGR",
	PathFailed: "path failed",
}

// String returns the reason in a few words, such as "AS loop".
func (r Reason) String() string { return enum.String("Reason", reasonText[:], r) }

// Counters counts what a peer announced in one family. Except for Paths and Stale they only
// grow, also over sessions.
type Counters struct {
	Paths int // accepted paths held now
	Stale int // of these, paths kept from a session that ended
	// Counted is what the peer has announced in this session and not withdrawn: what a
	// PrefixLimit counts. What was refused is among it only if there is a limit.
	Counted   int
	Limit     LimitState // how much of the limit that is
	Announced uint64
	Withdrawn uint64
	Refused   ReasonCounts // announced, but refused
	Dropped   ReasonCounts // accepted, but dropped later without a withdrawal
}

// ReasonCounts counts by [Reason].
type ReasonCounts [reasons]uint64

// Total is the sum over all reasons.
func (c *ReasonCounts) Total() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// MarshalJSON gives an object with the reasons that occurred, by name.
func (c ReasonCounts) MarshalJSON() ([]byte, error) {
	byName := map[string]uint64{}
	for r, n := range c {
		if n > 0 {
			byName[Reason(r).String()] = n
		}
	}
	return json.Marshal(byName)
}
