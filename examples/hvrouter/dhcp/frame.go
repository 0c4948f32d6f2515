package dhcp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	serverPort = 67
	clientPort = 68
	ipHeader   = 20
	udpHeader  = 8
	// ethernetMTU bounds what a message may be: nothing fragments it.
	ethernetMTU = 1500
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// appendPacket appends an IPv4 packet with a UDP datagram from the server's port
// to the client's. Both checksums are filled in: clients that read raw frames
// verify them, and nothing behind a tap does it for us.
func appendPacket(b []byte, from, to netip.Addr, payload []byte) []byte {
	length := ipHeader + udpHeader + len(payload)
	start := len(b)
	b = append(b, 0x45, 0xc0) // version, header length; CS6
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, 0, 0, 0x40, 0) // not fragmented
	b = append(b, 64, unix.IPPROTO_UDP, 0, 0)
	b = append(b, from.AsSlice()...)
	b = append(b, to.AsSlice()...)
	header := b[start:]
	binary.BigEndian.PutUint16(header[10:], ^sum(0, header))

	b = binary.BigEndian.AppendUint16(b, serverPort)
	b = binary.BigEndian.AppendUint16(b, clientPort)
	b = binary.BigEndian.AppendUint16(b, uint16(udpHeader+len(payload)))
	b = append(b, 0, 0)
	b = append(b, payload...)
	datagram := b[start+ipHeader:]
	pseudo := sum(unix.IPPROTO_UDP+uint32(len(datagram)), b[start+12:start+ipHeader])
	check := ^sum(uint32(pseudo), datagram)
	if check == 0 {
		check = 0xffff // zero means "no checksum": RFC 768
	}
	binary.BigEndian.PutUint16(datagram[6:], check)
	return b
}

// sum is the one's complement sum of RFC 1071, Section 1, starting from a partial one.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
