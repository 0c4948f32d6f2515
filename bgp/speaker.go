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

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
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
	ranges    []*dynamicRange      // longest prefix first
	dynamic   int                  // peers that came from ranges
	failing   map[PeerKey]pastPeer // dynamic peers that are gone
	inventory bool                 // InventoryComplete was called
	listeners []*listener
	secured   secured
	deferral  *fsm.Deferral[PeerKey]
	recheck   chan struct{} // the deadline of deferral may have changed
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
		deferral: fsm.NewDeferral[PeerKey](deferralConfig(&c)), recheck: make(chan struct{}, 1),
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
// a stop that peers are told of. A speaker runs once; a Run that could not begin may be
// tried again.
func (s *Speaker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.wg.Go(func() { s.watchDeferral(ctx) })
	<-ctx.Done()
	s.mu.Lock()
	s.stopped = true
	for _, l := range s.listeners {
		l.nl.Close()
	}
	s.secured.stop()
	s.mu.Unlock()
	s.wg.Wait()
	s.hub.close()
	return nil
}

// begin starts everything, or nothing.
func (s *Speaker) begin(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("bgp: Run: %w", ErrClosed)
	}
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
	if err := s.secure(); err != nil {
		s.closeListeners()
		return fmt.Errorf("bgp: listen: %w", err)
	}
	s.ctx = ctx
	s.deferral.Begin(time.Now())
	for _, l := range s.listeners {
		s.wg.Go(func() { l.serve(func(nc net.Conn, release func()) { s.admit(l, nc, release) }) })
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
func (s *Speaker) admit(l *listener, nc net.Conn, release func()) {
	remote, local := addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	in := incoming{nc: nc, release: release}
	s.mu.Lock()
	var p *peer
	if !s.stopped {
		p = s.owner(remote.Addr(), local.Addr())
	}
	ok := false
	if p != nil && l.guards(p) {
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

// running returns an error unless Run is running.
func (s *Speaker) running() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		return ErrStopped
	}
	return s.usable()
}

// usable returns ErrClosed once Run has ended. s.mu is held.
func (s *Speaker) usable() error {
	if s.stopped || s.ctx != nil && s.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// owner finds the peer that a connection belongs to, or makes one from a range.
func (s *Speaker) owner(remote, local netip.Addr) *peer {
	local = local.WithZone("")
	if p := s.peers[PeerKey{remote, local}]; p != nil {
		return p
	}
	if p := s.peers[PeerKey{Addr: remote}]; p != nil {
		return p
	}
	bare := remote.WithZone("")
	for _, r := range s.ranges {
		if !r.prefix.Contains(bare) || r.template.LocalAddr.IsValid() && r.template.LocalAddr.WithZone("") != local {
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
	slices.SortFunc(out, func(a, b PeerStatus) int { return a.Key.compare(b.Key) })
	return out
}

// Peer returns the status of one peer. After the end of Run it is the last.
func (s *Speaker) Peer(key PeerKey) (PeerStatus, error) {
	s.mu.Lock()
	p, err := s.lookup(key)
	s.mu.Unlock()
	if err != nil {
		return PeerStatus{}, err
	}
	return p.status(), nil
}

// Subscribe returns a new reader of events. It begins with a snapshot, and goes on with
// every event that comes after that, so that none is missed whenever it is called. The
// snapshot holds, for each peer, its EventAdded, the last EventState, and, as far as they
// hold, EventUp, EventPlain, EventEndOfRIB and EventUnsendable of each family, and EventRestart; then the
// speaker's EventListen and EventConverged, and EventSnapshot at its end. They have the
// Time at which they happened. What went wrong before is not in it: see
// [PeerStatus].LastError. Before Run there is nothing to tell but EventSnapshot.
//
// A subscriber that is too slow gets another snapshot in place of what it missed.
func (s *Speaker) Subscribe() *Subscription { return s.hub.subscribe() }

// find returns a peer, whether the speaker runs or not, but not after that.
func (s *Speaker) find(key PeerKey) (*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return s.lookup(key)
}

// lookup returns a peer. s.mu is held.
func (s *Speaker) lookup(key PeerKey) (*peer, error) {
	key.Local = key.Local.WithZone("")
	if p := s.peers[key]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("bgp: peer %v: %w", key, ErrNoPeer)
}
