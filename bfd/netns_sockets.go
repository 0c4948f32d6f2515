package bfd

import (
	"errors"
	"sync"
)

// netnsSockets is a network namespace with the sockets of its sessions. The attacher owns it; the
// owner knows the sockets' descriptors and what they are bound to.
type netnsSockets struct {
	path  string              // as in Key.NetNS
	ns    namespace           // the namespace, held open
	tx    map[txKey]*txSocket // raw
	rx    map[rxKey]*rxSocket // by what they are bound to
	echo  map[rxKey]*txSocket // packet sockets, also in rx
	users int                 // attachments

	hopMu  sync.Mutex // guards the following
	hops   nextHops   // nil: not opened yet
	closed bool       // hops is not to be opened any more
}

// rxSocket receives packets.
type rxSocket struct {
	fd    int           // the descriptor
	space *netnsSockets // the namespace that it was opened in
	rxKey
	users int  // attachments
	self  int  // users that take packets of this host
	open  bool // to such packets, as every socket is at first
}

// txKey says whose packets a raw socket sends.
//
// A packet for a neighbour that does not resolve waits in the kernel for as long as it is asked for, 3 s as a
// rule (mcast_solicit and retrans_time_ms of arp(7)), and is charged to the send buffer of its socket meanwhile. So a
// session that hears nothing never shares a socket with one that does.
type txKey struct {
	ipv6  bool // else IPv4
	quiet int  // 0: of all sessions that hear their peers; n: of those of group n that do not
}

// quietGroup is how many sessions share a socket while they hear nothing. They send once a second (RFC 5880, Section
// 6.8.3), so that each has 4 packets in the buffer at most, of 832 octets with what the kernel adds (measured): those of
// 64 sessions are half of what a process without privileges gets, which is twice net.core.wmem_max (socket(7)).
const quietGroup = 64

// quietKey is the key of the socket for a session that hears nothing, by its slot.
func quietKey(ipv6 bool, slot int) txKey { return txKey{ipv6, 1 + slot/quietGroup} }

// txSocket sends finished frames of one family, in batches.
type txSocket struct {
	fd    int       // the descriptor
	key   txKey     // of a raw socket
	users int       // attachments, of a socket for sessions that hear nothing
	batch []mmsghdr // what the next sendmmsg sends
	who   []*entry  // whose packets they are
}

// txBatch is the most packets handed to the kernel at once. One call with so
// many takes about 100 us, which is what a Poll may have to wait.
const txBatch = 64

func newNetNSSockets(path string, ns namespace) *netnsSockets {
	return &netnsSockets{path: path, ns: ns, tx: map[txKey]*txSocket{}, rx: map[rxKey]*rxSocket{}, echo: map[rxKey]*txSocket{}}
}

// addSender takes a socket into use.
func (sp *netnsSockets) addSender(key txKey, fd int) *txSocket {
	sp.tx[key] = &txSocket{fd: fd, key: key}
	return sp.tx[key]
}

// addReceiver takes a socket into use.
func (sp *netnsSockets) addReceiver(key rxKey, fd int) *rxSocket {
	sp.rx[key] = &rxSocket{fd: fd, space: sp, rxKey: key, open: true}
	if key.port == EchoPort { // a packet socket, for both directions
		sp.echo[key] = &txSocket{fd: fd}
	}
	return sp.rx[key]
}

// descriptors calls f for every socket.
func (sp *netnsSockets) descriptors(f func(fd int)) {
	for _, t := range sp.tx {
		f(t.fd)
	}
	for _, r := range sp.rx {
		f(r.fd)
	}
}

// withNextHops calls f with the next-hop objects of the namespace, one caller at a time.
func (sp *netnsSockets) withNextHops(f func(nextHops) error) error {
	sp.hopMu.Lock()
	defer sp.hopMu.Unlock()
	switch {
	case sp.closed:
		return errors.New("the namespace is gone")
	case sp.hops == nil:
		hops, err := sp.ns.nextHops()
		if err != nil {
			return err
		}
		sp.hops = hops
	}
	return f(sp.hops)
}

// close lets go of the namespace, whose sockets are closed.
func (sp *netnsSockets) close() {
	sp.hopMu.Lock()
	defer sp.hopMu.Unlock()
	sp.closed = true
	if sp.hops != nil {
		sp.hops.close()
	}
	sp.ns.close()
}
