package load

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// echo4 turns an echo request to the guest into its reply, in place.
func echo4(g plan.Guest, frame []byte) []byte {
	ip := frame[14:]
	if len(ip) < 20 {
		return nil
	}
	head := int(ip[0]&15) * 4
	if head < 20 || len(ip) < head+8 || ip[9] != unix.IPPROTO_ICMP || ip[head] != 8 || !bytes.Equal(ip[16:20], g.IPv4.AsSlice()) {
		return nil
	}
	swap(ip[12:16], ip[16:20])
	retype(ip[head:], 0)
	return back(frame)
}

// echo6 is the same for IPv6, without extension headers.
func echo6(g plan.Guest, frame []byte) []byte {
	ip := frame[14:]
	if len(ip) < 48 || ip[6] != unix.IPPROTO_ICMPV6 || ip[40] != 128 || !bytes.Equal(ip[24:40], g.IPv6().AsSlice()) {
		return nil
	}
	swap(ip[8:24], ip[24:40])
	retype(ip[40:], 129)
	return back(frame)
}

// back sends a frame where it came from.
func back(frame []byte) []byte {
	swap(frame[:6], frame[6:12])
	return frame
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// retype changes the type of an ICMP message and its checksum with it (RFC 1624, Section 3).
func retype(icmp []byte, to byte) {
	sum := uint32(^binary.BigEndian.Uint16(icmp[2:])) + uint32(^(uint16(icmp[0]) << 8)) + uint32(to)<<8
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	icmp[0] = to
	binary.BigEndian.PutUint16(icmp[2:], ^uint16(sum))
}
