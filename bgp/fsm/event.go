package fsm

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// ConnID identifies one TCP connection of a peer, or one attempt to open it; 0 is none. A
// number is never used twice in a machine, so that a late report about a connection that is
// closed is recognised and ignored.
type ConnID uint32

// EventKind is an event of RFC 4271, Section 8.1. Optional events that need DelayOpen are
// absent: a delay of our OPEN would gain nothing here.
type EventKind uint8

// The events, with their numbers in RFC 4271, Section 8.1. Those of timers come from
// [Machine.Advance]; the others are the caller's to report, with the field Conn of the
// connection concerned where the list says so.
const (
	// EventManualStart, 1: the peer is configured, or started by an operator. All
	// back-off begins anew.
	EventManualStart EventKind = iota
	// EventManualStop, 2: the peer is stopped until EventManualStart. Event.Notification
	// and Event.Silent say how.
	EventManualStop
	// EventAutomaticStop, 8: the session is ended for a reason of our own and comes back
	// by itself. Event.Notification, Silent and IdleHold say how.
	EventAutomaticStop
	// EventConnectRetryExpires, 9: the ConnectRetryTimer expired.
	EventConnectRetryExpires
	// EventHoldExpires, 10: the HoldTimer expired.
	EventHoldExpires
	// EventKeepaliveExpires, 11: the KeepaliveTimer expired.
	EventKeepaliveExpires
	// EventIdleHoldExpires, 13: the IdleHoldTimer expired, which is the AutomaticStart of
	// events 3 to 7, too.
	EventIdleHoldExpires
	// EventSendHoldExpires, 29: the SendHoldTimer expired (RFC 9687, Section 4.2).
	EventSendHoldExpires
	// EventConnAcked, 16: our TCP connection Conn, which EffectDial asked for, is open.
	EventConnAcked
	// EventConnConfirmed, 17: the peer has opened a TCP connection. Conn is a new number
	// from [Machine.NextConn].
	EventConnConfirmed
	// EventConnFails, 18, and 15: Conn could not be opened, or was closed or reset by the
	// network or the peer.
	EventConnFails
	// EventOpen, 19: a valid OPEN came on Conn. Event.Negotiated is set.
	EventOpen
	// EventHeaderError, 21: a message with a bad header came on Conn, or a NOTIFICATION
	// that is too short. Event.Notification is the answer.
	EventHeaderError
	// EventOpenError, 22: an OPEN that is malformed or not acceptable came on Conn.
	// Event.Notification is the answer.
	EventOpenError
	// EventCollisionDump, 23: Conn has lost a collision. The machine finds
	// that out by itself (RFC 4271, Section 6.8); as Effect.Cause it says that a peer
	// that restarted has replaced its session.
	EventCollisionDump
	// EventVersionError, 24: a NOTIFICATION for our version number came on Conn.
	// Event.Notification is what came.
	EventVersionError
	// EventNotification, 25: another NOTIFICATION came on Conn. Event.Notification is
	// what came.
	EventNotification
	// EventKeepalive, 26: a KEEPALIVE came on Conn.
	EventKeepalive
	// EventUpdate, 27: an UPDATE or a ROUTE-REFRESH came on Conn. [Machine.Received] is
	// the same for a session, and cheaper.
	EventUpdate
	// EventUpdateError, 28: an UPDATE or a ROUTE-REFRESH that ends the session came on
	// Conn. Event.Notification is the answer.
	EventUpdateError
	// EventBFDAdminDown, 30: one of the sides took its BFD session down on purpose, or does
	// without BFD from now on (33): it says nothing of the path. The numbers 30 to 34 are those of
	// draft-ietf-idr-bgp-bfd-strict-mode-19, Section 4.
	EventBFDAdminDown
	// EventBFDDown, 31: the BFD session with the peer is Down. It ends a session that is
	// Established, whether strict mode is in force or not. Event.Notification is what to send; the
	// zero value stands for Cease/BFD Down (RFC 9384, Section 3).
	EventBFDDown
	// EventBFDUp, 32: the BFD session with the peer is Up. It may be reported again at any time.
	EventBFDUp
	// EventBFDHoldExpires, 34: a connection has waited for BFD for as long as it may.
	EventBFDHoldExpires
	eventKinds
)

var eventNames = [eventKinds]string{
	"ManualStart", "ManualStop", "AutomaticStop", "ConnectRetryTimer_Expires", "HoldTimer_Expires",
	"KeepaliveTimer_Expires", "IdleHoldTimer_Expires", "SendHoldTimer_Expires", "Tcp_CR_Acked",
	"TcpConnectionConfirmed", "TcpConnectionFails", "BGPOpen", "BGPHeaderErr", "BGPOpenMsgErr",
	"OpenCollisionDump", "NotifMsgVerErr", "NotifMsg", "KeepAliveMsg", "UpdateMsg", "UpdateMsgErr",
	"BfdAdminDown", "BfdDown", "BfdUp", "BfdHoldTimer_Expires",
}

// String returns the name that RFC 4271, Section 8.1, or the draft uses.
func (k EventKind) String() string { return enum.String("EventKind", eventNames[:], k) }

// Event is one input of a [Machine].
type Event struct {
	// Kind says what happened.
	Kind EventKind
	// Conn is the connection on which it happened; 0 for the peer as a whole.
	Conn ConnID
	// Negotiated is what the peer's OPEN and ours come to (EventOpen). It is only read,
	// and not retained. Nil means the zero value.
	Negotiated *Negotiated
	// Notification is what to send (errors and stops; a stop without one sends
	// Cease/Administrative Shutdown), or what was received.
	Notification wire.Notification
	// IdleHold is how long the peer stays in Idle after EventAutomaticStop, and how long
	// its connections are refused; 0 means the usual back-off, without refusal.
	IdleHold time.Duration
	// Silent makes a stop close the connections without a NOTIFICATION, as a crash would.
	Silent bool
}

// EffectKind is something that the owner of a machine must do.
type EffectKind uint8

// The effects, with the fields of [Effect] that they set beside Kind and Conn.
const (
	// EffectDial: open a TCP connection to the peer, and report EventConnAcked or
	// EventConnFails with Conn.
	EffectDial EffectKind = iota
	// EffectNoAnswer: the attempt Conn took too long. EffectClose follows.
	EffectNoAnswer
	// EffectSendOpen: send our OPEN on Conn, without capabilities if NoCapabilities is
	// set.
	EffectSendOpen
	// EffectSendKeepalive: send a KEEPALIVE on Conn.
	EffectSendKeepalive
	// EffectSendNotification: send Notification on Conn, about the event Cause.
	// EffectClose follows.
	EffectSendNotification
	// EffectClose: close Conn, or give up the attempt to open it. Nothing about Conn
	// counts from now on.
	EffectClose
	// EffectUp: the session on Conn is Established.
	EffectUp
	// EffectDown: the Established session on Conn has ended by the event Cause.
	// Notification is what was sent or received at its end, if anything was.
	EffectDown
)

var effectNames = [...]string{"dial", "no answer", "OPEN", "KEEPALIVE", "NOTIFICATION", "close", "up", "down"}

// String returns a short name, such as "dial" or "NOTIFICATION".
func (k EffectKind) String() string { return enum.String("EffectKind", effectNames[:], k) }

// Effect is one output of a [Machine].
type Effect struct {
	// Kind says what is to be done.
	Kind EffectKind
	// Conn is the connection concerned.
	Conn ConnID
	// Notification is to be sent (EffectSendNotification), or was sent or received
	// (EffectDown; Code is 0 if none was).
	Notification wire.Notification
	// NoCapabilities asks for an OPEN without capabilities (EffectSendOpen).
	NoCapabilities bool
	// Cause is the event that ended the session (EffectDown), or that the NOTIFICATION is
	// about (EffectSendNotification).
	Cause EventKind
}

// String returns one line, such as "NOTIFICATION 3 6/2".
func (e Effect) String() string {
	s := fmt.Sprintf("%v %d", e.Kind, e.Conn)
	if e.NoCapabilities {
		s += " without capabilities"
	}
	if e.Kind == EffectDown {
		s += " by " + e.Cause.String()
	}
	if e.Notification.Code != 0 {
		s += fmt.Sprintf(" %d/%d", e.Notification.Code, e.Notification.Subcode)
	}
	return s
}
