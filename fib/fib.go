package fib

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// FIB is the desired state of one network namespace, and what makes the kernel
// equal to it. All methods are safe for concurrent use, and none but Open, Run
// and Flush blocks on the kernel.
type FIB struct {
	mu sync.Mutex // guards the core and what follows it
	*core
	watchers  []*Watcher
	learners  []*Learner
	flushers  []*flusher
	forgotten []string // directories of sysctls not to be watched any more
	fresh     bool     // there are learners that have not dumped yet
	began     bool     // Run was called
	over      bool     // Close was called, or Run has ended

	wake   chan struct{} // capacity 1
	closed chan struct{}
	once   sync.Once

	commands, monitor, dumps transport
	watch                    *sysctlWatch
	claims                   claims
}

// transport is a netlink socket, or in tests a model of the kernel.
type transport interface {
	Send(b []byte) error
	Receive(b []byte) (int, error)
	Dump(request, buffer []byte, f func(b []byte) (done bool, err error)) error
	Wait() error
	Close() error
}

// Open checks the config and opens the sockets. It writes nothing. Without Run
// the FIB does nothing; a FIB that never runs needs Close. If another process, or
// another FIB of this one, owns one of the protocol numbers in the namespace, the error
// is ErrInUse and names it.
func Open(config Config) (*FIB, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	f := newFIB(config)
	if err := f.open(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func newFIB(config Config) *FIB {
	f := &FIB{core: newCore(config), wake: make(chan struct{}, 1), closed: make(chan struct{})}
	f.emit = f.broadcast
	f.core.learn = f.notifyLearners
	return f
}

// Receive buffers, in octets of kernel memory. Commands: 1,300 error replies.
// Monitor: a full table's worth of notifications while the owner is busy.
const (
	commandBuffer = 1 << 20
	monitorBuffer = 32 << 20
	dumpBuffer    = 1 << 20
)

func openSocket(netns string, receive int) (*rtnl.Socket, error) {
	s, err := rtnl.Open(rtnl.Config{NetNS: netns, ReceiveBuffer: receive})
	if err != nil {
		return nil, fmt.Errorf("fib: %w", err)
	}
	return s, nil
}

func (f *FIB) open() (err error) {
	path := f.config.NetNS
	if !f.config.DryRun {
		if f.claims, err = claim(path, f.config.Protocol, f.config.PersistentProtocol); err != nil {
			return err
		}
	}
	commands, err := openSocket(path, commandBuffer)
	if err != nil {
		return err
	}
	f.commands = commands
	dumps, err := openSocket(path, dumpBuffer)
	if err != nil {
		return err
	}
	f.dumps = dumps
	monitor, err := openSocket(path, monitorBuffer)
	if err != nil {
		return err
	}
	f.monitor = monitor
	if f.watch, err = newSysctlWatch(); err != nil {
		return err
	}
	if err := monitor.Ignore(commands.Port()); err != nil {
		return fmt.Errorf("fib: %w", err)
	}
	err = monitor.Join(rtnl.RTNLGRP_LINK, rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR,
		rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE, rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE, rtnl.RTNLGRP_NEIGH,
		rtnl.RTNLGRP_IPV4_NETCONF, rtnl.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return fmt.Errorf("fib: %w", err)
	}
	if monitor.Join(rtnl.RTNLGRP_NEXTHOP) != nil {
		f.config.RTAMultipath = true // before Linux 5.3
	}
	return nil
}

// Close releases the sockets of a FIB whose Run was never called.
func (f *FIB) Close() error {
	f.once.Do(func() {
		close(f.closed)
		f.lock()
		f.over = true
		f.unlock()
		for _, s := range []transport{f.commands, f.monitor, f.dumps} {
			if s != nil {
				_ = s.Close()
			}
		}
		if f.watch != nil {
			f.watch.file.Close()
		}
		f.claims.release()
		f.lock()
		defer f.unlock()
		for _, w := range f.watchers {
			w.end()
		}
		for _, l := range f.learners {
			l.end()
		}
		for _, w := range f.followers {
			w.end()
		}
	})
	return nil
}

// Run reads the kernel, adopts what carries our protocol, and keeps it equal to
// the desired state until the context ends. It leaves everything in the kernel as it
// is, leaves no goroutine, closes the sockets and returns nil, or the error that
// made going on impossible. It can be called once: a second call returns ErrRunning, or
// ErrClosed when the first has returned.
func (f *FIB) Run(parent context.Context) error {
	f.lock()
	over, began := f.over, f.began
	f.began = true
	f.unlock()
	switch {
	case over:
		return ErrClosed
	case began:
		return ErrRunning
	}
	return f.newOwner().live(parent)
}

func (f *FIB) newOwner() *owner {
	o := &owner{FIB: f, writer: rtnl.NewWriter(f.commands), buffer: make([]byte, 1<<16)}
	o.steps = o.order()
	return o
}

// live is Run.
func (o *owner) live(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { o.Close() })
	defer stop()
	err := o.run(ctx)
	o.Close()
	cancel()
	o.pumps.Wait()
	if parent.Err() != nil {
		return nil // whatever the closing of the sockets did to who used them
	}
	return err
}

func (f *FIB) ended() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

func (f *FIB) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// SetRoute makes r desired, replacing a desired route with the same key. The
// error is about r itself (an *Error with ErrInvalid or ErrTable), or ErrClosed; what the
// kernel says about it comes as an [Event] and in [FIB.Routes].
func (f *FIB) SetRoute(r Route) error {
	f.lock()
	err := ErrClosed
	if !f.over {
		err = f.setRoute(&r)
	}
	f.unlock()
	f.poke()
	return err
}

// DeleteRoute takes back SetRoute: the route is removed from the kernel if it
// is ours, even before [FIB.Sweep].
func (f *FIB) DeleteRoute(k RouteKey) {
	f.lock()
	f.deleteRoute(k)
	f.unlock()
	f.poke()
}

// SetRule makes a rule desired. If somebody else's rule that is equal in all
// but protocol is there already, it counts.
func (f *FIB) SetRule(r Rule) error { return f.rule(r, f.rules.set) }

// SetRuleAbsent makes the absence of a rule desired, whoever made it, for example of
// the kernel's default rules. Bans are enforced only when rules of the same
// family are desired and all of them are in the kernel, so that there is no
// moment without rules. Set the rules first.
func (f *FIB) SetRuleAbsent(r Rule) error { return f.rule(r, f.rules.forbid) }

// DeleteRule takes back SetRule or SetRuleAbsent. After SetRule the rule is removed if
// it is ours; after SetRuleAbsent nothing is put back.
func (f *FIB) DeleteRule(r Rule) { _ = f.rule(r, f.rules.remove) }

func (f *FIB) rule(r Rule, do func(Rule)) error {
	if err := r.check(); err != nil {
		return &Error{Op: "set", Key: r, Err: ErrInvalid, Text: err.Error()}
	}
	return f.desire(func() { do(r.normal()) })
}

// desire changes what is desired, unless the FIB has ended.
func (f *FIB) desire(change func()) error {
	f.lock()
	over := f.over
	if !over {
		change()
	}
	f.unlock()
	if over {
		return ErrClosed
	}
	f.poke()
	return nil
}

// SetAddress makes an address desired.
func (f *FIB) SetAddress(a Address) error {
	if a.IfIndex <= 0 || !a.Prefix.IsValid() || a.Prefix.Addr().Zone() != "" || a.Prefix.Addr().Is4In6() {
		return &Error{Op: "set", Key: a, Err: ErrInvalid, Text: "link and prefix"}
	}
	a.Scope = or(a.Scope, ScopeUniverse)
	return f.desire(func() {
		a.IfIndex = f.linkIndex(a.IfIndex)
		key := addressKey{link: a.IfIndex, prefix: a.Prefix}
		f.addresses.set(key, a)
		if had, ok := f.addresses.have[key]; ok {
			had.value = f.comparable(had.value)
			f.addresses.have[key] = had
		}
	})
}

// DeleteAddress takes back SetAddress and removes the address. Only IfIndex and
// Prefix count.
func (f *FIB) DeleteAddress(a Address) {
	f.lock()
	f.addresses.remove(addressKey{link: f.linkIndex(a.IfIndex), prefix: a.Prefix})
	f.unlock()
	f.poke()
}

// SetNeighbor makes a permanent or proxy neighbour desired.
func (f *FIB) SetNeighbor(n Neighbor) error {
	if n.IfIndex <= 0 || !n.Addr.IsValid() || n.Addr.Zone() != "" {
		return &Error{Op: "set", Key: n, Err: ErrInvalid, Text: "link and address"}
	}
	if n.Proxy {
		n.MAC = [6]byte{}
	}
	return f.desire(func() {
		n.IfIndex = f.linkIndex(n.IfIndex)
		f.neighbors.set(neighborKey{n.IfIndex, n.Addr, n.Proxy}, n)
	})
}

// DeleteNeighbor takes back SetNeighbor and removes the entry. MAC does not count.
func (f *FIB) DeleteNeighbor(n Neighbor) {
	f.lock()
	f.neighbors.remove(neighborKey{f.linkIndex(n.IfIndex), n.Addr, n.Proxy})
	f.unlock()
	f.poke()
}

// SetSysctl makes a value desired. A path that does not exist yet (its
// interface is not there) is waited for.
func (f *FIB) SetSysctl(s Sysctl) error {
	if err := checkSysctl(s); err != nil {
		return err
	}
	return f.desire(func() { f.sysctls.wish(s) })
}

// DeleteSysctl forgets the wish; the value stays as it is.
func (f *FIB) DeleteSysctl(path string) {
	f.lock()
	if dir := f.sysctls.forget(path); dir != "" {
		f.forgotten = append(f.forgotten, dir)
	}
	f.unlock()
	f.poke()
}

// Sweep ends the time after start in which nothing of ours that is in the
// kernel is deleted: routes, rules, addresses, neighbours and next-hop objects
// that carry our protocol and are not desired go. Before the first Sweep they
// stay, so that a restarting control plane can learn again in peace. Later calls
// do nothing.
func (f *FIB) Sweep() {
	f.lock()
	if !f.swept {
		f.swept, f.rules.dirty, f.garbage = true, true, true
		if f.extrasLeft {
			f.doubts.routes.raise()
		}
		f.addresses.sweep()
		f.neighbors.sweep()
		f.store.all(func(i uint32, e *entry) {
			if e.want == nil {
				f.touchRoute(i, e)
			}
		})
	}
	f.unlock()
	f.poke()
}

// GatewayDown says that gateway on link is dead. Each next-hop object of it is
// removed with one message, whatever the number of routes; the kernel shrinks
// the groups. A group is never emptied: a route whose gateways are all dead
// keeps its last. Routes without groups are rewritten in the background. It
// returns at once; the messages are on their way to the kernel ahead of
// everything else.
func (f *FIB) GatewayDown(ifindex int, gateway netip.Addr) {
	f.lock()
	f.setGateway(gatewayKey{int32(f.linkIndex(ifindex)), gateway.WithZone("")}, true)
	f.unlock()
	f.poke()
}

// GatewayUp takes back GatewayDown: members are put back in the background.
func (f *FIB) GatewayUp(ifindex int, gateway netip.Addr) {
	f.lock()
	f.setGateway(gatewayKey{int32(f.linkIndex(ifindex)), gateway.WithZone("")}, false)
	f.unlock()
	f.poke()
}

// NextHops lists the next-hop objects of ours that are in the kernel now, so that
// another process (see package bfd) can remove dead ones if this one can not.
// EventNextHops tells when the answer has changed.
func (f *FIB) NextHops() []NextHopObject {
	f.lock()
	defer f.unlock()
	return f.nextHops()
}

// Gateways lists the gateways of all desired routes with several next hops, sorted:
// those for which GatewayDown makes a difference. Unlike NextHops it does not
// depend on what is in the kernel at the moment: somebody else may have removed a
// dead next hop before word of it came.
func (f *FIB) Gateways() []Gateway {
	f.lock()
	defer f.unlock()
	return f.gateways()
}

// Links lists the interfaces, by index. Empty before EventSynced.
func (f *FIB) Links() []Link {
	f.lock()
	defer f.unlock()
	links := make([]Link, 0, len(f.links))
	for _, l := range f.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b Link) int { return a.IfIndex - b.IfIndex })
	return links
}

// Watch starts to report events.
func (f *FIB) Watch(options WatchOptions) *Watcher {
	w := newWatcher(options, func(w *Watcher) {
		f.lock()
		defer f.unlock()
		f.watchers = slices.DeleteFunc(f.watchers, func(v *Watcher) bool { return v == w })
		f.writes = slices.ContainsFunc(f.watchers, func(v *Watcher) bool { return v.options.Writes })
	})
	f.lock()
	defer f.unlock()
	f.watchers = append(f.watchers, w)
	f.writes = f.writes || options.Writes
	if f.ended() {
		w.end()
	}
	return w
}

func (f *FIB) broadcast(e Event) {
	for _, w := range f.watchers {
		w.add(e)
	}
}
