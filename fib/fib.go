package fib

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// FIB is the desired state of one network namespace, and what makes the kernel
// equal to it. All methods are safe for concurrent use, and none but Run, Flush and Adopted
// waits for the kernel.
type FIB struct {
	config Config
	now    func() time.Time // time.Now, or that of a Driver

	mu        sync.Mutex // guards the core and what follows it
	core      *fibcore.Core
	watchers  []*Watcher
	followers []*RouteWatcher
	learners  []*Learner
	hops      []fibcore.NextHop // scratch
	flushers  []*flusher
	began     bool // Run was called
	over      bool // Run has ended

	wake   chan struct{} // capacity 1
	closed chan struct{} // closed with over
}

// New checks the config. It opens nothing: what is desired is remembered until Run writes it.
func New(config Config) (*FIB, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &FIB{config: config, now: time.Now, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	f.core = fibcore.New(coreConfig(config), f.broadcast)
	return f, nil
}

// Run opens its sockets, reads the kernel, adopts what carries our protocol, and keeps it
// equal to the desired state until the context ends. Then it leaves everything in the kernel
// as it is, leaves no goroutine, closes the sockets and returns nil; or it returns the error
// that made going on impossible. If another process, or another FIB of this one, owns one of
// the protocol numbers in the namespace, the error is ErrInUse and names it; if the process
// may not change routes (CAP_NET_ADMIN), it is EPERM, unless Config.DryRun. Run can be
// called once: a second call returns ErrRunning, or ErrClosed when the first has returned.
func (f *FIB) Run(ctx context.Context) error {
	if err := f.begin(); err != nil {
		return err
	}
	defer f.end()
	h, err := f.open(ctx)
	if err != nil {
		return err
	}
	return newOwner(f, h).live(ctx)
}

// open opens what Run needs of the kernel. A dry run owns no protocol numbers.
func (f *FIB) open(ctx context.Context) (h kernel.Handles, err error) {
	k, err := kernel.From(ctx, f.config.NetNS, linux{})
	if err != nil {
		return h, err
	}
	var protocols []uint8
	if !f.config.DryRun {
		protocols = []uint8{f.config.Protocol, f.config.PersistentProtocol}
	}
	if h, err = k.Open(f.config.NetNS, protocols...); err == nil && h.NoNextHops {
		f.lock()
		f.core.NoNextHops()
		f.unlock()
	}
	return h, err
}

// begin returns an error unless this is the first Run.
func (f *FIB) begin() error {
	f.lock()
	defer f.unlock()
	switch {
	case f.over:
		return ErrClosed
	case f.began:
		return ErrRunning
	}
	f.began = true
	return nil
}

// end makes everything else return ErrClosed.
func (f *FIB) end() {
	f.lock()
	defer f.unlock()
	f.over = true
	close(f.closed)
	for _, w := range f.watchers {
		w.end()
	}
	for _, l := range f.learners {
		l.end()
	}
	for _, w := range f.followers {
		w.end()
	}
}

func (f *FIB) lock()   { f.mu.Lock() }
func (f *FIB) unlock() { f.mu.Unlock() }

func (f *FIB) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// OwnTable adds a table to those of [Config].Tables; 0 is the main table (254). What the table has
// is read before anything is written there, and if [FIB.Sweep] has been called, routes of our
// protocols that are not desired are deleted from it. Nothing happens if it is ours already. It stays
// ours until Run returns. The error is that there are too many tables, or ErrClosed.
func (f *FIB) OwnTable(table uint32) error {
	return f.desire(func(c *fibcore.Core) error { return c.OwnTable(table) })
}

// SetRoute makes r desired, replacing a desired route with the same key. The
// error is about r itself (an *Error with ErrInvalid or ErrTable), or ErrClosed; what the
// kernel says about it comes as an [Event] and in [FIB.Routes].
func (f *FIB) SetRoute(r Route) error {
	f.lock()
	err := ErrClosed
	if !f.over {
		to := coreRoute(&r, f.hops[:0])
		f.hops = to.NextHops
		err = f.core.SetRoute(&to)
	}
	f.unlock()
	f.poke()
	return errorOf(err)
}

// DeleteRoute takes back SetRoute: the route is removed from the kernel if it
// is ours, even before [FIB.Sweep]. The error is about k itself, or ErrClosed.
func (f *FIB) DeleteRoute(k RouteKey) error {
	return f.desire(func(c *fibcore.Core) error { return c.DeleteRoute(wire.RouteKey(k)) })
}

// SetRule makes a rule desired. If another program's rule that is equal in all
// but protocol is there already, it counts.
func (f *FIB) SetRule(r Rule) error {
	return f.desire(func(c *fibcore.Core) error { return c.SetRule(coreRule(r)) })
}

// SetRuleAbsent makes the absence of a rule desired, no matter which program made it, for example of
// the kernel's default rules. Bans are enforced only when rules of the same
// family are desired and all of them are in the kernel, so that there is no
// moment without rules. Set the rules first.
func (f *FIB) SetRuleAbsent(r Rule) error {
	return f.desire(func(c *fibcore.Core) error { return c.SetRuleAbsent(coreRule(r)) })
}

// DeleteRule takes back SetRule or SetRuleAbsent. After SetRule the rule is removed if
// it is ours; after SetRuleAbsent nothing is put back.
func (f *FIB) DeleteRule(r Rule) error {
	return f.desire(func(c *fibcore.Core) error { return c.DeleteRule(coreRule(r)) })
}

// desire changes what is desired, unless the FIB has ended.
func (f *FIB) desire(change func(*fibcore.Core) error) error {
	f.lock()
	err := ErrClosed
	if !f.over {
		err = change(f.core)
	}
	f.unlock()
	f.poke()
	return errorOf(err)
}

// SetAddress makes an address desired.
func (f *FIB) SetAddress(a Address) error {
	return f.desire(func(c *fibcore.Core) error { return c.SetAddress(coreAddress(a)) })
}

// DeleteAddress takes back SetAddress and removes the address. Only IfIndex and
// Prefix count.
func (f *FIB) DeleteAddress(a Address) error {
	return f.desire(func(c *fibcore.Core) error { return c.DeleteAddress(coreAddress(a)) })
}

// SetNeighbor makes a permanent or proxy neighbour desired.
func (f *FIB) SetNeighbor(n Neighbor) error {
	return f.desire(func(c *fibcore.Core) error { return c.SetNeighbor(wire.Neighbor(n)) })
}

// DeleteNeighbor takes back SetNeighbor and removes the entry. MAC does not count.
func (f *FIB) DeleteNeighbor(n Neighbor) error {
	return f.desire(func(c *fibcore.Core) error { return c.DeleteNeighbor(wire.Neighbor(n)) })
}

// SetSysctl makes a value desired. A path that does not exist yet (its
// interface is not there) is waited for.
func (f *FIB) SetSysctl(s Sysctl) error {
	return f.desire(func(c *fibcore.Core) error { return c.SetSysctl(fibcore.Sysctl(s)) })
}

// DeleteSysctl takes back SetSysctl; the value stays as it is.
func (f *FIB) DeleteSysctl(path string) error {
	return f.desire(func(c *fibcore.Core) error { return c.DeleteSysctl(path) })
}

// Sweep ends the time after start in which nothing of ours that is in the
// kernel is deleted: routes, rules, addresses, neighbours and next-hop objects
// that carry our protocol and are not desired go. Before the first Sweep they
// stay, so that a restarting control plane can learn again in peace. Later calls
// do nothing.
func (f *FIB) Sweep() {
	_ = f.desire(func(c *fibcore.Core) error { c.Sweep(); return nil })
}

// GatewayDown says that gateway on link is dead. Each next-hop object of it is
// removed with one message, whatever the number of routes; the kernel shrinks
// the groups. A group is never emptied: a route whose gateways are all dead
// keeps its last. Routes without groups are rewritten in the background. It
// returns at once; the messages are on their way to the kernel ahead of
// everything else.
func (f *FIB) GatewayDown(ifindex int, gateway netip.Addr) {
	_ = f.desire(func(c *fibcore.Core) error { c.SetGateway(ifindex, gateway, true); return nil })
}

// GatewayUp takes back GatewayDown: members are put back in the background.
func (f *FIB) GatewayUp(ifindex int, gateway netip.Addr) {
	_ = f.desire(func(c *fibcore.Core) error { c.SetGateway(ifindex, gateway, false); return nil })
}

// Probe has the kernel look for a neighbour again, whatever it has concluded from
// an earlier silence. It is nothing desired: it is done once, and failure is not
// reported.
//
// Without a MAC, an entry that the kernel holds for dead (NUD_FAILED) is asked for
// at once; one that is believed is left alone, and where there is none, none is
// made. Next-hop groups avoid a dead neighbour, so nobody would send there, and
// nobody would ask, for as long as the entry happens to live. The members of groups
// are probed without being asked for, whenever they are made.
//
// With a MAC, the entry is made or changed to be at it until the kernel has
// confirmed that (NUD_STALE): packets flow before the first answer. This is for who
// knows a neighbour that has just come, for example a guest.
func (f *FIB) Probe(ifindex int, addr netip.Addr, mac [6]byte) {
	_ = f.desire(func(c *fibcore.Core) error {
		c.Probe(wire.Neighbor{IfIndex: ifindex, Addr: addr, MAC: mac})
		return nil
	})
}
