package bgp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// PeerError says why a connection or session with a peer ended. It is a value: it
// is kept in [PeerStatus] and sent with [Event].
type PeerError struct {
	// Peer is the peer concerned.
	Peer PeerKey
	// Time is when it happened.
	Time time.Time
	// State is the state in which it happened.
	State State
	// Sent and Received hold the NOTIFICATION that ended the connection, if one
	// did. At most one of them is set.
	Sent, Received *wire.Notification
	// Err is the reason if no NOTIFICATION was involved, or beside one that we
	// sent: a network error, a *wire.Error, an expired timer. May be nil.
	Err error
}

// Error returns one line.
func (e *PeerError) Error() string {
	s := fmt.Sprintf("bgp: peer %v: %v", e.Peer, e.State)
	switch {
	case e.Received != nil:
		s += ": received " + e.Received.String()
	case e.Sent != nil:
		s += ": sent " + e.Sent.String()
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// givesWay reports whether the end of a connection beside another one is that of a
// collision (RFC 4271, Section 6.8): some peers just close it.
func (e *PeerError) givesWay() bool {
	n := e.Sent
	if n == nil {
		n = e.Received
	}
	return n == nil || n.Code == wire.CodeCease && n.Subcode == wire.SubCollision
}

// notified reports whether a NOTIFICATION ended the connection.
func (e *PeerError) notified() bool { return e != nil && (e.Sent != nil || e.Received != nil) }

// Unwrap returns Err.
func (e *PeerError) Unwrap() error { return e.Err }

// ListenError says why peers cannot connect to an address of ours: the address cannot be listened at, or a
// socket option that a peer wants, such as its key, cannot be set. It is tried again: see
// [PeerConfig].Listen. It is a value: it is kept in [PeerStatus] and sent with [EventListen].
type ListenError struct {
	// Addr is where peers should be able to connect.
	Addr netip.AddrPort
	// Peers are those that cannot connect, since their key cannot be set, or taken off. The zero Prefix is all who
	// connect to Addr.
	Peers netip.Prefix
	// Since is when it failed first, without a success since then.
	Since time.Time
	// Err is what the kernel, or [Config].Listener, says.
	Err error

	open bool // peers can connect all the same, without TTL security of the socket
}

// Error returns one line.
func (e *ListenError) Error() string { return fmt.Sprintf("bgp: listen at %v: %v", e.Addr, e.Err) }

// Unwrap returns Err.
func (e *ListenError) Unwrap() error { return e.Err }

// Errors that methods of [Speaker] return, wrapped with the peer concerned, or
// that a [PeerError] wraps.
var (
	// ErrNoPeer: there is no such peer or range.
	ErrNoPeer = errors.New("no such peer")
	// ErrPeerExists: the peer or range is already configured.
	ErrPeerExists = errors.New("peer exists already")
	// ErrNotEstablished: there is no session to do this on.
	ErrNotEstablished = errors.New("session is not established")
	// ErrStopped: the speaker does not run yet.
	ErrStopped = errors.New("speaker does not run yet")
	// ErrRunning: Run was called before.
	ErrRunning = errors.New("already running")
	// ErrClosed: the speaker's Run has ended, or the [Watcher] was closed.
	ErrClosed = errors.New("closed")
	// ErrNotSupported: the peer did not negotiate what this needs.
	ErrNotSupported = errors.New("not supported by the peer")
)

// Reasons for an end without a NOTIFICATION.
var (
	errHoldExpired = errors.New("hold timer expired")
	errSendHold    = errors.New("send hold timer expired: the peer does not read")
	errNoAnswer    = errors.New("no answer to our attempt to connect")
	errReplaced    = errors.New("replaced by a new connection of the restarted peer")
	errBFDDown     = errors.New("BFD session is down")
	errNoBFD       = errors.New("BFD did not come up in time, and the session waits for it")
	errLinkDown    = errors.New("interface is down")
	errDriven      = errors.New("the configuration has a Transport: its caller drives the speaker")
	errMaxPrefixes = errors.New("maximum number of prefixes exceeded")
)

// MarshalJSON returns an object with the parts, for programs, and the text, for people.
func (e *PeerError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Time           time.Time
		State          State
		Sent, Received *wire.Notification `json:",omitempty"`
		Text           string
	}{e.Time, e.State, e.Sent, e.Received, e.Error()})
}

// MarshalJSON returns an object with the parts, for programs, and the text, for people.
func (e *ListenError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Addr  netip.AddrPort
		Peers netip.Prefix
		Since time.Time
		Text  string
	}{e.Addr, e.Peers, e.Since, e.Error()})
}
