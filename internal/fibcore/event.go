package fibcore

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// EventKind says what happened.
type EventKind uint8

// The kinds of events; package fib says which fields each of them fills.
const (
	EventError       EventKind = iota
	EventRepair                // something of ours was put back
	EventResync                // everything was read again
	EventSynced                // everything was read for the first time
	EventLink                  // an interface is new, or its state is another
	EventLinkGone              // an interface was deleted
	EventAddress               // an address came or went
	EventGatewayDown           // next-hop objects of a dead gateway have left the kernel
	EventNextHops              // NextHops has a new answer, or Gateways
	EventLost                  // events were dropped; the shell's own
	EventWrite                 // a change was written; see ReportWrites
	EventContended             // repairs come later from now on
	EventDifference            // the audit has found what no notification had told
)

var eventNames = [...]string{"error", "repair", "resync", "synced", "link", "link-gone", "address",
	"gateway-down", "next-hops", "lost", "write", "contended", "difference"}

func (k EventKind) String() string { return enum.String("EventKind", eventNames[:], k) }

// Reason is why something was written, or why next-hop objects have left the kernel.
type Reason uint8

// The reasons; package fib documents them.
const (
	ReasonNone Reason = iota
	ReasonDesired
	ReasonSwept
	ReasonRepair
	ReasonTake
	ReasonGateway
	ReasonForeign
)

var reasonNames = [...]string{"none", "desired", "swept", "repair", "take", "gateway", "foreign"}

func (r Reason) String() string { return enum.String("Reason", reasonNames[:], r) }

// Event is something that has happened.
type Event struct {
	Kind      EventKind
	Time      time.Time // of the input that the event came with
	Op        string    // "add", "replace" or "delete"
	Key       any       // as in [Error]
	Reason    Reason
	Err       error
	Link      wire.Link
	Gateway   netip.Addr
	Addr      netip.Prefix
	Scope     wire.Scope
	Permanent bool // the address has no lifetime
	Gone      bool
	Count     int
	Protocol  uint8  // of who changed what is repaired
	Port      uint32 // the netlink port of who changed it; 0 is the kernel itself
}

// origin is who made a change, as a notification says.
type origin struct {
	proto uint8
	port  uint32
}
