package bgptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Network is a network in memory. Its methods Listen and Dialer are what the fields of the
// same names of a speaker's configuration want. The zero value is a network without faults,
// ready for use. It must not be copied. It is safe for concurrent use.
//
// In methods that take two addresses, the zero netip.Addr stands for every address.
type Network struct {
	mu        sync.Mutex                   // guards all fields
	listeners map[netip.AddrPort]*listener // that are open
	conns     []*Conn                      // both ends of the connections, but for those that are over
	cuts      []pair                       // pairs between which nothing arrives
	refusing  []netip.Addr                 // addresses that refuse connections
	joined    chan struct{}                // closed when a cut ends; nil: nobody waits
	dials     []time.Time                  // when each connection was tried
	random    *rand.Rand                   // nil: pieces are as large as they can be
	sizes     []int                        // of pieces; nil: any
}

// pair is two addresses, in any order.
type pair [2]netip.Addr

func (p pair) covers(a, b netip.Addr) bool {
	match := func(x, y netip.Addr) bool { return matches(p[0], x) && matches(p[1], y) }
	return match(a, b) || match(b, a)
}

// matches reports whether an address is the one asked for, or any is.
func matches(asked, addr netip.Addr) bool { return !asked.IsValid() || asked == addr }

// errRefused is what a host without a listener answers.
var errRefused = os.NewSyscallError("connect", syscall.ECONNREFUSED)

// Segment makes the connections opened from now on hand octets over in pieces, as TCP may: a
// test of what reads a stream. The sizes are drawn at random from sizes, or, if there are
// none, from 1 to 65,536 octets. Equal seeds give equal pieces for equal traffic.
func (n *Network) Segment(seed uint64, sizes ...int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.random, n.sizes = rand.New(rand.NewPCG(seed, 0)), slices.Clone(sizes)
}

// Listen opens a listener at an address and port. The address cannot be unspecified. It is
// an error if there is one already. The listener's connections are of type *[Conn].
func (n *Network) Listen(_ context.Context, addr netip.AddrPort) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !addr.Addr().IsValid() || addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("bgptest: listen on %v: an address of a host is needed", addr)
	}
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("bgptest: listen on %v: %w", addr, syscall.EADDRINUSE)
	}
	l := &listener{n: n, addr: addr, accept: make(chan *Conn), closed: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = map[netip.AddrPort]*listener{}
	}
	n.listeners[addr] = l
	return l, nil
}

// Dialer returns a function that opens connections from a host: from port 40000 of host if
// the function is not given a local address. The connections are of type *[Conn].
func (n *Network) Dialer(host netip.Addr) func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
		if !local.Addr().IsValid() {
			local = netip.AddrPortFrom(host, 40000)
		}
		c, err := n.dial(ctx, local, remote)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: err}
		}
		return c, nil
	}
}

func (n *Network) dial(ctx context.Context, local, remote netip.AddrPort) (*Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, time.Now())
	n.mu.Unlock()
	l, err := n.reach(ctx, local.Addr(), remote)
	if err != nil {
		return nil, err
	}
	near, far := n.connect(local, remote)
	select {
	case l.accept <- far:
		return near, nil
	case <-l.closed:
		err = errRefused
	case <-ctx.Done():
		err = ctx.Err()
	}
	near.Close()
	far.Close()
	return nil, err
}

// reach finds the listener at remote; while the network is cut there, nobody answers.
func (n *Network) reach(ctx context.Context, from netip.Addr, remote netip.AddrPort) (*listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.isCut(from, remote.Addr()) {
		if n.joined == nil {
			n.joined = make(chan struct{})
		}
		joined := n.joined
		n.mu.Unlock()
		var err error
		select {
		case <-joined:
		case <-ctx.Done():
			err = ctx.Err()
		}
		n.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	refused := slices.ContainsFunc(n.refusing, func(a netip.Addr) bool { return matches(a, remote.Addr()) })
	l := n.listeners[remote]
	if l == nil || refused {
		return nil, errRefused
	}
	return l, nil
}

// isCut reports whether nothing passes between two addresses; the lock is held.
func (n *Network) isCut(a, b netip.Addr) bool {
	return slices.ContainsFunc(n.cuts, func(p pair) bool { return p.covers(a, b) })
}

func (n *Network) connect(local, remote netip.AddrPort) (near, far *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	near, far = newConns(n.random, n.sizes, local, remote)
	n.conns = slices.DeleteFunc(n.conns, (*Conn).over)
	n.conns = append(n.conns, near, far)
	n.hold()
	return near, far
}

// hold brings every connection in line with the cuts; the lock is held.
func (n *Network) hold() {
	for _, c := range n.conns {
		c.in.hold(n.isCut(c.local.Addr(), c.remote.Addr()))
	}
}

// Cut makes the network between two hosts swallow everything, in both directions, as an
// unplugged cable far away does: connections stay, nothing arrives, and who dials gets no
// answer, until [Network.Join]. A writer has to wait once 100,000 octets are on their way.
func (n *Network) Cut(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = append(n.cuts, pair{a, b})
	n.hold()
}

// Join ends every Cut that concerns the two hosts. What was sent meanwhile arrives, since
// TCP sends it again, and who waits for an answer to a dial gets one.
func (n *Network) Join(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = slices.DeleteFunc(n.cuts, func(p pair) bool {
		asked := pair{a, b}
		return asked.covers(p[0], p[1]) || p.covers(a, b)
	})
	n.hold()
	if n.joined != nil {
		close(n.joined)
		n.joined = nil
	}
}

// Reset ends the connections between two hosts: at both ends reading and writing fail with
// [syscall.ECONNRESET], and what was on its way is lost. They may connect again at once.
func (n *Network) Reset(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if (pair{a, b}).covers(c.local.Addr(), c.remote.Addr()) {
			c.in.reset()
			c.out.reset()
		}
	}
}

// Stall holds back for a time what one host sends to another, on the connections that there
// are: a receiver that does not read, a network that is full. What is sent back is not
// concerned. It arrives afterwards; the sender has to wait once 100,000 octets are on their
// way. Another Stall replaces the one before.
func (n *Network) Stall(from, to netip.Addr, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if matches(to, c.local.Addr()) && matches(from, c.remote.Addr()) {
			c.in.pause(d)
		}
	}
}

// Refuse makes a host refuse connections although a program listens, or not any more. Those
// that there are stay.
func (n *Network) Refuse(host netip.Addr, refuse bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refusing = slices.DeleteFunc(n.refusing, func(a netip.Addr) bool { return matches(host, a) })
	if refuse {
		n.refusing = append(n.refusing, host)
	}
}

// Dials returns when hosts dialled, in order, whatever came of it.
func (n *Network) Dials() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dials)
}

// listener is an open port.
type listener struct {
	n      *Network       // the network that it belongs to
	addr   netip.AddrPort // the open port
	accept chan *Conn     // connections on their way to Accept
	closed chan struct{}  // closed by Close
	once   sync.Once      // closes closed
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.n.listeners[l.addr] == l {
		delete(l.n.listeners, l.addr)
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// Run runs a speaker, or whatever else has a Run, in a goroutine. kill ends it as a crash
// does, by the end of its context: connections are closed without a NOTIFICATION. It returns
// what Run returned, and does nothing the second time.
func Run(speaker interface{ Run(context.Context) error }) (kill func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = speaker.Run(ctx)
	}()
	return func() error {
		cancel()
		<-done
		return err
	}
}
