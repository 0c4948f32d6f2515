package bgp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// pipeNet is a network of net.Pipes, or of cables if it has a source of random. Addresses
// are real, nothing else is.
type pipeNet struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*pipeListener
	conns     []net.Conn
	down      bool // dialling fails
	deaf      bool // nobody answers who dials
	dials     []time.Time
	random    *rand.Rand
}

func newPipeNet() *pipeNet { return &pipeNet{listeners: map[netip.AddrPort]*pipeListener{}} }

type pipeListener struct {
	n      *pipeNet
	addr   netip.AddrPort
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *pipeNet) Listen(_ context.Context, addr netip.AddrPort) (net.Listener, error) {
	l := &pipeListener{n: n, addr: addr, accept: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[addr] = l
	return l, nil
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.n.listeners[l.addr] == l {
		delete(l.n.listeners, l.addr)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

var errRefused = errors.New("connection refused")

// dialer returns a DialFunc for a host with an address.
func (n *pipeNet) dialer(own netip.Addr) DialFunc {
	return func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
		if !local.Addr().IsValid() {
			local = netip.AddrPortFrom(own, 40000)
		}
		return n.dial(ctx, local, remote)
	}
}

func (n *pipeNet) dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	l, down, deaf := n.listeners[remote], n.down, n.deaf
	n.dials = append(n.dials, time.Now())
	n.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if l == nil || down {
		return nil, errRefused
	}
	near, far := n.connect(local, remote)
	select {
	case l.accept <- far:
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	n.conns = append(n.conns, near, far)
	n.mu.Unlock()
	return near, nil
}

func (n *pipeNet) connect(local, remote netip.AddrPort) (near, far net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.random == nil {
		a, b := net.Pipe()
		return &pipeConn{a, local, remote}, &pipeConn{b, remote, local}
	}
	a, b := newCable(n.random)
	a.local, a.remote, b.local, b.remote = local, remote, remote, local
	return a, b
}

// setDown makes dialling fail, or work again.
func (n *pipeNet) setDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// cut ends all connections as a network failure that both sides notice.
func (n *pipeNet) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

type pipeConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c *pipeConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *pipeConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

var (
	addr1 = netip.MustParseAddr("10.0.0.1")
	addr2 = netip.MustParseAddr("10.0.0.2")
	addr3 = netip.MustParseAddr("10.0.0.3")
)

// node is a running speaker in a test.
type node struct {
	*Speaker
	t      *testing.T
	stop   context.CancelFunc
	done   chan struct{}
	events *Watcher
}

// run starts a speaker at addr in n.
func run(t *testing.T, n *pipeNet, addr netip.Addr, c Config) *node {
	t.Helper()
	c.AS, c.RouterID = or(c.AS, 65000), addr
	c.Listen = []netip.AddrPort{netip.AddrPortFrom(addr, Port)}
	c.Listener, c.Dialer = n.Listen, n.dialer(addr)
	jitter := float64(addr.As4()[3]) / 10 // each its own, and always the same
	c.Random = func() float64 { return jitter }
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	nd := &node{Speaker: s, t: t, stop: cancel, done: make(chan struct{}), events: s.Watch()}
	go func() {
		defer close(nd.done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	t.Cleanup(nd.kill)
	return nd
}

// kill ends a speaker the way a crash does.
func (n *node) kill() {
	n.stop()
	<-n.done
}

func (n *node) peer(c PeerConfig) {
	n.t.Helper()
	if err := n.AddPeer(c); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) originate(prefixes ...string) {
	n.t.Helper()
	for _, p := range prefixes {
		if err := n.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(p)}); err != nil {
			n.t.Fatal(err)
		}
	}
}

// state returns the state of a peer, Idle if there is none.
func (n *node) state(addr netip.Addr) State {
	st, err := n.Peer(PeerKey{Addr: addr})
	if err != nil {
		return Idle
	}
	return st.State
}

func (n *node) mustBe(addr netip.Addr, want State) {
	n.t.Helper()
	if got := n.state(addr); got != want {
		st, _ := n.Peer(PeerKey{Addr: addr})
		n.t.Fatalf("%v: state of %v is %v, want %v; last error: %v", n.env.cfg.RouterID, addr, got, want, st.LastError)
	}
}

// paths returns the best paths of a prefix.
func (n *node) paths(prefix string) []rib.Path {
	w := n.Table().Watch(rib.WatchConfig{})
	defer w.Close()
	changes := make([]rib.Change, 64)
	for {
		k := w.Next(changes)
		if k == 0 {
			return nil
		}
		for _, c := range changes[:k] {
			if c.Prefix == netip.MustParsePrefix(prefix) {
				return c.Paths
			}
		}
	}
}

func (n *node) has(prefix string, want int) {
	n.t.Helper()
	if got := n.paths(prefix); len(got) != want {
		n.t.Fatalf("%v: %d paths to %s, want %d: %v", n.env.cfg.RouterID, len(got), prefix, want, got)
	}
}

// settle lets virtual time pass.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var bothFamilies = []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}

// deafen keeps back what is sent to addr, for a time.
func (n *pipeNet) deafen(addr netip.Addr, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if c, ok := c.(*cable); ok && c.local.Addr() == addr {
			c.in.pause(d)
		}
	}
}
