// Package arp is the hypervisor's side of ARP towards its guests: a codec, a
// connection that serves any number of guest interfaces from one goroutine, and
// what is built of them: announcements, probes, a watcher, and a responder that
// answers for addresses that live elsewhere.
//
// # Layers
//
//   - Codec: [Packet] is a value; [ParsePacket] and [Packet.AppendBinary] neither allocate
//     nor judge.
//   - Pure logic: [Policy] decides which request is answered, [Tracker] learns which station
//     is where, [Prober] is the probe of RFC 5227, Section 2.1.1. They hold no socket and no clock.
//   - Shell: [Conn] on AF_PACKET, [Responder], [Announce], [Probe],
//     [Monitor].
//
// # Data flow
//
// A guest believes that it shares a subnet with every other guest. Its request
// for one of them arrives at Conn.Read, which has dropped what is malformed, has a
// VLAN tag, or is addressed to another host. Policy.Decide looks up the guest
// that sits on that interface and the longest target prefix, and the reply goes
// out with Conn.Write: one system call each way for up to 64 requests.
//
// # Ownership
//
// The goroutine in Run alone reads the Conn. Everything else may be called from
// any goroutine. Packets and frames are values and alias nothing.
//
// # Beside the kernel
//
// An AF_PACKET socket sees every request whether or not the kernel answers it, so who
// answers what is the caller's to arrange: on an interface with proxy_arp = 1 the kernel
// answers for everything it has a route to elsewhere, and there should be no guest in
// the Responder; with proxy_arp = 0 and arp_ignore = 1 the kernel answers for the
// interface's own addresses alone, and these should be no targets. Either way each
// request gets one answer. testdata/conformance.txt shows where the two differ.
//
// # Limits
//
// IPv4 over Ethernet only. A Conn receives only what is addressed to the host or to
// a group: it does not switch interfaces to promiscuous mode. The Tracker keeps a
// bounded number of entries an interface, since guests invent addresses for free.
//
// RFC 826 (ARP), RFC 1027 (proxy ARP), RFC 1122, Section 2.3.2.1 (unicast
// requests as a poll), RFC 5227 (address conflict detection).
package arp
