package bgp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Speaker is a BGP speaker for one routing domain. Its methods are safe for
// concurrent use.
type Speaker struct {
	cfg   Config
	table *rib.Table
	hub   eventHub
	wg    sync.WaitGroup // everything that Run must wait for

	mu        sync.Mutex
	ctx       context.Context // of Run; nil before
	stopped   bool
	peers     map[PeerKey]*peer
	ranges    []*dynamicRange // longest prefix first
	dynamic   int             // peers that came from ranges
	inventory bool            // InventoryComplete was called
	listeners []*listener
	startup   *startup
	recheck   chan struct{} // the startup's timers may have changed
}

// New checks the configuration. Nothing happens before [Speaker.Run].
func New(c Config) (*Speaker, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	g := c.GracefulRestart
	restarting := g.Enabled && g.Restarting
	table, err := rib.New(rib.Config{
		AS: c.AS, RouterID: c.RouterID, ClusterID: c.ClusterID, Multipath: c.Multipath,
		Deferred: restarting && !g.EarlyUpdates, HoldEndOfRIB: restarting,
	})
	if err != nil {
		return nil, fmt.Errorf("bgp: config: %w", err)
	}
	return &Speaker{
		cfg: c, table: table, peers: map[PeerKey]*peer{},
		startup: newStartup(g, time.Time{}), recheck: make(chan struct{}, 1),
	}, nil
}

// Table returns the Loc-RIB: local paths are originated and best paths watched
// there. It is there before Run and after it.
func (s *Speaker) Table() *rib.Table { return s.table }

// Run opens the listeners and runs all sessions until ctx ends. It returns nil
// then, or an error at once if an address cannot be listened on. When it returns,
// no goroutine of the speaker is left.
//
// The end of ctx closes the sessions without a NOTIFICATION, as a crash would:
// peers with graceful restart keep our routes. Call [Speaker.Shutdown] before for
// a stop that peers are told of. A speaker runs once.
func (s *Speaker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.open(ctx); err != nil {
		return err
	}
	s.wg.Go(func() { s.watchStartup(ctx) })
	<-ctx.Done()
	s.mu.Lock()
	s.stopped = true
	for _, l := range s.listeners {
		l.nl.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// open starts everything.
func (s *Speaker) open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx != nil {
		return errors.New("bgp: Run was called before")
	}
	for _, addr := range s.cfg.Listen {
		l, err := listen(ctx, &s.cfg, addr)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("bgp: listen: %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	s.ctx = ctx
	s.startup.began = time.Now()
	if err := s.secure(); err != nil {
		s.closeListeners()
		return fmt.Errorf("bgp: listen: %w", err)
	}
	for _, l := range s.listeners {
		s.wg.Go(func() { l.serve(s.admit) })
	}
	for _, p := range s.peers {
		s.launch(p)
	}
	return nil
}

func (s *Speaker) closeListeners() {
	for _, l := range s.listeners {
		l.nl.Close()
	}
	s.listeners = nil
}

// admit gives an accepted connection to its peer, or closes it.
func (s *Speaker) admit(nc net.Conn, release func()) {
	remote, local := addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	in := incoming{nc: nc, release: release}
	s.mu.Lock()
	var p *peer
	if !s.stopped {
		p = s.owner(remote.Addr(), local.Addr())
	}
	ok := false
	if p != nil {
		select {
		case p.incoming <- in:
			ok = true
		default: // more connections than it can look at
		}
	}
	s.mu.Unlock()
	if !ok {
		nc.Close()
		release()
	}
}

// running reports whether Run has begun.
func (s *Speaker) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx != nil
}

// owner finds the peer that a connection belongs to, or makes one from a range.
func (s *Speaker) owner(remote, local netip.Addr) *peer {
	if p := s.peers[PeerKey{remote, local}]; p != nil {
		return p
	}
	if p := s.peers[PeerKey{Addr: remote}]; p != nil {
		return p
	}
	bare := remote.WithZone("")
	for _, r := range s.ranges {
		if !r.prefix.Contains(bare) {
			continue
		}
		if r.peers >= r.limit || s.dynamic >= s.cfg.MaxDynamicPeers {
			return nil
		}
		return s.spawn(r, remote)
	}
	return nil
}

// Peers returns the status of all peers, ordered by key.
func (s *Speaker) Peers() []PeerStatus {
	s.mu.Lock()
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	s.mu.Unlock()
	out := make([]PeerStatus, 0, len(peers))
	for _, p := range peers {
		out = append(out, p.status())
	}
	slices.SortFunc(out, func(a, b PeerStatus) int {
		if c := a.Key.Addr.Compare(b.Key.Addr); c != 0 {
			return c
		}
		return a.Key.Local.Compare(b.Key.Local)
	})
	return out
}

// Peer returns the status of one peer.
func (s *Speaker) Peer(key PeerKey) (PeerStatus, error) {
	p, err := s.find(key)
	if err != nil {
		return PeerStatus{}, err
	}
	return p.status(), nil
}

// Subscribe returns a new reader of events, from now on.
func (s *Speaker) Subscribe() *Subscription { return s.hub.subscribe() }

func (s *Speaker) find(key PeerKey) (*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[key]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("bgp: peer %v: %w", key, ErrNoPeer)
}

func (s *Speaker) machineConfig(c *PeerConfig) machineConfig {
	dialMin := dialTimeout
	if c.TTLSecurity {
		dialMin = dialTimeoutTTL
	}
	return machineConfig{
		localID: idNumber(s.cfg.RouterID), localAS: s.cfg.AS,
		passive:  c.Passive,
		retryMin: c.ConnectRetry / 8, retryMax: c.ConnectRetry,
		errorMin: min(time.Second, c.IdleHold), errorMax: c.IdleHold,
		dialMin: dialMin, dialTimeout: dialTimeout, sendHoldTime: c.SendHold,
		random: s.cfg.Random,
	}
}

// dialTimeout is how long an attempt to connect may take: the kernel sends a SYN at
// once and after one second, then less and less often, so a fresh attempt finds a
// path that is back sooner than an old one.
const dialTimeout = 2 * time.Second

// dialTimeoutTTL is how long the first attempt may take with GTSM: the RST of a peer
// that does not listen yet has a TTL of 64, so our own kernel drops it, and the attempt
// hangs until the next SYN. A peer next door answers within milliseconds.
const dialTimeoutTTL = 250 * time.Millisecond

// wireOptions says how UPDATEs of a session are to be read.
func wireOptions(n *Negotiated, localAS uint32) wire.Options {
	return wire.Options{
		AS4: n.AS4, IBGP: n.internal(localAS), Families: n.Families,
		AddPath: n.AddPathReceive, ExtendedNextHop: n.IPv6NextHop,
	}
}
