package bgp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// PeerStatus describes a peer at one moment. It is a value, safe to keep.
type PeerStatus struct {
	Key         PeerKey // names the peer
	Description string  // as configured
	// Dynamic: the peer came from a range.
	Dynamic bool
	// Client: the peer is our route reflector client.
	Client bool
	// State is the farthest state of the peer's connections.
	State State
	// Since is when State was entered.
	Since time.Time
	// AS and RouterID are the peer's; RouterID is zero before the first OPEN.
	AS       uint32
	RouterID netip.Addr // as its OPEN says
	// Local and Remote are the ends of the connection of the session, or of the one that waits for
	// BFD; zero if there is none.
	Local, Remote netip.AddrPort
	// Negotiated is set while the session is Established.
	Negotiated *fsm.Negotiated
	// Families has one entry for each configured family.
	Families []FamilyStatus
	// Sent and Received count messages since the peer was added.
	Sent, Received MessageCounters
	// Established counts how often the session came up; Attempts counts failures
	// since the last session that lasted.
	Established, Attempts int
	// Plain is why our last OPEN had no capabilities: the NOTIFICATION by which the
	// peer said that it knows none (RFC 5492, Section 3). Nil if it had them.
	Plain *PeerError
	// BFDWait is set while the session waits for BFD: see [PeerConfig].BFDStrict.
	BFDWait *BFDWait
	// LastError is why the last connection or session ended, nil if none did. A
	// connection that gave way to another of the same peer does not count. Nor does one that
	// ended without a NOTIFICATION before its session was up, if the end before it had one: a
	// peer that refuses us and closes the next connection at once, or resets it, refuses us
	// still. An attempt to connect that fails counts.
	LastError *PeerError
	// ListenError is why the peer cannot connect to us now, nil if it can or if we listen nowhere for
	// it. A session that we dial can be Established meanwhile.
	ListenError *ListenError
	// LastLimit is why a prefix limit ended a session last, nil if it never did.
	// RefusedUntil is until when the peer stays out because of that, zero if it does
	// not.
	LastLimit    *PeerError
	RefusedUntil time.Time // zero: it may come
	// LastSent and LastReceived are the last NOTIFICATIONs in each direction.
	LastSent, LastReceived *PeerError
	// Restart is what graceful restart does for the peer now.
	Restart RestartStatus
	// MissingPolicy says that the session, which is Established, exchanges nothing in one
	// direction or both, because the peer is external and has no policy (RFC 8212, Section 3).
	MissingPolicy MissingPolicy
	// PathDown: the last word about the peer was [Speaker.PathDown] rather than
	// PathUp.
	PathDown bool

	endOfRIB [len(families)]time.Time // when it came, by family; zero: not yet
}

// BFDWait is the wait of a session for BFD.
type BFDWait struct {
	// Since is when a connection had to wait for the first time since the last session.
	Since time.Time
	// Until is how long this connection may wait; zero if BFD is Up.
	Until time.Time
	// HeldDown, if BFD is Up, is until when it must have been Up: BFDStrict.HoldDown, or more
	// after flaps ([fsm.HoldDownMax]). Else zero.
	HeldDown time.Time
}

var noAddrPort netip.AddrPort

// FamilyStatus counts the routes of one family of a peer.
type FamilyStatus struct {
	Family wire.Family // of these figures
	// Counters are those of the Adj-RIB-In: paths held, stale ones, and how many
	// were refused or dropped, and why. Counted and Limit say how much of PrefixLimit
	// is used up, Refused how much was blocked.
	rib.Counters
	PrefixLimit rib.PrefixLimit // the limit and what of it is used
	// NoNextHop is how many prefixes have a path that this session would be sent, but
	// cannot: it has no next hop of the family, and the session none of its own (see
	// [PeerConfig].NextHop6). TooLong is the same for attributes that are longer than a
	// message.
	NoNextHop, TooLong int
	// EndOfRIB is when the peer's End-of-RIB came in this session, zero before.
	EndOfRIB time.Time
}

// MessageCounters counts messages by type.
type MessageCounters struct {
	Open, Update, Notification, Keepalive, RouteRefresh uint64 // messages by type
	// Octets is the number of octets of all of them.
	Octets uint64
}

// Total returns the number of messages of all types.
func (m MessageCounters) Total() uint64 {
	return m.Open + m.Update + m.Notification + m.Keepalive + m.RouteRefresh
}

func (m *MessageCounters) count(t wire.MessageType, octets int) {
	m.Octets += uint64(octets)
	switch t {
	case wire.TypeOpen:
		m.Open++
	case wire.TypeUpdate:
		m.Update++
	case wire.TypeNotification:
		m.Notification++
	case wire.TypeKeepalive:
		m.Keepalive++
	case wire.TypeRouteRefresh:
		m.RouteRefresh++
	}
}
