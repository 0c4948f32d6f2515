package failover

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdrestart"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// Kernel is what a Monitor uses of the [fib.FIB] of a namespace.
type Kernel interface {
	NextHops() []fib.NextHopObject
	Gateways() []fib.Gateway
	GatewayDown(link int, gateway netip.Addr)
	GatewayUp(link int, gateway netip.Addr)
}

var _ Kernel = (*fib.FIB)(nil)

// Paths takes the end and the return of the paths to peers. The calls come from one goroutine
// and may wait for a peer.
type Paths interface {
	// PathDown ends what depends on a path; remoteC reports that the peer's BFD does not share
	// the fate of its control plane.
	PathDown(w peering.Watch, remoteC bool)
	PathUp(w peering.Watch)
	// PathAdminDown says that a side has taken its BFD down on purpose.
	PathAdminDown(w peering.Watch)
}

// Config is what a Monitor works with.
type Config struct {
	Log     *slog.Logger      // required
	Now     func() time.Time  // required
	Kernels map[string]Kernel // by the paths of their namespaces
	Paths   Paths             // required
	Service bfd.Service       // nil: no BFD, and every method does nothing
}

// Monitor follows the BFD sessions of a configuration. It is safe for concurrent use, and none
// of its methods waits for a peer, but for Run and Step. Either Run runs it, or Begin and then
// Event and Step, which one goroutine calls.
type Monitor struct {
	log     *slog.Logger
	now     func() time.Time
	kernels map[string]Kernel
	paths   Paths
	service bfd.Service

	wake chan struct{} // there are notices

	mu      sync.Mutex
	state   state
	notices notices   // that deliver has not brought to BGP
	grace   time.Time // when the time of grace for probes ends; zero: it has ended, or has not begun
	// restarts are the sessions that the peer, or our BFD process, has restarted: BGP hears of
	// those that are not Up again in time.
	restarts bfdrestart.Sessions
	// downs are the last time that each session left Up, as far as this run has seen it.
	downs map[bfd.Key]lastDown
}

// lastDown is when and why a session left Up.
type lastDown struct {
	at     time.Time
	reason bfd.Reason
	count  uint64 // how often it had, then
}

// LastDown returns when and why a session left Up last; the zero Time if this run has not seen it.
func (m *Monitor) LastDown(k bfd.Key) (time.Time, bfd.Reason) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.downs[k].at, m.downs[k].reason
}

// noteDown keeps it; the lock is held.
func (m *Monitor) noteDown(e bfd.Event) {
	switch {
	case e.Removed:
		delete(m.downs, e.Key)
	case e.State == bfd.StateDown && e.Downs > m.downs[e.Key].count:
		m.downs[e.Key] = lastDown{e.Time, e.Reason, e.Downs}
	}
}

// New makes a Monitor without sessions.
func New(c Config) *Monitor {
	return &Monitor{log: c.Log, now: c.Now, kernels: c.Kernels, paths: c.Paths, service: c.Service, wake: make(chan struct{}, 1), state: newState(), notices: notices{}, downs: map[bfd.Key]lastDown{}}
}

// Configure adds, changes and removes BFD sessions; those that stay the same are left alone.
func (m *Monitor) Configure(c *config.Config) {
	if m.service == nil {
		return
	}
	o := m.objects()
	m.mu.Lock()
	old := m.state.configs
	remove, back := m.state.configure(peering.Watches(c), o)
	m.gatewaysUp(back)
	for _, k := range remove {
		m.restarts.End(k)
		delete(m.downs, k)
	}
	var list []bfd.SessionConfig
	for _, k := range slices.SortedFunc(maps.Keys(m.state.configs), compareKeys) {
		s := m.state.configs[k]
		if o, ok := old[k]; !ok || !same(s, o) {
			list = append(list, s)
		}
	}
	m.mu.Unlock()
	for _, k := range remove {
		if err := m.service.Remove(k); err != nil {
			m.log.Warn("BFD session not removed", "event", "bfd-error", "session", k, "err", err)
		}
	}
	m.add(list)
}

// Refresh renews the failover lists of the sessions: the next-hop objects of a kernel have
// changed.
func (m *Monitor) Refresh() {
	if m.service == nil {
		return
	}
	o := m.objects()
	m.mu.Lock()
	changed, down := m.state.refresh(o, m.gateways)
	m.gatewaysDown(down)
	var list []bfd.SessionConfig
	for _, k := range changed {
		list = append(list, m.state.configs[k])
	}
	m.mu.Unlock()
	m.add(list)
}

// Link notes the name of an interface of the namespace at a path.
func (m *Monitor) Link(netns string, l fib.Link, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.link(netns, l, gone)
}

// Sessions returns the BFD sessions as they are now, none if there is no BFD.
func (m *Monitor) Sessions() ([]bfd.Status, error) {
	if m.service == nil {
		return nil, nil
	}
	return m.service.Sessions()
}

// Echo reports whether a session watches a peer that speaks no BFD.
func (m *Monitor) Echo(k bfd.Key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.configs[k].Echo
}

// graceTime is how long after the start a next hop counts as alive although its probe has not
// come up: more than BFD needs for a session that is new on both sides. One that the BFD process has
// had for that long is not waited for again.
const graceTime = 5 * time.Second

// Run follows the sessions until ctx ends. It is to be called after the first Configure: a
// session that is up already has one event, and sessions that an earlier run had and this one
// has not are removed.
func (m *Monitor) Run(ctx context.Context) error {
	if m.service == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var deliver sync.WaitGroup
	defer deliver.Wait()
	defer cancel()
	w := m.service.Watch()
	defer w.Close()
	if err := m.Begin(); err != nil {
		return ended(ctx, err)
	}
	deliver.Go(func() { m.deliverAll(ctx) })
	for e, err := range w.All(ctx) {
		if err != nil {
			return ended(ctx, err)
		}
		m.Event(e)
	}
	return nil
}

// Begin begins what Run does, after the first Configure: the time of grace for probes, and the
// removal of sessions that an earlier run had and this one has not. The events of the sessions,
// one for each that exists and then every other, go to Event, upon which Step is called.
func (m *Monitor) Begin() error {
	if m.service == nil {
		return nil
	}
	m.mu.Lock()
	m.grace = m.now().Add(graceTime)
	m.mu.Unlock()
	if s, ok := m.service.(interface{ Synced() error }); ok {
		return s.Synced()
	}
	return nil
}

// ended returns an error of the service, nil for the one that the end of ctx causes.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, bfd.ErrClosed) && ctx.Err() != nil {
		return nil
	}
	return err
}

// deliverAll brings notices to BGP until ctx ends, and does what is due.
func (m *Monitor) deliverAll(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if timer.Stop(); !m.Deadline().IsZero() {
			timer.Reset(m.Deadline().Sub(m.now()))
		}
		select {
		case <-m.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		m.Step()
	}
}

// Step brings notices to BGP, ends the time of grace for probes when it is over, and gives up the
// sessions that were restarted and did not come Up. It may wait for a peer. It reports
// whether there was a notice.
func (m *Monitor) Step() (did bool) {
	m.expire(m.now())
	return m.deliver()
}

// expire does what is due.
func (m *Monitor) expire(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.grace.IsZero() && !now.Before(m.grace) {
		m.endGrace()
	}
	for _, k := range m.restarts.Expired(now) {
		w, ok := m.state.watch(k)
		if !ok {
			continue
		}
		m.notices.down(w, false)
		down := m.state.fail(w, m.gateways)
		m.gatewaysDown(down)
		m.log.Warn("BFD session that was restarted did not come up", "event", "bfd-down", "peer", k.Peer, "interface", k.Interface, "reason", "not up again", "after", bfdrestart.Time, "gateways", len(down))
	}
}

// Deadline returns when Step has something to do although no event has come, the zero time if
// never.
func (m *Monitor) Deadline() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.restarts.Deadline()
	if next.IsZero() || !m.grace.IsZero() && m.grace.Before(next) {
		next = m.grace
	}
	return next
}

// deliver brings BGP the notices that there are, and reports whether there were any. The kernel is
// ahead of it: Event has changed that before.
func (m *Monitor) deliver() (did bool) {
	m.mu.Lock()
	all := m.notices.take()
	m.mu.Unlock()
	for _, n := range all {
		if n.down {
			m.paths.PathDown(n.watch, n.remoteC)
		}
		if n.up {
			m.paths.PathUp(n.watch)
		}
		if n.adminDown {
			m.paths.PathAdminDown(n.watch)
		}
	}
	return len(all) > 0
}

// Event takes what BFD says of a session. Run calls it by itself.
func (m *Monitor) Event(e bfd.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteDown(e)
	o := m.state.event(e, m.now(), m.gateways)
	m.gatewaysUp(o.back)
	m.gatewaysDown(o.down)
	remoteC := e.RemoteC || o.watch.Config.Echo
	if e.State == bfd.StateUp || e.Removed {
		m.restarts.End(e.Key)
	}
	switch o.verdict {
	case sessionUp:
		m.notices.up(o.watch)
		m.log.Info("BFD up", "event", "bfd-up", "peer", e.Peer, "interface", e.Interface)
	case sessionFailed:
		m.notices.down(o.watch, remoteC)
		m.log.Warn("BFD down", "event", "bfd-down", "peer", e.Peer, "interface", e.Interface, "reason", e.Reason, "gateways", len(o.down))
	case peerRestarted:
		m.restarts.Begin(e.Key, m.now())
		m.wakeDeliver()
		m.log.Warn("BFD down: the peer has begun its session anew", "event", "bfd-down", "peer", e.Peer, "interface", e.Interface, "reason", "neighbor restarted", "gateways", len(o.down))
	case selfRestarted:
		m.restarts.Begin(e.Key, m.now())
		m.wakeDeliver()
		m.log.Warn("BFD session restarted by our BFD process", "event", "bfd-restarted", "peer", e.Peer, "interface", e.Interface)
	case failedEarlier:
		m.notices.down(o.watch, remoteC)
	case neverUp:
		m.notices.down(o.watch, false)
	case adminDown:
		m.notices.adminDown(o.watch)
		m.log.Info("BFD admin down at the peer", "event", "bfd-admin-down", "peer", e.Peer, "interface", e.Interface)
	}
	for _, f := range e.Failover {
		m.log.Warn("BFD process removed a next hop", "event", "bfd-failover", "id", f.ID, "deleted", f.Deleted, "took", f.Took, "err", f.Err)
	}
	if len(m.notices) > 0 {
		m.wakeDeliver()
	}
}

// endGrace ends the time in which the next hops that an earlier run announced count as alive
// without their probes.
// The lock is held.
func (m *Monitor) endGrace() {
	m.grace = time.Time{}
	for _, w := range m.state.silentProbes() {
		m.notices.down(w, false)
	}
}

func (m *Monitor) wakeDeliver() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// add adds sessions, or changes them, with their failover lists.
func (m *Monitor) add(list []bfd.SessionConfig) {
	for _, s := range list {
		if err := m.service.Add(s); err != nil {
			m.log.Error("BFD session refused", "event", "bfd-error", "session", s.Key, "err", err)
		}
	}
}

func same(a, b bfd.SessionConfig) bool {
	return a.DesiredMinTx == b.DesiredMinTx && a.RequiredMinRx == b.RequiredMinRx && a.Multiplier == b.Multiplier && a.Echo == b.Echo &&
		peering.SameFailover(a.Failover, b.Failover)
}

// objects reads the next-hop objects of every namespace.
func (m *Monitor) objects() objects {
	all := make(objects, len(m.kernels))
	for netns, k := range m.kernels {
		all[netns] = k.NextHops()
	}
	return all
}

// gateways reads those of the namespace at a path.
func (m *Monitor) gateways(netns string) []fib.Gateway { return m.kernels[netns].Gateways() }

func (m *Monitor) gatewaysDown(list []gateway) {
	for _, g := range list {
		m.kernels[g.netns].GatewayDown(g.link, g.addr)
	}
}

func (m *Monitor) gatewaysUp(list []gateway) {
	for _, g := range list {
		m.kernels[g.netns].GatewayUp(g.link, g.addr)
	}
}
