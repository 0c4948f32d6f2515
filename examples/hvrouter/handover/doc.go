// Package handover lets the daemon's sockets outlive the daemon.
//
// While the daemon restarts, nobody answers guests that ask for their neighbours (unless
// the kernel does). But a question need not be lost: if somebody else has the receiving
// socket open, it waits there, and the next daemon answers it. So the process that
// outlives the daemon anyway, the one of the BFD sessions, keeps a second descriptor of
// each socket ([Serve]); the daemon gives it one whenever it opens a socket ([Client]),
// and takes what an earlier daemon left when it starts. Nothing needs to happen when the
// daemon ends, so a daemon that is killed leaves as much as one that is told to end.
//
// Who owns what: the daemon alone reads the sockets, of which there is one a protocol and
// namespace. The store only holds them, and is the only one to do so from the moment it
// sees the connection of the daemon close. The kernel notes when each question
// arrives, so the next daemon can tell which are too old to matter; and after
// [Config.Patience] the store lets go of everything. Guests that the daemon had silenced, because
// they flood, stay so: that is part of the socket.
//
// systemd's file descriptor store (FDSTORE=1 of sd_notify) is the same idea for services
// that it starts. This one needs no systemd, and has an end to its patience.
//
// The protocol runs over a unix socket of the kind SOCK_SEQPACKET. A message is one
// octet that says what to do, and a name; those that hand over a socket have its
// descriptor alongside (SCM_RIGHTS). The daemon begins with take (the store answers
// with a keep for everything it has, and an end) or with anew (the store drops
// everything: it is told all names again), and goes on with keep and forget, which have
// no answer.
package handover

// What a message says, its first octet.
const (
	take   = 't'
	anew   = 'n'
	put    = 'k' // a name, with a descriptor
	forget = 'f' // a name
	end    = 'e'
)

const (
	// longestName bounds a name.
	longestName = 64
	// most bounds how many sockets are kept. A daemon of before gave one a guest and
	// protocol.
	most = 1 << 15
)
