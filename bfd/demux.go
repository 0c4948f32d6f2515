package bfd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// Sizes of the receive ring. A control message area holds timestamp (32), packet
// info (40) and TTL (24).
const (
	rxBatch   = 32
	rxPayload = 256 // Length has 8 bits
	rxControl = 128
)

// ring is the memory that recvmmsg fills, allocated once.
type ring struct {
	msgs    [rxBatch]mmsghdr               // what recvmmsg is called with; they point into the following
	iov     [rxBatch]unix.Iovec            // each points to one of payload
	from    [rxBatch]unix.RawSockaddrInet6 // large enough for both families
	payload [rxBatch][rxPayload]byte       // the packet of each message, cut off at rxPayload
	control [rxBatch][rxControl]byte       // the control messages of each
}

func newRing() *ring {
	r := &ring{}
	for i := range r.msgs {
		r.iov[i].Base = &r.payload[i][0]
		r.iov[i].SetLen(rxPayload)
		h := &r.msgs[i].hdr
		h.Iov, h.Iovlen = &r.iov[i], 1
		h.Name = (*byte)(unsafe.Pointer(&r.from[i]))
		h.Control = &r.control[i][0]
	}
	return r
}

// reset makes the whole buffers available to the kernel again.
func (r *ring) reset() {
	for i := range r.msgs {
		r.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.msgs[i].hdr.SetControllen(rxControl)
	}
}

// meta is what came with a packet.
type meta struct {
	ttl   int32    // the IPv4 TTL or the IPv6 hop limit
	link  int32    // index of the interface it came in by
	stamp int64    // arrival, nanoseconds since 1970; 0: unknown
	local [16]byte // its destination address, IPv4 in the first 4 octets
}

// meta reads the control messages of message i. It does not allocate.
func (r *ring) meta(i int) (m meta) {
	b := r.control[i][:r.msgs[i].hdr.Controllen]
	for len(b) >= unix.SizeofCmsghdr {
		n := int(binary.NativeEndian.Uint64(b))
		level, typ := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		if n < unix.SizeofCmsghdr || n > len(b) {
			break
		}
		m.take(int(level), int(typ), b[unix.SizeofCmsghdr:n])
		b = b[min(len(b), (n+7)&^7):]
	}
	return m
}

func (m *meta) take(level, typ int, data []byte) {
	switch {
	case level == unix.SOL_SOCKET && typ == soTimestampNS && len(data) >= 16:
		m.stamp = int64(binary.NativeEndian.Uint64(data))*1e9 + int64(binary.NativeEndian.Uint64(data[8:]))
	case level == unix.IPPROTO_IP && typ == unix.IP_TTL && len(data) >= 4,
		level == unix.IPPROTO_IPV6 && typ == unix.IPV6_HOPLIMIT && len(data) >= 4:
		m.ttl = int32(binary.NativeEndian.Uint32(data))
	case level == unix.IPPROTO_IP && typ == unix.IP_PKTINFO && len(data) >= 12:
		m.link = int32(binary.NativeEndian.Uint32(data))
		copy(m.local[:4], data[8:12])
	case level == unix.IPPROTO_IPV6 && typ == unix.IPV6_PKTINFO && len(data) >= 20:
		copy(m.local[:], data[:16])
		m.link = int32(binary.NativeEndian.Uint32(data[16:]))
	}
}

// maxRounds bounds how much is read before timers get their turn.
const maxRounds = 64

// drain reads one socket until it is empty, or for maxRounds.
func (o *owner) drain(s *rxSocket) (empty bool) {
	for range maxRounds {
		o.ring.reset()
		n, errno := o.poller.receive(s.fd, o.ring.msgs[:])
		if errno == unix.EINTR {
			continue
		}
		o.received += n
		for i := range n {
			if s.port == EchoPort {
				o.echoed(s, i)
			} else {
				o.packet(s, i)
			}
		}
		if n < rxBatch {
			return true
		}
	}
	return false
}

// packet takes message i of the ring.
func (o *owner) packet(s *rxSocket, i int) {
	p, err := ParsePacket(o.ring.payload[i][:min(o.ring.msgs[i].n, rxPayload)])
	if err != nil {
		o.core.discarded++
		return
	}
	m := o.ring.meta(i)
	a := bfdcore.Arrival[*netnsSockets]{Space: s.space, Link: m.link, TTL: m.ttl, IPv6: s.ipv6, Multihop: s.port == MultihopPort}
	o.core.receive(o.find(s, &p, &m, i), &p, &a, o.arrival(m.stamp))
}

// find is the demultiplexing of RFC 5880, Section 6.3: by discriminator alone if
// there is one, else by the addresses. RFC 5880, Section 6.8.6: "If the Your Discriminator
// field is nonzero, it MUST be used to select the session with which this BFD packet is
// associated."
func (o *owner) find(s *rxSocket, p *Packet, m *meta, i int) *entry {
	if p.YourDiscr != 0 {
		return o.core.demux.ByDiscr(p.YourDiscr)
	}
	f := bfdcore.Source[*netnsSockets]{Space: s.space, Multihop: s.port == MultihopPort, Link: m.link}
	if s.ipv6 {
		f.Peer, f.Local = netip.AddrFrom16(o.ring.from[i].Addr), netip.AddrFrom16(m.local)
	} else {
		from := (*unix.RawSockaddrInet4)(unsafe.Pointer(&o.ring.from[i]))
		f.Peer, f.Local = netip.AddrFrom4(from.Addr), netip.AddrFrom4([4]byte(m.local[:4]))
	}
	return o.core.demux.BySource(f)
}

// echoed takes message i of the ring as an echo packet: from us, to us, one hop
// away, with our discriminator in both places.
func (o *owner) echoed(s *rxSocket, i int) {
	e, p := o.findEcho(s, o.ring.payload[i][:min(o.ring.msgs[i].n, rxPayload)])
	if e == nil {
		o.core.discarded++
		return
	}
	m := o.ring.meta(i)
	o.core.receiveEcho(e, &p, o.arrival(m.stamp))
}

// findEcho finds the session of an echo packet; nil: it is none's.
func (o *owner) findEcho(s *rxSocket, ip []byte) (*entry, Packet) {
	header, ttl, src, dst := 20, 8, 12, 16
	if s.ipv6 {
		header, ttl, src, dst = 40, 7, 8, 24
	}
	if len(ip) < header+8 || ip[ttl] != echoTTL {
		return nil, Packet{}
	}
	p, err := ParsePacket(ip[header+8:])
	if err != nil || p.MyDiscr != p.YourDiscr {
		return nil, Packet{}
	}
	e := o.core.demux.ByDiscr(p.MyDiscr)
	if e == nil || !e.echo || e.tx == nil || e.tx.fd != s.fd {
		return nil, Packet{}
	}
	from, to, us := ip[src:dst], ip[dst:dst+dst-src], e.frame.b[src:dst]
	if !bytes.Equal(from, to) || !bytes.Equal(from, us) {
		return nil, Packet{}
	}
	return e, p
}

// arrival is when a packet came in, by its timestamp. The wall clock may jump, but
// nothing can have waited since before the last time everything was read.
func (o *owner) arrival(stamp int64) time.Duration {
	now := o.core.now
	if stamp == 0 {
		return now
	}
	return min(max(now-time.Duration(o.wall-stamp), o.drained), now)
}
