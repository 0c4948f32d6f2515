package bgp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
)

// Transport is the clock and the network of a speaker that its caller drives: see [Driver]. Its
// methods, and those of its connections, must not block, and must not call the speaker: what
// they begin is reported later.
type Transport interface {
	// Now returns the time. It never goes back.
	Now() time.Time
	// Dial begins an attempt to connect. Its outcome is reported to [Driver.Dialed], unless
	// Cancel comes before.
	Dial(a *Attempt)
	// Cancel gives up an attempt to connect.
	Cancel(a *Attempt)
}

// Connection is one end of a TCP connection of a [Transport]. Its values are compared by ==;
// pointers are what is needed. After Close the speaker uses it no more, and nothing that is
// reported of it counts.
//
// A peer that has gone while a speaker waits for its OPEN is noticed by TCP alone: the hold timer
// has 4 minutes then (RFC 4271, Section 8.2.2). A connection over sockets should have keepalives until
// the peer's first messages have come, as a speaker's own connections do.
type Connection interface {
	LocalAddr() netip.AddrPort  // our end
	RemoteAddr() netip.AddrPort // the peer's
	// Send begins to write b, whole messages, which must not be changed. The speaker hands
	// over nothing more before [Driver.Sent] reports that TCP has taken all of it: while that
	// report is missing, the peer does not read. Until then b stays as it is; afterwards it is
	// used again.
	Send(b []byte)
	// Close ends the connection. The peer gets what Send has begun, then final, if it is not
	// empty, then the end of the stream (FIN). What cannot be written within a second is lost.
	// patience, if not 0, is how long the connection then stays half-open for the peer to close
	// its half; what still arrives is discarded, without a reset. Without final and patience
	// the connection closes at once, and a buffer of Send that TCP has not taken is lost.
	Close(final []byte, patience time.Duration)
}

// Attempt is an attempt to connect to a peer.
type Attempt struct {
	Peer      PeerKey        // the peer
	Local     netip.AddrPort // where from; the zero AddrPort leaves it to the Transport
	Remote    netip.AddrPort // where to
	Interface string         // PeerConfig.Interface; "" is any
	// After is the connection of the peer that was closed last, nil if there was none. The
	// peer is to read its end before the beginning of the next: the attempt begins when
	// After has sent everything, or has lost it.
	After Connection

	peer *drivenPeer // whose attempt it is
	id   fsm.ConnID  // the machine's number for it
	over bool        // it was reported or given up
}
