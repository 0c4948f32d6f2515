package bgp

import (
	"context"
	"fmt"
	"iter"
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
// concurrent use. They are in three files: its life here, the configuration of peers in
// control.go, and what is done to sessions in operate.go.
type Speaker struct {
	env    env     // what peers see of the speaker
	driver *Driver // nil without a Config.Transport

	mu        sync.Mutex // guards the following, and that env.ctx is set
	stopped   bool       // Run has returned
	peers     peerTable  // configured and dynamic
	listeners listeners  // sockets that peers connect to
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
		AS: c.AS, RouterID: c.RouterID, ClusterID: c.ClusterID, Multipath: c.Multipath, AlwaysCompareMED: c.AlwaysCompareMED,
		Deferred: restarting && !g.EarlyUpdates, HoldEndOfRIB: restarting,
	})
	if err != nil {
		return nil, fmt.Errorf("bgp: config: %w", err)
	}
	s := &Speaker{}
	s.env.cfg, s.env.table, s.env.hub.ended = c, table, make(chan struct{})
	s.env.now, s.env.newRunner = time.Now, newPeerLoop
	if c.Transport != nil {
		s.driver = &Driver{s: s, t: c.Transport, conns: map[Connection]*driven{}}
		s.env.now, s.env.newRunner = c.Transport.Now, s.driver.newPeer
	}
	s.env.hub.now = s.env.now
	s.env.restart.init(&s.env.cfg, table, &s.env.hub)
	s.peers = peerTable{cfg: &s.env.cfg, byKey: map[PeerKey]*peer{}}
	s.listeners.hub = &s.env.hub
	return s, nil
}

// Table returns the Loc-RIB: local paths are originated and best paths watched
// there. It is there before Run and after it.
func (s *Speaker) Table() *rib.Table { return s.env.table }

// Run opens the listeners and runs all sessions until ctx ends. It returns nil
// then, or a *[ListenError] at once if an address of Config.Listen cannot be listened at. When it returns,
// no goroutine of the speaker is left.
//
// The end of ctx closes the sessions without a NOTIFICATION, as a crash would:
// peers with graceful restart keep our routes. Call [Speaker.Shutdown] before for
// a stop with a NOTIFICATION. A speaker runs once; a Run that could not begin may be
// tried again.
func (s *Speaker) Run(ctx context.Context) error {
	if s.driver != nil {
		return fmt.Errorf("bgp: Run: %w", errDriven)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.env.wg.Go(func() { s.env.restart.watch(ctx) })
	<-ctx.Done()
	s.end()
	s.env.wg.Wait()
	s.env.hub.close()
	return nil
}

// end closes the listeners: nothing new comes.
func (s *Speaker) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.listeners.close()
}

// begin starts everything, or nothing.
func (s *Speaker) begin(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("bgp: Run: %w", ErrClosed)
	}
	if s.env.ctx != nil {
		return fmt.Errorf("bgp: Run: %w", ErrRunning)
	}
	if s.driver == nil {
		if err := s.listeners.open(ctx, &s.env.cfg, s.peers.demand); err != nil {
			return err
		}
	}
	s.env.ctx = ctx
	s.env.restart.begin(s.env.now())
	s.listeners.serve(s.env.wg.Go, s.accepted)
	s.secure()
	for _, p := range s.peers.all() {
		p.run.launch(nil)
	}
	return nil
}

// accepted passes a connection of a listener to its peer, or closes it.
func (s *Speaker) accepted(l *listener, nc net.Conn, release func()) {
	in := &netSocket{nc: nc, env: &s.env, release: release}
	if !s.admit(l, in) {
		in.discard()
	}
}

// admit passes an accepted connection to its peer, and reports whether there is one that takes
// it. l is nil if no listener has accepted it.
func (s *Speaker) admit(l *listener, in socket) bool {
	local, remote := in.addrs()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	p := s.owner(remote.Addr(), local.Addr())
	return p != nil && (l == nil || l.guards(p.md5Key())) && p.run.admit(in)
}

// settle has the driver do what follows from something that is not a peer's.
func (s *Speaker) settle() {
	if s.driver != nil {
		s.driver.settle()
	}
}

// running returns an error unless Run is running.
func (s *Speaker) running() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.env.ctx == nil {
		return ErrStopped
	}
	return s.usable()
}

// usable returns ErrClosed once Run has ended. s.mu is held.
func (s *Speaker) usable() error {
	if s.stopped || s.env.ctx != nil && s.env.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// owner returns the peer that a connection belongs to, or makes one from a range. s.mu is
// held.
func (s *Speaker) owner(remote, local netip.Addr) *peer {
	p, r := s.peers.owner(remote, local)
	if p == nil && r != nil {
		p = newPeer(&s.env, s, r.instance(remote), r)
		s.peers.add(p)
		p.run.launch(nil)
	}
	return p
}

// forget takes a peer off the list, after last, which may object.
func (s *Speaker) forget(p *peer, last func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !last() {
		return
	}
	s.peers.remove(p)
	if p.dyn == nil { // the key of a dynamic peer is its range's
		s.secure()
	}
}

// resecure sets the listeners' options anew.
func (s *Speaker) resecure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secure()
}

// secure is resecure with s.mu held. Before Run and after it there is nothing to do.
func (s *Speaker) secure() {
	if s.env.ctx != nil && s.usable() == nil && s.driver == nil {
		s.listeners.secure(s.env.ctx, &s.env.cfg, &s.peers, s.resecure)
	}
}

// ListenAddrs returns where the speaker listens, or would if it could, sorted: [Config].Listen, and
// what its peers want ([PeerConfig].Listen). The caller of a [Driver] accepts connections there.
func (s *Speaker) ListenAddrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := append(slices.Clone(s.env.cfg.Listen), s.peers.listen()...)
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// Peers returns the status of all peers, ordered by key.
func (s *Speaker) Peers() []PeerStatus {
	s.mu.Lock()
	peers := s.peers.all()
	failed := make([]*ListenError, len(peers))
	for i, p := range peers {
		failed[i] = s.listeners.failure(&s.peers, p.info.config())
	}
	s.mu.Unlock()
	out := make([]PeerStatus, 0, len(peers))
	for i, p := range peers {
		out = append(out, p.info.status(s.env.now()))
		out[i].ListenError = failed[i]
	}
	return out
}

// Peer returns the status of one peer. After the end of Run it is the last.
func (s *Speaker) Peer(key PeerKey) (PeerStatus, error) {
	s.mu.Lock()
	p, err := s.peers.get(key)
	if err != nil {
		s.mu.Unlock()
		return PeerStatus{}, err
	}
	failed := s.listeners.failure(&s.peers, p.info.config())
	s.mu.Unlock()
	status := p.info.status(s.env.now())
	status.ListenError = failed
	return status, nil
}

// Advertised returns what a peer's Adj-RIB-Out has for exactly this prefix, nil unless the session
// is Established. [rib.Out.Advertised] says what of it may not have been sent.
func (s *Speaker) Advertised(key PeerKey, prefix netip.Prefix) ([]rib.Advert, error) {
	s.mu.Lock()
	p, err := s.peers.get(key)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return p.info.advertised(prefix), nil
}

// AllAdvertised iterates over a peer's Adj-RIB-Out of a family, as [rib.Out.All] does. There is
// nothing unless the session is Established.
func (s *Speaker) AllAdvertised(key PeerKey, f wire.Family) (iter.Seq[rib.Advert], error) {
	s.mu.Lock()
	p, err := s.peers.get(key)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return p.info.allAdvertised(f), nil
}

// Refused returns what a peer announces in a family and this speaker refuses, with the reasons, as
// [rib.In.Refused] does: at most [PeerConfig].KeepRefused routes, and how many announcements there were
// beside. There is nothing unless the session is Established.
func (s *Speaker) Refused(key PeerKey, f wire.Family) (routes []rib.RefusedRoute, more uint64, err error) {
	s.mu.Lock()
	p, err := s.peers.get(key)
	s.mu.Unlock()
	if err != nil {
		return nil, 0, err
	}
	routes, more = p.info.refused(f)
	return routes, more, nil
}

// Watch returns a new reader of events. It begins with a snapshot, and goes on with
// every event that comes after that, so that none is missed whenever it is called. The
// snapshot holds, for each peer, its EventAdded, the last EventState, and, as far as they
// hold, EventUp, EventPlain, EventNoPolicy, EventEndOfRIB and EventUnsendable of each family, and EventRestart; then the
// speaker's EventListen and EventConverged, and EventSnapshot at its end. They have the
// Time at which they happened. What went wrong before is not in it: see
// [PeerStatus].LastError. Before Run it is EventSnapshot alone.
//
// A watcher that is too slow gets another snapshot instead of what it missed.
func (s *Speaker) Watch() *Watcher { return s.env.hub.subscribe() }

// InventoryComplete declares that all local paths of the start have been
// originated. A speaker with GracefulRestart.Restarting holds its End-of-RIB back
// until then; for others it does nothing.
func (s *Speaker) InventoryComplete() {
	s.env.restart.inventoryComplete()
	s.settle()
}

// MembershipsComplete declares that all route target memberships have been originated that the peers need of the
// start, of a speaker that passes none on from peer to peer. End-of-RIB of wire.RTConstrain does not wait for
// InventoryComplete and the end of our restart then: a peer that waits for it before it sends EVPN routes, while we wait
// for their End-of-RIB, would be waited for in vain.
func (s *Speaker) MembershipsComplete() {
	s.env.table.MembershipsComplete()
	s.settle()
}

// Restarting reports whether the speaker's own graceful restart is still going on:
// the R bit is set and End-of-RIB is awaited.
func (s *Speaker) Restarting() bool { return s.env.restart.active() }
