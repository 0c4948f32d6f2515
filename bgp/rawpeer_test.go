package bgp_test

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// rawPeer is a scripted peer: it sends what it is told, octet by octet, and keeps
// what it hears.
type rawPeer struct {
	conn net.Conn
	opt  wire.Options // of what it receives
	done chan struct{}

	mu           sync.Mutex
	open         *wire.Open
	keepalives   int
	routes       map[netip.Prefix]wire.Attrs
	hops         map[netip.Prefix]wire.NextHop
	notification *wire.Notification
	problem      error // what it hears is wrong
}

func newRawPeer(conn net.Conn) *rawPeer {
	p := &rawPeer{conn: conn, opt: wire.Options{AS4: true, IBGP: true}, done: make(chan struct{}),
		routes: map[netip.Prefix]wire.Attrs{}, hops: map[netip.Prefix]wire.NextHop{}}
	go p.read()
	return p
}

func (p *rawPeer) read() {
	defer close(p.done)
	b := make([]byte, wire.MaxExtendedLen)
	for {
		if _, err := io.ReadFull(p.conn, b[:wire.HeaderLen]); err != nil {
			return
		}
		h, err := wire.ParseHeader(b, wire.MaxExtendedLen)
		if err != nil {
			p.note(err)
			return
		}
		if _, err := io.ReadFull(p.conn, b[wire.HeaderLen:h.Len]); err != nil {
			return
		}
		p.note(p.message(h.Type, b[wire.HeaderLen:h.Len]))
	}
}

func (p *rawPeer) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.problem == nil {
		p.problem = err
	}
}

func (p *rawPeer) message(t wire.MessageType, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch t {
	case wire.TypeOpen:
		o, err := wire.ParseOpen(body)
		p.open = &o
		return err
	case wire.TypeKeepalive:
		p.keepalives++
	case wire.TypeNotification:
		n, err := wire.ParseNotification(slices.Clone(body))
		p.notification = &n
		return err
	case wire.TypeUpdate:
		var u wire.Update
		if err := u.Parse(body, p.opt); err != nil {
			return err
		}
		for _, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
			for n := range u.Unreach(f) {
				delete(p.routes, n.Prefix)
			}
			for n := range u.Reach(f) {
				p.routes[n.Prefix] = u.AppendAttrs(nil)
				p.hops[n.Prefix] = u.NextHop
				if u.MPReach.Family == f {
					p.hops[n.Prefix] = u.MPNextHop
				}
			}
		}
	}
	return nil
}

// route returns what it knows about a prefix.
func (p *rawPeer) route(prefix string) (wire.Attrs, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.routes[netip.MustParsePrefix(prefix)]
	return a, ok
}

// send writes a message. A peer that has gone away is no error: that shows later.
func (p *rawPeer) send(b []byte) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_, _ = p.conn.Write(b)
}

// ended reports whether the connection was closed.
func (p *rawPeer) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// rawOpen is an OPEN of one who speaks both families.
func rawOpen(id string, as uint32, as4 bool, families ...wire.Family) wire.Open {
	return wire.Open{AS: as, HoldTime: 90 * time.Second, ID: netip.MustParseAddr(id),
		Capabilities: wire.Capabilities{Families: families, AS4: as4, RouteRefresh: true, EnhancedRefresh: true}}
}

// announce builds an UPDATE for a prefix with a few attributes and communities.
func announce(tb testing.TB, b wire.Builder, path []uint32, prefix string, communities ...wire.Community) []byte {
	tb.Helper()
	return update(tb, b, wire.PathAttrs{ASPath: path, Communities: communities}, prefix)
}

// update builds an UPDATE for a prefix.
func update(tb testing.TB, b wire.Builder, a wire.PathAttrs, prefix string) []byte {
	tb.Helper()
	p := netip.MustParsePrefix(prefix)
	f, nh := wire.IPv4Unicast, netip.MustParseAddr("192.0.2.1")
	if p.Addr().Is6() {
		f, nh = wire.IPv6Unicast, netip.MustParseAddr("2001:db8::1")
	}
	b.Reach(nil, f, a.Append(nil), wire.NextHop{Addr: nh})
	if !b.Add(wire.NLRI{Prefix: p}) {
		tb.Fatal("message is full")
	}
	return b.Finish()
}
