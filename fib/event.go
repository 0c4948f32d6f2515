package fib

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

// EventKind says what happened.
type EventKind uint8

const (
	// EventError: the kernel refused something, or a foreign route is in the
	// way. Err is set.
	EventError EventKind = iota
	// EventRepair: another program changed or removed something of ours; it was
	// put back. Key names it. With ReasonTake it is a foreign route that was
	// replaced as Config.OnForeign says.
	EventRepair
	// EventResync: notifications were lost; the kernel was read anew.
	EventResync
	// EventSynced: the first complete read of the kernel is done.
	EventSynced
	// EventLink: a link appeared, or its state changed. Link is set.
	EventLink
	// EventLinkGone: a link was deleted. Link is set.
	EventLinkGone
	// EventAddress: an address appeared on, or with Gone disappeared from, a
	// link. Link.IfIndex, Addr, Scope and Permanent are set. Ours and foreign ones alike.
	EventAddress
	// EventGatewayDown: next-hop objects of a dead gateway left the kernel;
	// by us, by the loss of a link, or by another program. Link.IfIndex and
	// Gateway are set.
	EventGatewayDown
	// EventNextHops: what [FIB.NextHops] returns has changed, or which gateways [FIB.Gateways]
	// returns.
	EventNextHops
	// EventLost: the reader was too slow, and Count events were dropped.
	EventLost
	// EventWrite: a change was written to the kernel; only with
	// [WatchOptions.Writes]. Op, Key and Reason are set.
	EventWrite
	// EventContended: another program undoes our repairs of Key again and again. From now on
	// they come at growing intervals, up to 30 s, until there has been peace for a while.
	// Protocol and Port say who.
	EventContended
	// EventDifference: the audit (see [Config].AuditRound) has read something that no notification had told.
	// Op is "missing", "changed", "extra" for what nobody knew of, or "stolen" for a route of another
	// program in the place of ours. Key names the object, or Link the interface; Protocol is that of what was
	// found. If there is something to repair, an EventRepair follows.
	EventDifference
)

func (k EventKind) String() string { return fibcore.EventKind(k).String() }

// Reason is why something was written, or why next-hop objects have left the kernel.
type Reason uint8

const (
	// ReasonNone: the event has no reason.
	ReasonNone Reason = iota
	// ReasonDesired: the user has asked for it.
	ReasonDesired
	// ReasonSwept: it was left from an earlier run, and nothing asked for it until Sweep.
	ReasonSwept
	// ReasonRepair: another program had changed or removed it.
	ReasonRepair
	// ReasonTake: it has replaced a foreign route, as [Config].OnForeign says.
	ReasonTake
	// ReasonGateway: GatewayDown was called.
	ReasonGateway
	// ReasonForeign: another program has deleted the objects, or the kernel with a link.
	ReasonForeign
)

func (r Reason) String() string { return fibcore.Reason(r).String() }

// Event is something an operator wants in the log, or a program wants to act on.
type Event struct {
	Kind EventKind
	Time time.Time
	// Op is "add", "replace" or "delete" for EventRepair and EventWrite; see EventDifference.
	Op string
	// Key names the object of EventRepair, EventWrite, EventContended, EventDifference and EventError; nil
	// for other kinds, for an EventError that is about no object, such as a failed dump, and for an
	// EventDifference about an interface.
	Key Key
	// Reason says why something was written, of EventRepair, EventWrite and
	// EventGatewayDown.
	Reason  Reason
	Err     error
	Link    Link
	Gateway netip.Addr
	Addr    netip.Prefix
	Scope   Scope
	// Permanent: the address has no lifetime (IFA_F_PERMANENT). Those of router
	// advertisements and of most DHCP clients have one.
	Permanent bool
	Gone      bool
	Count     int
	// Protocol and Port say who changed what is repaired: the protocol number in the
	// change (rtm_protocol and its like; 0 if it has none, as a deletion), and the netlink
	// port id of the socket that asked for it, which mostly is the process's id; 0 is the
	// kernel itself, or anybody if Key is an IPv6 address, of which the kernel does not say.
	Protocol uint8
	Port     uint32
}
