// Package bfd is Bidirectional Forwarding Detection: it detects within milliseconds
// that the path to a neighbour is dead, be it the neighbour or the network.
//
// # What there is
//
// Single-hop sessions over IPv4 and IPv6, link-local addresses included (RFC
// 5881, Section 4), multihop sessions (RFC 5883, Section 5), unaffiliated echo for neighbours
// that speak no BFD (RFC 9747, Section 2), and all of RFC 5880, Section 6.8, with all five kinds of
// authentication. Of Demand mode the passive half: a remote system that asks for
// silence gets it. There is no echo function of RFC 5880, Section 6.4, that a
// remote system could ask for: Required Min Echo RX Interval is 0.
//
// # Layers
//
//	packet.go auth.go       octets <-> Packet; digests
//	session.go transmit.go  Session, the pure state machine: packets and time
//	receive.go echo.go        in, Effects out; no clock, socket or lock
//	detect.go               when the remote system has been silent for too long
//	core.go heap.go         every session of a Server: whose packet is it, who is due
//	owner.go demux.go       the thread that the core of a Server runs on
//	server.go run.go hub.go the API in front of it, and the goroutines around it
//	attach.go               each session's namespace, interface, address and sockets
//	serve.go conn.go        a Server behind a unix socket, shared by clients
//	client.go               the same API at the other end of that socket
//	failover.go             dead next hops leave the kernel without the client
//	give.go take.go         a successor takes the sessions over
//	driven*.go              Server, process and client without thread, clock and socket
//	host.go                 what all of them ask of the kernel: poller and host
//	*_linux.go              Linux as these
//
// Decisions that need no kernel are in internal/bfdcore: which session a packet is for, what
// clients share, what a client has yet to ask for, who has the sessions in a handover, which
// next hops go. Tests run whole processes, clients and networks on a poller and a host in
// memory, under virtual time.
//
// [Service] is what a daemon codes against, so that it need not know whether the
// sessions live in its own process ([Server]) or in another one ([Client] and
// [Serve]). A [Session] can be used alone, on any transport.
//
// # The owner
//
// All sessions of a Server belong to one goroutine on a locked thread of the
// operating system. It reads all sockets itself, has a heap of deadlines, and
// takes no lock that any other thread holds. In a turn it first empties the
// sockets, so that a packet that waits counts before its session is declared dead;
// then it lets deadlines pass; then it sends; then it sleeps. Packets that are due
// within a millisecond of each other go out together: the time is taken out of the
// jitter, so that no gap grows beyond the interval or shrinks below 75 % of it.
// With many sessions it does not wake for packets that come in, but reads them when
// it wakes to send. Nothing is allocated once a session exists.
//
// Sending is by raw sockets with headers prepared
// here: one system call sends for many sessions, each of which still has a source
// port of its own (RFC 5881, Section 4). That needs CAP_NET_RAW; SO_PRIORITY 7 and large send
// buffers need CAP_NET_ADMIN, and a namespace other than the process's own needs
// CAP_SYS_ADMIN.
//
// A neighbour that does not resolve costs no other session a packet, although what is sent to
// it waits in the kernel for some 3 s and fills the send buffer of its socket. All sessions of a
// namespace and family that hear their peers send by one socket; those that hear nothing by
// others, 64 sessions each, whose packets fit in any buffer as they are sent once a second. What
// remains is sessions whose neighbours cease to resolve while they are Up, as all on a link do
// when that loses its carrier: until they are Down their packets wait at the first socket, whose
// buffer is large enough for ten of each of 16384 sessions. Without CAP_NET_ADMIN it has
// twice net.core.wmem_max, 512 packets by default. A packet for which there is no room is lost, is
// not counted in [Status].Sent, and [Config].Notice hears how many, once a minute at most.
//
// With permission (CAP_SYS_NICE) the thread runs under SCHED_FIFO. On a machine
// whose processors are all busy this decides: every false alarm we have seen came
// from a thread that was not given the processor. See [Config.RealTime]. The other threads
// stay ordinary ones.
//
// # What a session needs
//
// A session follows its namespace by path, its interface by name and, without a local
// address, the kernel's choice of one. What is not there yet, or not any more, is looked for
// again, at first after a quarter of a second, in the end every 2 seconds; why is in
// [Status].Err and in an event. A session that is Up is left alone, unless the kernel
// refuses its packets or it is added again. If the path of its namespace leads to another
// one, it moves there when it is Down, under another discriminator.
//
// A session bound to an interface takes packets that came in by that interface. Packets that
// never left the host are for those only whose peer is the host itself: a filter at the
// socket drops them otherwise, since the kernel reports their interface as their sender
// likes.
//
// State changes reach the rest of the program through a cell of atomic words and
// a dirty bit for each session, never through a queue: a reader that sleeps finds
// the latest state when it wakes, and its [Watcher] sees to it that a Down between
// two Ups is not lost.
//
// # The separate process
//
// [Serve] runs the sessions in a process that does nothing else. They stay up when
// the daemon crashes, is stopped or restarted, and their packets carry the C bit
// that says so (RFC 5882, Section 4.3). A client that comes back adds its sessions
// again, finds them as they were, and says [Client.Synced]. Clients that want the
// same session share it, with the more demanding of their wishes. What nobody came
// back for within the restart time ends in AdminDown, which the remote system does
// not take for a failure.
//
// With each session the client may leave a list of next-hop objects of the kernel
// ([NextHop]). If the session goes Down they are deleted on the spot by a thread of
// its own, after checks that make sure that traffic has somewhere else to go. The
// client reads about it in [Event.Failover] and reconciles.
//
// [Takeover] replaces the process itself: sockets, timers, discriminators and
// sequence numbers go to the successor, no session notices.
//
// The protocol on the socket is described in protocol.go.
//
// # Without a thread
//
// [DrivenServer], [DrivenProcess] and [DrivenClient] are the same code, in which the caller
// delivers packets and lets time pass, for simulators: nothing else runs, and the same calls
// send the same octets.
//
// # Another BFD daemon on the machine
//
// By default one socket receives for all addresses of a namespace, and no second
// daemon can bind the port. With [Config.Coexist] there is a socket for each local
// address, with SO_REUSEADDR. The kernel gives a packet to the socket with the most
// specific address, so the other daemon may bind to other addresses, or to all
// (BIRD does either, with `strict bind`), as long as it sets SO_REUSEADDR too, as
// BIRD and FRR do. Two daemons for the same local address cannot work: the
// kernel would hand every packet to only one of them. (SO_REUSEPORT would spread
// packets by source port, which is worse.)
//
// # Limits
//
// It works on Linux only: on another system the package compiles, and [NewServer] returns
// [errors.ErrUnsupported]. 16384 sessions a Server, one for each source port. Intervals from 1 ms;
// below 10 ms the kernel's scheduling sets the limit. A successor that is stopped
// between "go" and "I run" (see internal/bfdcore) has the sessions, and nobody serves them
// until it goes on.
//
// RFCs: 5880, 5881, 5882 (what events tell), 5883, 9747, and of 9764 that octets
// beyond Length are ignored.
package bfd
