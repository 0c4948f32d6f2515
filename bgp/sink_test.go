package bgp

import (
	"net/netip"
	"slices"
	"time"
)

// sink is a Transport in which nothing moves by itself.
type sink struct {
	now       time.Time
	dials     []*Attempt
	cancelled []*Attempt
	conns     []*sinkConn
	sent      []*sinkConn // that have sent since written was called
}

// sinkConn is a connection of a sink.
type sinkConn struct {
	k             *sink
	local, remote netip.AddrPort
	onSend        func()
	got           [][]byte // what Send was called with, unless quiet
	quiet         bool
	final         []byte
	closed        bool
}

func (k *sink) Now() time.Time    { return k.now }
func (k *sink) Dial(a *Attempt)   { k.dials = append(k.dials, a) }
func (k *sink) Cancel(a *Attempt) { k.cancelled = append(k.cancelled, a) }

// conn makes a connection from somebody.
func (k *sink) conn(remote netip.Addr) *sinkConn {
	c := &sinkConn{k: k, local: netip.AddrPortFrom(addr1, Port), remote: netip.AddrPortFrom(remote, 40000)}
	k.conns = append(k.conns, c)
	return c
}

// last returns the connection that somebody has made last.
func (k *sink) last(remote netip.Addr) *sinkConn {
	for _, c := range slices.Backward(k.conns) {
		if c.remote.Addr() == remote {
			return c
		}
	}
	return nil
}

func (c *sinkConn) LocalAddr() netip.AddrPort  { return c.local }
func (c *sinkConn) RemoteAddr() netip.AddrPort { return c.remote }

func (c *sinkConn) Send(b []byte) {
	c.k.sent = append(c.k.sent, c)
	if !c.quiet {
		c.got = append(c.got, slices.Clone(b))
	}
	if c.onSend != nil {
		c.onSend()
	}
}

func (c *sinkConn) Close(final []byte, _ time.Duration) {
	c.final, c.closed = slices.Clone(final), true
}

// written reports everything as written.
func (k *sink) written(d *Driver) {
	sent := k.sent
	k.sent = nil
	for _, c := range sent {
		d.Sent(c, nil)
	}
}

// advance lets time pass.
func (k *sink) advance(d *Driver, by time.Duration) {
	k.now = k.now.Add(by)
	d.Advance(k.now)
}
