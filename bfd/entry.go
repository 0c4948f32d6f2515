package bfd

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// entry is a session of a Server, with everything that is needed to serve it. It belongs
// to three: the Server, under its lock; the attacher; and the owner.
type entry struct {
	slot   int           // number in marks, and in the Server's table
	key    Key           // as the client calls it
	cell   cell          // the latest fact, for the Server and its users
	done   atomic.Bool   // the owner has let go of it
	number atomic.Uint32 // its discriminator

	// The Server's.
	removed     bool            // lingers in AdminDown until the remote system knows
	last        fact            // as posted, with
	lastTrouble string          // what it lacked
	failed      uint64          // downs that the failover has dealt with
	kept        SessionConfig   // as last added
	trouble     string          // what it lacks
	space       *netnsSockets   // where it runs; nil: nowhere
	check       bool            // the attacher shall look at it
	again       bool            // since it was added again
	lookAt      time.Time       // when the attacher looks at it by itself; zero: never
	backoff     bfdcore.Backoff // between two looks

	// The attacher's.
	attached *attachment // nil: it has no sockets

	// The owner's.
	Session
	local   netip.Addr                     // key.Local, or what the kernel chose
	minTTL  uint8                          // packets with less are dropped
	sport   uint16                         // source port, one of its own (RFC 5881, Section 4)
	place   int                            // in the timer heap, -1: nowhere
	until   time.Duration                  // if not 0, the entry ends then
	tx      *txSocket                      // nil: not attached
	quiet   *txSocket                      // in place of tx while nothing is heard; nil: there is none
	source  bfdcore.Source[*netnsSockets]  // how packets without its discriminator are told apart
	binding bfdcore.Binding[*netnsSockets] // which packets it takes
	queued  *txSocket                      // whose batch it is in; nil: in none
	unsent  uint64                         // packets that found no room
	frame   frame                          // the next packet, with its headers
	msg     unix.Msghdr                    // prepared; points into the fields below and frame
	iov     unix.Iovec                     // the octets of frame
	to4     unix.RawSockaddrInet4          // the destination of an IPv4 session
	to6     unix.RawSockaddrInet6          // the destination of an IPv6 session
	toLink  sockaddrLL                     // of an echo session
	info    [40]byte                       // control message with source address and interface
}

// attachment is what a session needs of the host, in order to send and to receive.
type attachment struct {
	space *netnsSockets // the namespace
	tx    *txSocket     // sends its packets
	quiet *txSocket     // sends them while it hears nothing; nil: tx does
	rx    *rxSocket     // receives them
	local netip.Addr    // source address of its packets
	link  int           // index of the interface it sends by; 0: any
	from  int32         // index of the interface it receives from; 0: any
	self  bool          // its packets may come from this host
}

// same reports whether two attachments are as good as each other.
func (a *attachment) same(b *attachment) bool { return b != nil && *a == *b }

// newFrame makes the packet of an entry that is about to be attached.
func (a *attachment) newFrame(c *SessionConfig, sport uint16) frame {
	port, peer := uint16(Port), c.Peer
	switch {
	case c.Echo:
		port, peer = EchoPort, a.local
	case c.Multihop:
		port = MultihopPort
	}
	f := newFrame(a.local, peer, sport, port)
	f.whole = c.Echo
	return f
}

// build makes the message for what the entry was attached to.
func (e *entry) build(a *attachment, f frame) {
	f.id = e.frame.id
	e.frame = f
	e.iov.Base = &e.frame.b[0]
	e.msg.Iov, e.msg.Iovlen = &e.iov, 1
	switch {
	case e.echo:
		e.setNeighbor(a.link, nil)
		return
	case e.key.Peer.Is6():
		e.to6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: e.key.Peer.As16()}
		e.msg.Name, e.msg.Namelen = (*byte)(unsafe.Pointer(&e.to6)), unix.SizeofSockaddrInet6
	default:
		e.to4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: e.key.Peer.As4()}
		e.msg.Name, e.msg.Namelen = (*byte)(unsafe.Pointer(&e.to4)), unix.SizeofSockaddrInet4
	}
	e.sendBy(a.link)
}

// sendBy writes the control message: IP_PKTINFO or IPV6_PKTINFO.
func (e *entry) sendBy(link int) {
	clear(e.info[:])
	e.msg.Control = &e.info[0]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&e.info[0]))
	data := e.info[unix.SizeofCmsghdr:]
	if e.key.Peer.Is6() {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(20))
		copy(data, e.local.AsSlice())
		binary.NativeEndian.PutUint32(data[16:], uint32(link))
		e.msg.SetControllen(unix.CmsgSpace(20))
		if e.key.Peer.IsLinkLocalUnicast() {
			e.to6.Scope_id = uint32(link)
		}
		return
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(12))
	binary.NativeEndian.PutUint32(data, uint32(link))
	copy(data[4:], e.local.AsSlice())
	e.msg.SetControllen(unix.CmsgSpace(12))
}

// setNeighbor sets the link-layer address of an echo session's next hop; zero length:
// unknown, nothing can be sent.
func (e *entry) setNeighbor(ifindex int, mac []byte) {
	protocol := uint16(etherIPv4)
	if e.key.Peer.Is6() {
		protocol = etherIPv6
	}
	e.toLink = sockaddrLL{family: afPacket, protocol: htons(protocol), ifindex: int32(ifindex)}
	if len(mac) <= len(e.toLink.addr) {
		e.toLink.halen = uint8(copy(e.toLink.addr[:], mac))
	}
	e.msg.Name, e.msg.Namelen = (*byte)(unsafe.Pointer(&e.toLink)), sizeSockaddrLL
	e.msg.Control = nil
	e.msg.SetControllen(0)
}

// sender is the socket for the session's next packet. The remote discriminator is known from the first packet that is
// received until the detection time has passed without another one.
func (e *entry) sender() *txSocket {
	if e.remoteDiscr == 0 && e.quiet != nil {
		return e.quiet
	}
	return e.tx
}

// due is when the entry next wants attention.
func (e *entry) due() time.Duration {
	at := min(e.txAt, e.detectAt(), e.forgetAt())
	if e.until != 0 {
		at = min(at, e.until)
	}
	return at
}

// fact is what the session has to tell.
func (e *entry) fact() fact {
	return fact{
		state: e.state, diag: e.diag, remoteDiag: e.remoteDiag, reason: e.reason, remoteC: e.remoteC, since: e.since,
		downs: e.downs, downAt: e.downSince, downDiag: e.downDiag, downReason: e.downReason, downRemote: e.downRemote,
	}
}

// status is the copy that Sessions returns.
func (e *entry) status(c clock) Status {
	return Status{
		Key: e.key, State: e.state, RemoteState: e.remoteState, Diag: e.diag, RemoteDiag: e.remoteDiag, Reason: e.reason,
		RemoteC: e.remoteC, Discr: e.discr, RemoteDiscr: e.remoteDiscr,
		DesiredMinTx: e.cfgTx, RequiredMinRx: e.cfgRx, Multiplier: e.mult,
		RemoteMinTx: e.remoteTx, RemoteMinRx: e.remoteRx, RemoteMultiplier: e.remoteMult,
		TxInterval: e.interval, DetectTime: e.detectTime(), Since: c.wall(e.since),
		Downs: e.downs, Sent: e.sent, Received: e.recv, Refused: e.refuse, Unsent: e.unsent,
	}
}
