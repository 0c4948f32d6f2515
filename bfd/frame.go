package bfd

import (
	"encoding/binary"
	"net/netip"
)

// cs6 is the traffic class of network control, DSCP CS6 (RFC 4594, Section 3.1).
const cs6 = 48 << 2

// frame is a whole IP packet, headers included: raw sockets send it as it is, so
// that one socket serves every session, each with a source port of its own.
type frame struct {
	b      []byte // IP and UDP header, then room for the longest packet
	header int    // length of the IP header
	pseudo uint32 // checksum of the pseudo header without the length
	whole  bool   // the kernel does not fill in the IPv4 checksum: a packet socket
	id     uint16 // IPv4 identification, counted here: ip_select_ident is slower
}

// newFrame prepares the headers (RFC 5881, Sections 4 and 5: TTL 255). What is not named
// here is zero, or set by finish:
//
//	IPv4 (RFC 791, Section 3.1)                  IPv6 (RFC 8200, Section 3)
//	Version, IHL                       0         Version, Traffic Class, Flow Label  0
//	Type of Service                    1         Payload Length                      4
//	Total Length, Identification       2         Next Header, 17                     6
//	Time to Live, 255                  8         Hop Limit, 255                      7
//	Protocol, 17                       9         Source Address                      8
//	Header Checksum                   10         Destination Address                24
//	Source, Destination Address       12
//
//	UDP (RFC 768): Source Port 0, Destination Port 2, Length 4, Checksum 6
func newFrame(local, peer netip.Addr, sport, dport uint16) frame {
	f := frame{header: 20}
	if peer.Is6() {
		f.header = 40
	}
	f.b = make([]byte, f.header+8, f.header+8+maxPacketLen)
	src, dst := local.AsSlice(), peer.AsSlice()
	if peer.Is6() {
		binary.BigEndian.PutUint32(f.b, 6<<28|cs6<<20)
		f.b[6], f.b[7] = 17, 255
		copy(f.b[8:], src)
		copy(f.b[24:], dst)
	} else {
		f.b[0], f.b[1], f.b[8], f.b[9] = 0x45, cs6, 255, 17 // the kernel fills in the checksum (raw(7), IP_HDRINCL)
		copy(f.b[12:], src)
		copy(f.b[16:], dst)
	}
	binary.BigEndian.PutUint16(f.b[f.header:], sport)
	binary.BigEndian.PutUint16(f.b[f.header+2:], dport)
	f.pseudo = sum(sum(17, src), dst)
	return f
}

// body returns the headers, with capacity for the UDP payload behind them.
func (f *frame) body() []byte { return f.b[:f.header+8] }

// finish sets lengths and checksum of a packet that was appended to body.
func (f *frame) finish(b []byte) []byte {
	udp := b[f.header:]
	n := len(udp)
	binary.BigEndian.PutUint16(udp[4:], uint16(n))
	binary.BigEndian.PutUint16(udp[6:], 0)
	if f.header == 40 {
		binary.BigEndian.PutUint16(b[4:], uint16(n))
	} else {
		f.id = max(1, f.id+1) // the kernel replaces zero (raw(7))
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		binary.BigEndian.PutUint16(b[4:], f.id)
		if f.whole {
			b[10], b[11] = 0, 0
			binary.BigEndian.PutUint16(b[10:], ^fold(sum(0, b[:20])))
		}
	}
	c := ^fold(sum(f.pseudo+uint32(n), udp))
	if c == 0 {
		c = 0xffff // zero means "no checksum" (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], c)
	return b
}

// sum adds b's 16-bit words to an Internet checksum (RFC 1071, Section 1).
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	return s
}

// fold returns a sum as 16 bits, by end-around carry.
func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
