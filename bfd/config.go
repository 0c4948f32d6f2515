package bfd

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Key names a session. It is comparable; two clients that use the same Key share
// one session.
type Key struct {
	// Peer is the remote system's address. A link-local IPv6 address may carry
	// its interface as zone; [Key.Normal] moves it into Interface.
	Peer netip.Addr
	// Local is our address, and the source of our packets. Zero: the one that
	// the kernel would choose when the session is added.
	Local netip.Addr
	// Interface ties the session to a link: packets leave by it, and only
	// packets that came in by it are taken. That of a VRF stands for all interfaces
	// that belong to the VRF. Empty: whatever the routing says. Link-local peers need it.
	//
	// The interface is followed by its name: one that is missing may come later, and
	// one that was deleted may come back.
	Interface string
	// NetNS is the path of the network namespace the session lives in, for
	// example "/run/netns/red". Empty: the namespace of the process. A session that is
	// Up stays in its namespace when the path is given to another one, until it is added
	// again or goes Down.
	NetNS string
	// Multihop makes it a session of RFC 5883, Section 5: UDP port 4784 and a minimum TTL
	// of the session's own choice instead of 255.
	Multihop bool
}

// String returns "local -> peer%interface", shortened where parts are zero.
func (k Key) String() string {
	var b strings.Builder
	if k.Local.IsValid() {
		b.WriteString(k.Local.String() + " -> ")
	}
	b.WriteString(k.Peer.String())
	if k.Interface != "" {
		b.WriteString("%" + k.Interface)
	}
	if k.Multihop {
		b.WriteString(" multihop")
	}
	if k.NetNS != "" {
		b.WriteString(" netns " + k.NetNS)
	}
	return b.String()
}

// compareKeys orders keys, by family and address first.
func compareKeys(a, b Key) int {
	return cmp.Or(a.Peer.Compare(b.Peer), a.Local.Compare(b.Local), strings.Compare(a.Interface, b.Interface),
		strings.Compare(a.NetNS, b.NetNS), int(bit(a.Multihop, 1))-int(bit(b.Multihop, 1)))
}

// Normal returns the key in the form that [Service] compares and reports: IPv4
// addresses unmapped, an IPv6 zone moved into Interface.
func (k Key) Normal() Key {
	k.Interface = cmp.Or(k.Interface, k.Peer.Zone(), k.Local.Zone())
	k.Peer = k.Peer.Unmap().WithZone("")
	k.Local = k.Local.Unmap().WithZone("")
	return k
}

// Defaults of [SessionConfig], used where it says zero.
const (
	DefaultInterval   = 100 * time.Millisecond
	DefaultMultiplier = 5
)

// SessionConfig is what a client wants of a session.
type SessionConfig struct {
	Key

	// DesiredMinTx is how often we want to send while Up, on the wire in
	// microseconds. The remote system may ask for less. Zero: DefaultInterval.
	DesiredMinTx time.Duration
	// RequiredMinRx is how often we are able to receive. Zero: DefaultInterval;
	// negative: the remote system shall send no periodic packets at all (0 on
	// the wire).
	RequiredMinRx time.Duration
	// Multiplier is the number of packets that may be missed in a row: our
	// Detect Mult. Zero: DefaultMultiplier.
	Multiplier uint8
	// Passive sends nothing before the remote system was heard (RFC 5880,
	// Section 6.1).
	Passive bool
	// AdminDown holds the session in AdminDown, which it signals to the remote system.
	AdminDown bool
	// MinTTL is the least TTL or hop limit accepted on a multihop session. Zero:
	// any. Single-hop sessions always require 255 (RFC 5881, Section 5).
	MinTTL uint8
	// Echo makes it an unaffiliated echo session (RFC 9747, Section 2): the peer need not
	// speak BFD, it only has to forward our packets back to us. Needs Local and
	// Interface; DesiredMinTx and Multiplier count, the rest of the fields of
	// the protocol does not.
	Echo bool
	// Auth authenticates every packet (RFC 5880, Section 6.7). Zero: none.
	Auth Auth
	// Failover lists the next-hop objects of the kernel that die with this
	// session. Adding the session again replaces the list as a whole.
	Failover []NextHop
}

// NextHop is a next-hop object of the kernel (RTM_NEWNEXTHOP) that may be
// deleted on the spot when the session which watches it goes Down, so that the
// groups it is a member of shrink to what still works.
type NextHop struct {
	ID      uint32     // NHA_ID
	IfIndex int        // interface index the object must still have (NHA_OIF)
	Gateway netip.Addr // gateway the object must still have (NHA_GATEWAY)
	// Guards are the sessions that watch the alternatives. The object is deleted
	// only while one of them is Up, and never if a group would lose its last
	// member that way. Empty: only the second condition.
	Guards []Key
}

// ConfigError says which field of a [SessionConfig] or [Config] cannot be.
type ConfigError struct {
	Field  string // name of the field
	Reason string // what is wrong with it
}

// Error implements error.
func (e *ConfigError) Error() string { return "bfd: " + e.Field + ": " + e.Reason }

// maxInterval keeps every interval in the 32 bits of microseconds on the wire.
const maxInterval = 0xffff_ffff * time.Microsecond

// Check returns the error that [Service].Add would return for the config: nil, or a
// *[ConfigError].
func (c SessionConfig) Check() error { return c.check() }

// check fills in the defaults, brings the key into its normal form and says
// what is wrong.
func (c *SessionConfig) check() error {
	c.Key = c.Key.Normal()
	switch {
	case !c.Peer.IsValid():
		return &ConfigError{"Peer", "is missing"}
	case !unicast(c.Peer):
		return &ConfigError{"Peer", c.Peer.String() + " is no unicast address"}
	case c.Local.IsValid() && !unicast(c.Local):
		return &ConfigError{"Local", c.Local.String() + " is no unicast address"}
	case c.Local.IsValid() && c.Local.Is4() != c.Peer.Is4():
		return &ConfigError{"Local", "another address family than Peer"}
	case c.Local == c.Peer:
		return &ConfigError{"Local", "is the address of Peer"}
	case !linkName(c.Interface):
		return &ConfigError{"Interface", fmt.Sprintf("%q is no name of an interface", c.Interface)}
	case strings.ContainsRune(c.NetNS, 0) || len(c.NetNS) >= unix.PathMax:
		return &ConfigError{"NetNS", fmt.Sprintf("%q is no path", c.NetNS)}
	case c.Peer.IsLinkLocalUnicast() && c.Peer.Is6() && c.Interface == "":
		return &ConfigError{"Interface", "a link-local peer needs it"}
	case c.Echo && (c.Interface == "" || !c.Local.IsValid() || c.Multihop):
		return &ConfigError{"Echo", "needs Local and Interface, and one hop"}
	}
	return c.checkTimers()
}

// unicast reports whether a may be the address of one system. The limited broadcast
// address is no multicast address.
func unicast(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// linkName reports whether the kernel could have an interface of that name, or whether it
// is empty (dev_valid_name in the kernel).
func linkName(name string) bool {
	return len(name) < unix.IFNAMSIZ && name != "." && name != ".." && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r == ':' || r == 0 || unicode.IsSpace(r)
	})
}

// checkTimers is check for what concerns the state machine alone.
func (c *SessionConfig) checkTimers() error {
	c.DesiredMinTx = cmp.Or(c.DesiredMinTx, DefaultInterval)
	c.RequiredMinRx = max(-1, cmp.Or(c.RequiredMinRx, DefaultInterval))
	c.Multiplier = cmp.Or(c.Multiplier, DefaultMultiplier)
	if c.DesiredMinTx < time.Millisecond || c.DesiredMinTx > maxInterval {
		return &ConfigError{"DesiredMinTx", "not between 1 ms and 4294 s"}
	}
	if c.RequiredMinRx >= 0 && c.RequiredMinRx < time.Millisecond || c.RequiredMinRx > maxInterval {
		return &ConfigError{"RequiredMinRx", "not between 1 ms and 4294 s"}
	}
	return c.Auth.check()
}

// ErrClosed is returned once the service has ended.
var ErrClosed = errors.New("bfd: service closed")

// ErrNoSession is returned by Remove for a key that names no session.
var ErrNoSession = errors.New("bfd: no such session")
