package junos

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// client is one session.
type client struct {
	r       *reflector
	g       *group
	conn    net.Conn
	addr    netip.Addr
	id      netip.Addr
	hold    time.Duration
	addPath bool
	restart time.Duration // of a client that wants its routes kept; 0: it does not
	kept    bool          // it says that it forwarded all the while

	// Under the reflector's lock.
	dirty map[netip.Prefix]struct{}
	sent  map[netip.Prefix][]path
	ended bool
	wake  chan struct{}
	done  chan struct{}
}

func (c *client) mark(prefix netip.Prefix) {
	c.dirty[prefix] = struct{}{}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// count is how many paths of a prefix it is shown.
func (c *client) count() int {
	if c.addPath {
		return c.g.paths
	}
	return 1
}

// write sends what has changed, and KEEPALIVEs, until the session ends.
func (c *client) write() {
	var beat <-chan time.Time
	if c.hold > 0 {
		t := time.NewTicker(c.hold / 3)
		defer t.Stop()
		beat = t.C
	}
	eor := wire.AppendEndOfRIB(nil, c.g.family)
	for {
		var b []byte
		select {
		case <-c.done:
			return
		case <-beat:
			b = wire.AppendKeepalive(nil)
		case <-c.wake:
			b = append(c.news(), eor...)
			eor = nil
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(holdTime))
		if _, err := c.conn.Write(b); err != nil {
			c.conn.Close()
			return
		}
	}
}

// news are the UPDATEs for the prefixes that have changed.
func (c *client) news() (b []byte) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	for prefix := range c.dirty {
		b = c.update(b, prefix)
	}
	clear(c.dirty)
	return b
}

// update brings the client up to date with one prefix. The identifier of a path is
// its place.
func (c *client) update(b []byte, prefix netip.Prefix) []byte {
	w := wire.Builder{AS4: true}
	if c.addPath {
		w.AddPath = wire.Families(c.g.family)
	}
	was, now := c.sent[prefix], c.r.table.export(prefix, c.g, c.addr, c.count())
	for i, p := range now {
		if i < len(was) && was[i].equal(p) {
			continue
		}
		w.Reach(b, c.g.family, p.attrs, p.next)
		w.Add(wire.NLRI{Prefix: prefix, PathID: uint32(i + 1)})
		b = w.Finish()
	}
	for i := len(now); i < len(was); i++ {
		w.Unreach(b, c.g.family)
		w.Add(wire.NLRI{Prefix: prefix, PathID: uint32(i + 1)})
		b = w.Finish()
	}
	if c.sent[prefix] = slices.Clone(now); len(now) == 0 {
		delete(c.sent, prefix)
	}
	return b
}

// learn takes an UPDATE of the client. An error ends the session.
func (c *client) learn(body []byte) error {
	f := c.g.family
	u, err := wire.ParseUpdate(body, wire.Options{AS4: true, IBGP: true, Families: wire.Families(f)})
	var e *wire.Error
	if errors.As(err, &e) && e.Disposition == wire.SessionReset {
		return err
	}
	withdraw := e != nil && e.Disposition == wire.TreatAsWithdraw
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if end, ok := u.EndOfRIB(); ok && end == f {
		c.r.drop(c.addr, true)
		return nil
	}
	for n, err := range u.Unreach(f) {
		if err == nil {
			c.r.forget(n.Prefix, c.addr)
		}
	}
	attrs, next := u.AppendAttrs(nil), u.NextHop
	if f == wire.IPv6Unicast {
		next = u.MPNextHop
	}
	for n, bad := range u.Reach(f) {
		if bad != nil {
			continue
		}
		p, ok := imported(c.g, c.addr, c.id, attrs, next)
		if withdraw || !ok {
			c.r.forget(n.Prefix, c.addr)
			continue
		}
		c.r.table.set(n.Prefix, p)
		c.r.changed(n.Prefix)
	}
	return nil
}
