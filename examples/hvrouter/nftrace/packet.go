package nftrace

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// packet is what the expressions look at.
type packet struct {
	lookup.Packet
	oif               lookup.Link
	link, network, ip []byte // headers: Ethernet, IP, ICMP
}

// newPacket makes the octets of an echo request.
func newPacket(p lookup.Packet, oif lookup.Link) *packet {
	q := &packet{Packet: p, oif: oif, link: make([]byte, 14)}
	copy(q.link[6:12], p.MAC)
	if !q.Src.IsValid() {
		q.Src = netip.IPv6Unspecified()
		if p.Dst.Is4() {
			q.Src = netip.IPv4Unspecified()
		}
	}
	if p.Dst.Is4() {
		q.network = append([]byte{0x45, 0, 0, 36, 0, 0, 0, 0, 64, unix.IPPROTO_ICMP, 0, 0}, append(q.Src.AsSlice(), p.Dst.AsSlice()...)...)
		q.ip = []byte{8, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
		return q
	}
	q.network = append([]byte{0x60, 0, 0, 0, 0, 16, unix.IPPROTO_ICMPV6, 64}, append(q.Src.AsSlice(), p.Dst.AsSlice()...)...)
	q.ip = []byte{128, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	return q
}

// protocol is the one behind the IP header.
func (q *packet) protocol() byte {
	if q.Dst.Is4() {
		return unix.IPPROTO_ICMP
	}
	return unix.IPPROTO_ICMPV6
}

func (q *packet) family() byte {
	if q.Dst.Is4() {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}
