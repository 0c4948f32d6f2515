package bfd

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr // the message
	n   uint32      // octets received or sent
	_   [4]byte     // padding that C adds
}

// sockaddrLL is struct sockaddr_ll, the address of a packet socket (packet(7)).
type sockaddrLL struct {
	family   uint16  // afPacket
	protocol uint16  // EtherType in network order
	ifindex  int32   // of the interface to send by
	hatype   uint16  // ARPHRD_ type; ignored when sending
	pkttype  uint8   // PACKET_ type; ignored when sending
	halen    uint8   // length of addr in octets
	addr     [8]byte // the destination's link-layer address
}

// Numbers of Linux that no other system has, so that what is not a socket compiles on those.
const (
	sizeSockaddrLL = 20
	afPacket       = 17     // AF_PACKET
	etherIPv4      = 0x0800 // ETH_P_IP
	etherIPv6      = 0x86dd // ETH_P_IPV6
)

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
