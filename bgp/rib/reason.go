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
	// ReasonMalformed: an attribute was malformed, the paths count as withdrawn
	// (RFC 7606, Section 2, treat-as-withdraw).
	ReasonMalformed
	// ReasonNotUnicast: the prefix names no unicast destination.
	ReasonNotUnicast
	// ReasonASLoop: our AS is in AS_PATH (RFC 4271, Section 9.1.2).
	ReasonASLoop
	// ReasonOriginatorLoop: ORIGINATOR_ID is our router id (RFC 4456, Section 8).
	ReasonOriginatorLoop
	// ReasonClusterLoop: our cluster id is in CLUSTER_LIST (RFC 4456, Section 8).
	ReasonClusterLoop
	// ReasonNextHopNotOnLink: the next hop is not on a connected network; see [OnLink].
	ReasonNextHopNotOnLink
	// ReasonOwnNextHop: the next hop is our own address of the session (RFC 4271, Section 5.1.3).
	ReasonOwnNextHop
	// ReasonLinkLocalNextHop: the next hop is a link-local address alone, and the session is on no
	// link: that address means nothing here (RFC 2545, Section 3).
	ReasonLinkLocalNextHop
	// ReasonRejected: the import policy rejected it.
	ReasonRejected
	// ReasonTableFull: there is no room for another prefix.
	ReasonTableFull
	// ReasonOverLimit: the peer has announced as much as it may; see [PrefixLimit].
	ReasonOverLimit
	// ReasonTooManyPaths: the prefix has 65535 paths already.
	ReasonTooManyPaths
	// ReasonSessionEnded: the peer's session ended, or its In was closed.
	ReasonSessionEnded
	// ReasonNotRenewed: the peer came back but did not announce the path again before its
	// End-of-RIB, the end of its refresh, or the stale timer.
	ReasonNotRenewed
	// ReasonNoLongLived: the path may not become long-lived stale: it carries NO_LLGR
	// (RFC 9494, Section 4.2).
	ReasonNoLongLived
	// ReasonPathFailed: BFD or the interface says that the way to the peer is dead, and
	// another peer offers a path.
	ReasonPathFailed
	// ReasonFirstAS: AS_PATH does not begin with the AS of the external peer (RFC 4271,
	// Section 6.3).
	ReasonFirstAS
	// ReasonRouteLeak: OTC says that the route has been sent to a customer or a peer, and it
	// comes from one (RFC 9234, Section 5).
	ReasonRouteLeak
	// ReasonNoPolicy: the peer is external and has no import policy (RFC 8212, Section 3).
	ReasonNoPolicy

	reasons
)

var reasonText = [reasons]string{
	ReasonMalformed: "malformed", ReasonNotUnicast: "not unicast", ReasonASLoop: "AS loop", ReasonOriginatorLoop: "originator loop",
	ReasonClusterLoop: "cluster loop", ReasonNextHopNotOnLink: "next hop not on-link", ReasonOwnNextHop: "own next hop", ReasonLinkLocalNextHop: "link-local next hop", ReasonRejected: "policy",
	ReasonTableFull: "table full", ReasonOverLimit: "prefix limit", ReasonTooManyPaths: "too many paths", ReasonSessionEnded: "session ended", ReasonNotRenewed: "not renewed", ReasonNoLongLived: "NO_LLGR",
	ReasonPathFailed: "path failed", ReasonFirstAS: "first AS", ReasonRouteLeak: "route leak", ReasonNoPolicy: "no policy",
}

// String returns the reason in a few words, such as "AS loop".
func (r Reason) String() string { return enum.String("Reason", reasonText[:], r) }

// Counters counts what a peer announced in one family. Except for Paths, Stale, Counted and NotKept they only
// grow, also over sessions.
type Counters struct {
	Paths int // accepted paths held now
	Stale int // of these, paths kept from a session that ended
	// Counted is what the peer has announced in this session and not withdrawn: what a
	// PrefixLimit counts. What was refused is among it only if there is a limit.
	Counted   int
	Limit     LimitState   // how much of the limit that is
	Announced uint64       // prefixes, as often as they came
	Withdrawn uint64       // prefixes, as often as they went
	Refused   ReasonCounts // announced, but refused
	NotKept   uint64       // the second result of In.Refused, which may become less
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

// MarshalJSON returns an object with the reasons that occurred, by name.
func (c ReasonCounts) MarshalJSON() ([]byte, error) {
	byName := map[string]uint64{}
	for r, n := range c {
		if n > 0 {
			byName[Reason(r).String()] = n
		}
	}
	return json.Marshal(byName)
}
