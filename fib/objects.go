package fib

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

// Address is a desired address of an interface. It is comparable; IfIndex and
// Prefix are the key.
type Address struct {
	// IfIndex is the interface index. If the interface is deleted and one of the same name
	// is made, the address follows the name.
	IfIndex int
	// Prefix is the address with its prefix length, host bits kept.
	Prefix netip.Prefix
	// Scope is universe if zero (IPv4: link for fe80::/10 and host for
	// loopback are the kernel's own choice in IPv6).
	Scope Scope
	// NoPrefixRoute keeps the kernel from adding the connected route.
	NoPrefixRoute bool
	// NoDAD skips duplicate address detection, IPv6 only.
	NoDAD bool
}

// Neighbor is a desired permanent entry of the neighbour table, or a proxy
// entry. It is comparable; IfIndex, Addr and Proxy are the key.
type Neighbor struct {
	// IfIndex is the interface index. If the interface is deleted and one of the same name
	// is made, the entry follows the name.
	IfIndex int
	Addr    netip.Addr
	// MAC is the link-layer address; not used by a proxy entry.
	MAC [6]byte
	// Proxy answers for Addr on the interface (NTF_PROXY).
	Proxy bool
}

// Sysctl is a desired value below /proc/sys, as seen from the namespace.
type Sysctl struct {
	// Path is relative to /proc/sys with slashes: an interface name may hold
	// dots. For example "net/ipv4/conf/eth0.90/forwarding".
	Path string
	// Value is what the file shall hold, without newline.
	Value string
}

// Link is the state of an interface as the kernel last notified it.
type Link struct {
	IfIndex   int
	Interface string
	MAC       [6]byte
	MTU       int
	Master    int // index of the bridge or VRF it belongs to; 0 none
	// AdminUp is IFF_UP; Carrier is IFF_LOWER_UP.
	AdminUp, Carrier bool
}

// Up reports whether packets can leave through the link.
func (l Link) Up() bool { return l.AdminUp && l.Carrier }

// HardwareAddr returns MAC as package net has it.
func (l Link) HardwareAddr() net.HardwareAddr { return net.HardwareAddr(l.MAC[:]) }

// NextHopID is the id of a next-hop object or group (NHA_ID).
type NextHopID uint32

// String formats the id as `next-hop object 0x48460000`.
func (id NextHopID) String() string { return fibcore.NextHopID(id).String() }

// NextHopObject is a next-hop object of ours in the kernel, of use for a program
// that must be able to remove a dead path without this process: see
// [FIB.NextHops]. An object may be deleted only if every group that has it keeps at least one
// member that is alive: the kernel removes an empty group with all its routes.
type NextHopObject struct {
	ID      uint32
	Gateway netip.Addr
	IfIndex int
}

// Gateway is a gateway of desired routes with several next hops; see [FIB.Gateways].
type Gateway struct {
	IfIndex int
	Gateway netip.Addr
	// Down is what GatewayDown said last.
	Down bool
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

	AuditRounds uint64        // that are complete: see [Config].AuditRound
	AuditTime   time.Duration // that reading for audits has taken
	Differences uint64        // that audits have found
}

// Difference is one line of [FIB.Diff].
type Difference struct {
	// Op is "add", "replace", "delete" or "held".
	Op string
	// Key names the object.
	Key Key
	// Want and Have describe it in words; "" is absent.
	Want, Have string
}

// String formats the status as `10.1.0.0/16 table 90: partial, 1 of 2 next hops`.
func (s RouteStatus) String() string {
	text := fmt.Sprintf("%v: %v", s.RouteKey, s.State)
	if len(s.NextHops) > 1 && s.State != StateInstalled {
		text += fmt.Sprintf(", %d of %d next hops", s.Active, len(s.NextHops))
	}
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

// String formats the line as `add 203.0.113.1/32 table 90: want ..., have ...`.
func (d Difference) String() string {
	return fmt.Sprintf("%s %v: want %s, have %s", d.Op, d.Key, cmp.Or(d.Want, "nothing"), cmp.Or(d.Have, "nothing"))
}
