// Package afpacket reads and writes whole Ethernet frames of one EtherType on
// many interfaces from one goroutine.
//
// A [Conn] owns one AF_PACKET socket for all interfaces of a namespace, which sends, too.
// One for each interface would be simpler, but the kernel waits for a grace period of RCU
// when it closes a packet socket (synchronize_net in packet_release, net/packet/af_packet.c),
// some 14 ms, one after the other: a program with a thousand needs 14 s to die.
//
// What the interfaces share is the receive buffer. So that one that floods does not fill
// it, package police counts what they bring, and the socket's filter, which is made anew
// whenever that changes, drops in the kernel what comes from the ones that bring too much,
// and from those that were not added. A batch of frames costs one recvmmsg and one
// sendmmsg, and nothing is allocated.
//
// A socket that hears all interfaces runs its filter on each frame of its EtherType that
// any of them receives, also where they are only forwarded: two or three instructions.
//
// Frames that belong to a VLAN are not the interface's own, and frames longer than an
// Ethernet of standard MTU can bring are no packets of ARP or Neighbor Discovery: the
// filter drops both.
package afpacket
