package bfd

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// drivenClock is the clock of a [DrivenServer]. It does not go back.
type drivenClock struct {
	read   func() (time.Duration, time.Time) // the caller's
	latest time.Duration                     // that it has shown, or was advanced to
}

func (c *drivenClock) now() time.Duration {
	mono, _ := c.read()
	c.latest = max(c.latest, mono)
	return c.latest
}

func (c *drivenClock) both() (time.Duration, int64) {
	_, wall := c.read()
	return c.now(), wall.UnixNano()
}

func (c *drivenClock) wall(at time.Duration) time.Time {
	mono, wall := c.read()
	return wall.Add(at - mono)
}

func (c *drivenClock) time() time.Time { return time.Unix(0, 0).Add(c.now()) }

// monotonic is the inverse of drivenClock.time.
func monotonic(t time.Time) time.Duration { return t.Sub(time.Unix(0, 0)) }

// drivenHost is the host of a [DrivenServer]. Its descriptors are numbers without meaning.
type drivenHost struct {
	driven *DrivenServer
	rng    uint32 // state of the generator of random numbers
	fd     int    // last descriptor
}

func newDrivenHost(d *DrivenServer) *drivenHost {
	return &drivenHost{driven: d, rng: cmp.Or(d.cfg.Seed*0x9e3779b1, 1)} // spreads small seeds
}

func (h *drivenHost) clock() (clock, error) { return h.driven.clock, nil }

func (h *drivenHost) random() uint32 {
	h.rng = xorshift(h.rng)
	return h.rng
}

func (h *drivenHost) open() int {
	h.fd++
	return h.fd
}

func (h *drivenHost) namespace(path string) (namespace, error) {
	id, err := h.driven.cfg.Host.NetNS(path)
	if err != nil {
		return nil, err
	}
	return &drivenNamespace{host: h, id: id}, nil
}

func (h *drivenHost) namespaceOf(_ int, path string) (namespace, error) { return h.namespace(path) }

func (h *drivenHost) closeFD(int) {}

func (h *drivenHost) listener(int) (listener, error) { return drivenListener{}, nil }

func (h *drivenHost) poller() (poller, error) { return nil, errors.ErrUnsupported }

func (h *drivenHost) dial(context.Context, string) (stream, error) {
	return nil, errors.ErrUnsupported
}

// drivenListener is handed from one process to the other, and does nothing else.
type drivenListener struct{}

func (drivenListener) Accept() (stream, error)            { return nil, errors.ErrUnsupported }
func (drivenListener) close(bool)                         {}
func (drivenListener) control(f func(fd int) error) error { return f(0) }

// drivenNamespace is a network namespace of a [DrivenHost].
type drivenNamespace struct {
	host *drivenHost
	id   int
}

func (n *drivenNamespace) ask() DrivenHost { return n.host.driven.cfg.Host }

func (n *drivenNamespace) at(path string) (same, exists bool) {
	id, err := n.ask().NetNS(path)
	return err == nil && id == n.id, err == nil
}

func (n *drivenNamespace) link(name string) (device, error) {
	index, err := n.ask().Interface(n.id, name)
	return device{index: index}, err
}

func (n *drivenNamespace) source(k Key) (netip.Addr, error) { return n.ask().Source(n.id, k) }

func (n *drivenNamespace) isLocal(netip.Addr) bool { return false }

func (n *drivenNamespace) sender(bool) (fd int, lacks, err error) { return n.host.open(), nil, nil }

func (n *drivenNamespace) enlarge(int) {}

func (n *drivenNamespace) receiver(rxKey) (int, error) { return n.host.open(), nil }

func (n *drivenNamespace) echo(bool, int) (int, error) { return -1, errDrivenEcho }

var errDrivenEcho = errors.New("no echo sessions without sockets")

func (n *drivenNamespace) fromSelf(int, bool) error { return nil }

func (n *drivenNamespace) neighbor(int, netip.Addr) []byte { return nil }

func (n *drivenNamespace) poke(Key) {}

func (n *drivenNamespace) nextHops() (nextHops, error) {
	f := n.host.driven.cfg.NextHops
	if f == nil {
		return nil, bfdcore.ErrNoNextHop
	}
	return drivenHops{f(n.id)}, nil
}

func (n *drivenNamespace) close() {}

type drivenHops struct{ bfdcore.Kernel }

func (drivenHops) close() {}
