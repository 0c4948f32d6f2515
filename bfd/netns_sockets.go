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
	tx    [2]*txSocket        // raw, IPv4 and IPv6
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

// txSocket sends finished frames of one family, in batches.
type txSocket struct {
	fd    int       // the descriptor
	ipv6  bool      // else IPv4
	batch []mmsghdr // what the next sendmmsg sends
	who   []*entry  // whose packets they are
}

// txBatch is the most packets handed to the kernel at once. One call with so
// many takes about 100 us, which is what a Poll may have to wait.
const txBatch = 64

func newNetNSSockets(path string, ns namespace) *netnsSockets {
	return &netnsSockets{path: path, ns: ns, rx: map[rxKey]*rxSocket{}, echo: map[rxKey]*txSocket{}}
}

func newSender(fd int, ipv6 bool) *txSocket {
	return &txSocket{fd: fd, ipv6: ipv6}
}

func index(ipv6 bool) int {
	if ipv6 {
		return 1
	}
	return 0
}

// addSender takes a socket into use that sends for a family.
func (sp *netnsSockets) addSender(ipv6 bool, fd int) { sp.tx[index(ipv6)] = newSender(fd, ipv6) }

// addReceiver takes a socket into use.
func (sp *netnsSockets) addReceiver(key rxKey, fd int) *rxSocket {
	sp.rx[key] = &rxSocket{fd: fd, space: sp, rxKey: key, open: true}
	if key.port == EchoPort { // a packet socket, for both directions
		sp.echo[key] = newSender(fd, key.ipv6)
	}
	return sp.rx[key]
}

// descriptors calls f for every socket.
func (sp *netnsSockets) descriptors(f func(fd int)) {
	for _, t := range sp.tx {
		if t != nil {
			f(t.fd)
		}
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
