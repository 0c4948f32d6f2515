package sessions

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/hyperfib/hyperfib/bgp"
)

// pipeNet is a network of net.Pipes.
type pipeNet struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*pipeListener
}

func newPipeNet() *pipeNet { return &pipeNet{listeners: map[netip.AddrPort]*pipeListener{}} }

// use connects a speaker to the network.
func (n *pipeNet) use(c *bgp.Config) {
	c.Listener, c.Dialer, c.NetNS, c.Interface = n.listen, n.dial, "", ""
}

type pipeListener struct {
	n      *pipeNet
	addr   netip.AddrPort
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *pipeNet) listen(_ context.Context, addr netip.AddrPort) (net.Listener, error) {
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

func (n *pipeNet) dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[remote]
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	a, b := net.Pipe()
	select {
	case l.accept <- pipeConn{b, remote, local}:
		return pipeConn{a, local, remote}, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c pipeConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c pipeConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
