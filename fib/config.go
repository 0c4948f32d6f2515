package fib

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Numbers that hyperfib uses unless a [Config] says otherwise.
const (
	// DefaultProtocol is the rtm_protocol of routes, rules (FRA_PROTOCOL) and
	// next-hop objects that this package owns. 201 is not taken in
	// iproute2's rt_protos.
	DefaultProtocol = 201
	// DefaultPersistentProtocol is the rtm_protocol of routes with Persistent set.
	DefaultPersistentProtocol = 202
	// DefaultNextHopBase is the first next-hop object id of the owned range:
	// "HF" in the upper half.
	DefaultNextHopBase = 0x48460000
	// DefaultNextHopCount is how many ids the owned range has.
	DefaultNextHopCount = 1 << 20
)

// Config says what a [FIB] works on. It is passed by value and checked once, in
// [New]. The zero value is complete.
type Config struct {
	// NetNS is the path of the network namespace, for example
	// "/run/netns/red". "" is the namespace of the process.
	NetNS string

	// Protocol is the rtm_protocol, FRA_PROTOCOL and nh_protocol of what this
	// FIB owns. 0 is DefaultProtocol. Everything in the kernel that carries it
	// counts as ours.
	Protocol uint8
	// PersistentProtocol is the rtm_protocol of persistent routes (see
	// [Route.Persistent]). 0 is DefaultPersistentProtocol.
	PersistentProtocol uint8

	// Tables limits ownership of routes to these tables. nil is every table.
	// Routes of our protocol in other tables are left alone, and SetRoute into
	// another table fails. [FIB.OwnTable] adds one later.
	Tables []uint32

	// NextHopBase and NextHopCount are the owned range of next-hop object
	// ids. 0 is DefaultNextHopBase and DefaultNextHopCount.
	NextHopBase, NextHopCount uint32
	// RTAMultipath keeps ECMP routes as RTA_MULTIPATH in every route instead of by
	// next-hop group. It is implied when the kernel has no next-hop objects
	// (before Linux 5.3).
	RTAMultipath bool

	// OnForeign says what happens when another program's route sits under the
	// key of a desired one, and was there first. The zero value is ForeignRefuse.
	// One that took the place of ours, be it that its program replaced ours or
	// deleted it before, is replaced in any case.
	OnForeign ForeignPolicy

	// DryRun reads the kernel and computes differences, but writes nothing;
	// see [FIB.Diff].
	DryRun bool

	// Audit is how often sysctls and the proxy entries of the neighbour tables are compared,
	// for changes that the kernel does not tell about: those of all and default each time,
	// those of interfaces in turn, 32 of them at a time. 0 is 5 s, negative is never.
	Audit time.Duration

	// AuditRound is how often everything else is read again, a bit at a time: interfaces, addresses,
	// rules, neighbours, next-hop objects and routes. What differs from what notifications have told is
	// an EventDifference, and is repaired as if it had been notified. Reading takes at most a hundredth
	// of the time: a round over a million routes takes longer. 0 is 30 s, negative is never.
	AuditRound time.Duration

	// BatchMessages bounds the netlink messages in one sendmsg(2). 0 is 500: if
	// all fail, all replies fit into the socket's receive buffer, and a failover
	// waits for one batch at most, that is 0.5 to 2 ms. The kernel takes and
	// releases RTNL for each message anyway.
	BatchMessages int
}

// ForeignPolicy is what to do about a route of another protocol under the key
// of a desired route. IPv4's NLM_F_REPLACE would take such a route over without
// a word.
//
// A foreign route that replaces one of ours later on is another matter: that is
// a foreign change of our route, which is always repaired.
type ForeignPolicy uint8

const (
	// ForeignRefuse leaves the foreign route, reports an [Error] with
	// [ErrForeign], and does not try again until the route is set again.
	ForeignRefuse ForeignPolicy = iota
	// ForeignWait leaves the foreign route, reports [ErrForeign], and writes
	// ours when the foreign one is gone.
	ForeignWait
	// ForeignTake replaces the foreign route and reports an event.
	ForeignTake
)

func (c Config) withDefaults() (Config, error) {
	c.Protocol = cmp.Or(c.Protocol, DefaultProtocol)
	c.PersistentProtocol = cmp.Or(c.PersistentProtocol, DefaultPersistentProtocol)
	c.NextHopBase = cmp.Or(c.NextHopBase, DefaultNextHopBase)
	c.NextHopCount = cmp.Or(c.NextHopCount, DefaultNextHopCount)
	c.Audit = cmp.Or(c.Audit, 5*time.Second)
	c.AuditRound = cmp.Or(c.AuditRound, 30*time.Second)
	c.BatchMessages = cmp.Or(c.BatchMessages, 500)
	switch {
	case c.Protocol == c.PersistentProtocol:
		return c, fmt.Errorf("fib: Protocol and PersistentProtocol are both %d", c.Protocol)
	case c.Protocol <= rtnl.RTPROT_STATIC || c.PersistentProtocol <= rtnl.RTPROT_STATIC:
		return c, fmt.Errorf("fib: protocols up to %d belong to the kernel and the administrator", rtnl.RTPROT_STATIC)
	case c.NextHopBase+c.NextHopCount < c.NextHopBase:
		return c, fmt.Errorf("fib: next-hop ids from %#x overflow", c.NextHopBase)
	case c.BatchMessages < 0:
		return c, fmt.Errorf("fib: BatchMessages is negative")
	case c.OnForeign > ForeignTake:
		return c, fmt.Errorf("fib: unknown ForeignPolicy %d", c.OnForeign)
	}
	return c, nil
}
