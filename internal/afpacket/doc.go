// Package afpacket reads and writes whole Ethernet frames of one EtherType on
// many interfaces from one goroutine.
//
// A [Conn] owns one AF_PACKET socket an interface, so that a guest that floods
// fills its own receive buffer and nobody else's; an epoll instance that hands
// out ready sockets in turns, and is itself parked in Go's network poller, so
// that waiting costs no thread and deadlines work; and one socket that only
// sends, which serves every interface. A batch of frames costs one recvmmsg and
// one sendmmsg, and nothing is allocated.
//
// Frames that belong to a VLAN are not the interface's own and are dropped: by
// the filter the caller builds with [Filter], and once more by the kernel's
// auxiliary data.
package afpacket
