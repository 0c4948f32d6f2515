package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// connID names one TCP connection (or attempt) of a peer; 0 is none. IDs are
// never used twice, so that a late report about a connection that is gone is
// recognised and ignored.
type connID uint32

// eventKind is an event of RFC 4271, Section 8.1. The comments give the RFC's
// numbers. Optional events that need DelayOpen are absent: delaying our OPEN
// gains nothing here.
type eventKind uint8

const (
	evManualStart         eventKind = iota // 1
	evManualStop                           // 2
	evAutomaticStop                        // 8
	evConnectRetryExpires                  // 9
	evHoldExpires                          // 10
	evKeepaliveExpires                     // 11
	evIdleHoldExpires                      // 13, which is also AutomaticStart (3 to 7)
	evSendHoldExpires                      // 29, RFC 9687
	evConnAcked                            // 16: our connection is open
	evConnConfirmed                        // 17: the peer's connection is open
	evConnFails                            // 18, also 15
	evOpen                                 // 19: a valid OPEN
	evHeaderErr                            // 21
	evOpenErr                              // 22
	evCollisionDump                        // 23
	evNotifVersion                         // 24
	evNotif                                // 25
	evKeepalive                            // 26
	evUpdate                               // 27
	evUpdateErr                            // 28
	eventKinds
)

var eventNames = [eventKinds]string{
	"ManualStart", "ManualStop", "AutomaticStop", "ConnectRetryTimer_Expires", "HoldTimer_Expires",
	"KeepaliveTimer_Expires", "IdleHoldTimer_Expires", "SendHoldTimer_Expires", "Tcp_CR_Acked",
	"TcpConnectionConfirmed", "TcpConnectionFails", "BGPOpen", "BGPHeaderErr", "BGPOpenMsgErr",
	"OpenCollisionDump", "NotifMsgVerErr", "NotifMsg", "KeepAliveMsg", "UpdateMsg", "UpdateMsgErr",
}

func (k eventKind) String() string { return enum.String("eventKind", eventNames[:], k) }

// event is one input of the machine.
type event struct {
	kind eventKind
	conn connID // the connection it happened on; 0 for the peer as a whole
	// open holds what the machine must know of a valid OPEN.
	open openFacts
	// notif is what to send (errors, stops) or what was received (evNotif).
	notif wire.Notification
	// hold is how long to stay in Idle after evAutomaticStop; 0 means the usual
	// back-off. During an explicit hold incoming connections are refused.
	hold time.Duration
	// quiet closes without a NOTIFICATION (a restart that shall look like one).
	quiet bool
}

// openFacts is the part of a negotiated OPEN that steers the machine.
type openFacts struct {
	hold    time.Duration // negotiated hold time, 0 for none
	id      uint32        // the peer's BGP Identifier
	as      uint32        // the peer's AS, for RFC 6286, Section 2.3
	restart bool          // the peer advertised graceful restart
}

// effectKind is something the owner must do after a step, in the given order.
type effectKind uint8

const (
	effDial      effectKind = iota // open a TCP connection named conn
	effNoAnswer                    // conn was not opened in time; effClose follows
	effSendOpen                    // send our OPEN on conn
	effKeepalive                   // send a KEEPALIVE on conn
	effNotify                      // send notif on conn; effClose follows
	effClose                       // close conn (or give up its dialling)
	effUp                          // the session on conn is Established
	effDown                        // the Established session on conn has ended
)

var effectNames = [...]string{"dial", "no answer", "OPEN", "KEEPALIVE", "NOTIFICATION", "close", "up", "down"}

func (k effectKind) String() string { return enum.String("effectKind", effectNames[:], k) }

// effect is one output of the machine.
type effect struct {
	kind  effectKind
	conn  connID
	notif wire.Notification
	// plain asks for an OPEN without capabilities (effSendOpen).
	plain bool
	// cause is the event that ended the session (effDown), or that the NOTIFICATION is
	// about (effNotify). With effDown notif is what was sent or received at the end, if
	// anything was (code 0: nothing).
	cause eventKind
}
