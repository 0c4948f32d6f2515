// Package ndp is the hypervisor's side of IPv6 Neighbor Discovery towards its
// guests: a codec of all five messages and their options, router advertisements,
// a neighbor proxy for addresses that live elsewhere, and unsolicited
// advertisements.
//
// # Layers
//
//   - Codec: [RouterSolicitation], [RouterAdvertisement], [NeighborSolicitation],
//     [NeighborAdvertisement], [Redirect]; each with a Parse function that makes the
//     checks of RFC 4861, Section 7.1, on the message, and an Append method. [Packet.Check] makes
//     the checks on what is around it: hop limit, checksum, code, addresses.
//   - Pure logic: [Schedule] says when a router advertisement is due, [Policy] which
//     solicitation is answered and how, [Tracker] who is where. No socket, no clock.
//   - Shell: [Conn] on AF_PACKET, [Advertiser], [Responder], [Monitor], [Announce].
//
// # Why AF_PACKET
//
// A proxy hears solicitations for groups the host never joined, and it answers
// from an address of the guest's link, which the kernel's own proxy does not. The
// price is that hop limit and checksum are ours to check, and headers ours to
// write. The gain is that nothing waits for the kernel: an advertisement leaves
// while the interface's own address is still tentative.
//
// # Beside the kernel
//
// The kernel answers for the interface's own addresses, which should be no targets of
// a Responder; proxy_ndp should be 0 where there is one. An Advertiser and another router
// daemon on the same interface would contradict each other. testdata/conformance.txt and
// testdata/routerconformance.txt show where kernel, ndppd, radvd and we differ.
//
// Listening costs the guest's other IPv6 traffic a filter of a few instructions a
// packet, on the interfaces added only, and once for each Conn.
//
// # Ownership
//
// The goroutine in Run alone reads the Conn, for all interfaces. Everything else
// may be called from any goroutine. Parsed messages are values; where one aliases
// the buffer it was read from, its documentation says so.
//
// # Limits
//
// Ethernet only. Messages behind IPv6 extension headers are ignored: no host sends
// them, and RFC 6980, Section 5, forbids the one kind an attacker would like. Secure Neighbor
// Discovery (RFC 3971, Section 5) is not spoken; its options pass as raw ones.
//
// RFC 4861 (Neighbor Discovery), RFC 4862 (SLAAC, DAD), RFC 6620 (first come, first served), RFC 4191 (router preference,
// route information), RFC 4389 (proxies), RFC 6085 (multicast in a unicast frame), RFC 6980
// (fragments), RFC 8106 (RDNSS, DNSSL), RFC 8781 (PREF64), RFC 8910 (captive
// portal), RFC 7527 (nonce).
package ndp
