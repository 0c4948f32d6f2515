package bfd

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entry is a session of a Server with everything the owner needs to serve it.
// What is above the line belongs to the Server, under its lock.
type entry struct {
	slot     int
	removed  bool // lingers in AdminDown until the remote system knows
	space    *space
	cell     cell
	done     atomic.Bool   // the owner has let go of it
	last     fact          // what the hub last told
	echoLink int           // interface of an echo session's socket
	failed   uint64        // downs the failover has dealt with
	kept     SessionConfig // as last added
	// ---- below: the owner's alone
	Session
	key    Key        // as the client calls it
	local  netip.Addr // key.Local, or what the kernel chose
	minTTL uint8
	sport  uint16
	place  int           // in the timer heap, -1: nowhere
	until  time.Duration // if not 0, the entry ends then
	tx     *txSocket
	queued bool // in tx's batch
	frame  frame
	msg    unix.Msghdr // prepared; points into the fields below and frame
	iov    unix.Iovec
	to4    unix.RawSockaddrInet4
	to6    unix.RawSockaddrInet6
	toLink unix.RawSockaddrLinklayer // of an echo session
	info   [40]byte                  // control message with source address and interface
	link   int32                     // interface index; 0: any, -1: not there yet
	tried  time.Duration
}

// build makes the frame and the message of an entry whose addresses are known.
func (e *entry) build() {
	port, peer := uint16(Port), e.key.Peer
	switch {
	case e.echo:
		port, peer = EchoPort, e.local
	case e.key.Multihop:
		port = MultihopPort
	}
	e.frame = newFrame(e.local, peer, e.sport, port)
	e.frame.whole = e.echo
	e.prepare()
	if e.echo {
		e.setNeighbor(e.echoLink, nil)
	}
}

// prepare points the message at the entry's own buffers.
func (e *entry) prepare() {
	e.iov.Base = &e.frame.b[0]
	e.msg.Iov, e.msg.Iovlen = &e.iov, 1
	if e.key.Peer.Is6() {
		e.to6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: e.key.Peer.As16()}
		e.msg.Name, e.msg.Namelen = (*byte)(unsafe.Pointer(&e.to6)), unix.SizeofSockaddrInet6
	} else {
		e.to4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: e.key.Peer.As4()}
		e.msg.Name, e.msg.Namelen = (*byte)(unsafe.Pointer(&e.to4)), unix.SizeofSockaddrInet4
	}
	e.msg.Control = &e.info[0]
	e.setLink(e.link)
}

// setLink writes the control message: IP_PKTINFO or IPV6_PKTINFO.
func (e *entry) setLink(link int32) {
	e.link = link
	clear(e.info[:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&e.info[0]))
	data := e.info[unix.SizeofCmsghdr:]
	if e.key.Peer.Is6() {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(20))
		copy(data, e.local.AsSlice())
		binary.NativeEndian.PutUint32(data[16:], uint32(max(0, link)))
		e.msg.SetControllen(unix.CmsgSpace(20))
		e.to6.Scope_id = 0
		if e.key.Peer.IsLinkLocalUnicast() {
			e.to6.Scope_id = uint32(max(0, link))
		}
		return
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(12))
	binary.NativeEndian.PutUint32(data, uint32(max(0, link)))
	copy(data[4:], e.local.AsSlice())
	e.msg.SetControllen(unix.CmsgSpace(12))
}

// due is when the entry next wants attention. Everything is served up to quantum
// later than due: packets allow for it with their slack, other deadlines are given
// so much earlier here, to be met on the spot.
func (e *entry) due(quantum time.Duration) time.Duration {
	at := min(e.detectAt(), e.forgetAt())
	if e.until != 0 {
		at = min(at, e.until)
	}
	if at != never {
		at -= quantum
	}
	return min(at, e.txAt-e.slack)
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
		Downs: e.downs, Sent: e.sent, Received: e.recv, Refused: e.refuse,
	}
}
