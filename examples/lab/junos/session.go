package junos

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// errEnd is the end of a session by the client's NOTIFICATION: its routes are not
// kept.
var errEnd = errors.New("cease")

// accept serves one connection from its first message to its end.
func (r *reflector) accept(g *group, conn net.Conn) {
	defer conn.Close()
	from, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	if !g.allow.Contains(from.Addr()) {
		return
	}
	c := &client{r: r, g: g, conn: conn, addr: from.Addr(), dirty: map[netip.Prefix]struct{}{}, sent: map[netip.Prefix][]path{},
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := c.greet(); err != nil {
		r.log.Warn("no session", "group", g.name, "client", c.addr, "err", err)
		return
	}
	r.up(c)
	go c.write()
	err := c.read()
	close(c.done)
	r.down(c, err)
}

// next reads a message.
func (c *client) next() (wire.MessageType, []byte, error) {
	limit := time.Time{}
	if c.hold > 0 {
		limit = time.Now().Add(c.hold)
	}
	_ = c.conn.SetReadDeadline(limit)
	b := make([]byte, wire.MaxLen)
	if _, err := io.ReadFull(c.conn, b[:wire.HeaderLen]); err != nil {
		return 0, nil, err
	}
	h, err := wire.ParseHeader(b, wire.MaxLen)
	if err != nil {
		return 0, nil, err
	}
	_, err = io.ReadFull(c.conn, b[wire.HeaderLen:h.Len])
	return h.Type, b[wire.HeaderLen:h.Len], err
}

// greet waits for the client's OPEN, answers with ours, and waits for the KEEPALIVE.
func (c *client) greet() error {
	c.hold = holdTime
	t, body, err := c.next()
	if err != nil || t != wire.TypeOpen {
		return fmt.Errorf("%v instead of an OPEN: %w", t, err)
	}
	o, err := wire.ParseOpen(body)
	if err != nil {
		return err
	}
	if o.AS != c.r.as || !o.Capabilities.HasFamily(c.g.family) {
		return fmt.Errorf("AS %d, families %v", o.AS, o.Capabilities.Families)
	}
	c.id, c.hold = o.ID, min(holdTime, o.HoldTime)
	mode := addPathNone
	if c.g.paths > 1 {
		mode = addPathSend
		c.addPath = slices.ContainsFunc(o.Capabilities.AddPath, func(a wire.AddPath) bool { return a.Family == c.g.family && a.Receive })
	}
	if g := o.Capabilities.GracefulRestart; g != nil {
		for _, f := range g.Families {
			if f.Family == c.g.family {
				c.restart, c.kept = g.Time, f.ForwardingPreserved
			}
		}
	}
	hello := openMessage(c.r.as, c.r.id, []wire.Family{c.g.family}, mode)
	if _, err := c.conn.Write(wire.AppendKeepalive(hello)); err != nil {
		return err
	}
	if t, _, err = c.next(); err != nil || t != wire.TypeKeepalive {
		return fmt.Errorf("%v instead of a KEEPALIVE: %w", t, err)
	}
	return nil
}

// read takes messages until the session ends.
func (c *client) read() error {
	for {
		t, body, err := c.next()
		if err != nil {
			return err
		}
		switch t {
		case wire.TypeUpdate:
			err = c.learn(body)
		case wire.TypeRouteRefresh:
			c.again()
		case wire.TypeNotification:
			n, _ := wire.ParseNotification(body)
			c.r.log.Info("NOTIFICATION", "client", c.addr, "says", n.String())
			if n.IsHardReset() || c.restart == 0 {
				err = errEnd
			} else {
				err = io.EOF // the N bit: as if the connection was lost
			}
		}
		if err != nil {
			return err
		}
	}
}

// again sends everything once more.
func (c *client) again() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	clear(c.sent)
	c.r.all(c)
}

// all marks every prefix of a client's family.
func (r *reflector) all(c *client) {
	for prefix := range r.table {
		if (c.g.family == wire.IPv6Unicast) == prefix.Addr().Is6() {
			c.mark(prefix)
		}
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// up makes a session the client's only one. An older one means that the client has
// restarted.
func (r *reflector) up(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.clients[c.addr]; old != nil {
		old.ended = true
		old.conn.Close()
		r.table.markStale(c.addr)
	}
	if t := r.absent[c.addr]; t != nil {
		t.Stop()
		delete(r.absent, c.addr)
	}
	if !c.kept {
		r.drop(c.addr, true)
	}
	r.clients[c.addr] = c
	r.all(c)
	r.log.Info("Established", "group", c.g.name, "client", c.addr, "add-path", c.addPath)
	if r.bfd != nil {
		s := r.detect
		s.Key = bfd.Key{Peer: c.addr, Local: c.g.local}
		if err := r.bfd.Add(s); err != nil {
			r.log.Error("BFD", "client", c.addr, "err", err)
		}
	}
}

// down ends a session; the routes of a client that asked for it are kept for a
// while.
func (r *reflector) down(c *client, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ended {
		return // by up or by BFD
	}
	r.log.Info("down", "group", c.g.name, "client", c.addr, "err", err)
	delete(r.clients, c.addr)
	if c.restart == 0 || errors.Is(err, errEnd) {
		r.drop(c.addr, false)
		return
	}
	r.table.markStale(c.addr)
	r.absent[c.addr] = time.AfterFunc(c.restart, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.absent[c.addr] != nil {
			delete(r.absent, c.addr)
			r.drop(c.addr, true)
		}
	})
}
