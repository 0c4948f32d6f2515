package fibcore

import (
	"fmt"
	"net/netip"
	"time"
)

// Sysctl is a desired value below /proc/sys.
type Sysctl struct {
	Path  string // relative to /proc/sys, with slashes
	Value string // without newline
}

// String formats the value as sysctl(8) does, with the path: `net/ipv4/ip_forward = 1`.
func (s Sysctl) String() string { return s.Path + " = " + s.Value }

// NextHopID is the id of a next-hop object or group (NHA_ID).
type NextHopID uint32

// String formats the id as `next-hop object 0x48460000`.
func (id NextHopID) String() string { return fmt.Sprintf("next-hop object %#x", uint32(id)) }

// NextHopObject is a next-hop object of ours in the kernel.
type NextHopObject struct {
	ID      uint32
	Gateway netip.Addr
	IfIndex int
}

// Gateway is a gateway of desired routes with several next hops.
type Gateway struct {
	IfIndex int
	Gateway netip.Addr
	Down    bool // says SetGateway
}

// Stats are counters since New, and sizes now.
type Stats struct {
	Desired, Installed, Held, Failed, Foreign, Stale int // routes now

	Adds, Replaces, Deletes uint64 // route messages sent
	ObjectWrites            uint64 // next-hop messages sent
	RuleWrites              uint64 // rule messages sent
	OtherWrites             uint64 // address and neighbour messages, sysctls
	Errors                  uint64 // refused by the kernel
	Repairs                 uint64 // put back after foreign interference
	Notifications           uint64 // read from the monitor socket
	Resyncs                 uint64 // because notifications or replies were lost

	AuditRounds uint64        // that are complete
	AuditTime   time.Duration // that they have taken, and the one under way
	Differences uint64        // that audits have found
}

// Difference is one line of Diff.
type Difference struct {
	// Op is "add", "replace", "delete" or "held".
	Op string
	// Key names the object as in [Error].
	Key any
	// Want and Have describe it in words; "" is absent.
	Want, Have string
}
