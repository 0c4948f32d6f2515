package bgp

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

var (
	addr1 = netip.MustParseAddr("10.0.0.1")
	addr2 = netip.MustParseAddr("10.0.0.2")
	addr3 = netip.MustParseAddr("10.0.0.3")
)

// everybody is any address, in calls of a network.
var everybody netip.Addr

// node is a running speaker in a test.
type node struct {
	*Speaker
	t      *testing.T
	stop   context.CancelFunc
	done   chan struct{}
	events *Watcher
}

// run starts a speaker at addr in n.
func run(t *testing.T, n *bgptest.Network, addr netip.Addr, c Config) *node {
	t.Helper()
	c.AS, c.RouterID = or(c.AS, 65000), addr
	c.Listen = []netip.AddrPort{netip.AddrPortFrom(addr, Port)}
	c.Listener, c.Dialer = n.Listen, n.Dialer(addr)
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
