package fib

import (
	"context"
	"iter"
	"net/netip"
	"sync"
)

// FIB is the desired state of one network namespace, and what makes the kernel
// equal to it. All methods are safe for concurrent use, and none but Open, Run
// and Flush blocks on the kernel.
type FIB struct {
	config Config
	mu     sync.Mutex
}

// Open checks the config and opens the sockets. It writes nothing. Without Run
// the FIB does nothing; a FIB that never runs needs Close.
func Open(config Config) (*FIB, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	return &FIB{config: config}, nil
}

// Close releases the sockets of a FIB whose Run was never called.
func (f *FIB) Close() error { return nil }

// Run reads the kernel, adopts what carries our protocol, and keeps it equal to
// the desired state until ctx ends. It leaves everything in the kernel as it
// is, leaves no goroutine, closes the sockets and returns nil, or the error that
// made going on impossible. It can be called once.
func (f *FIB) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// SetRoute makes r desired, replacing a desired route with the same key. The
// error is about r itself (an *Error with ErrInvalid or ErrTable); what the
// kernel says about it comes as an [Event] and in [FIB.Routes].
func (f *FIB) SetRoute(r Route) error { return nil }

// DeleteRoute takes back SetRoute: the route is removed from the kernel if it
// is ours.
func (f *FIB) DeleteRoute(k RouteKey) {}

// SetRule makes a rule desired. If somebody else's rule that is equal in all
// but protocol is there already, it counts.
func (f *FIB) SetRule(r Rule) error { return nil }

// BanRule makes the absence of a rule desired, whoever made it, for example of
// the kernel's default rules. Bans are enforced only when all desired rules of
// the same family are in the kernel, so that there is no moment without rules.
func (f *FIB) BanRule(r Rule) error { return nil }

// DeleteRule takes back SetRule or BanRule. After SetRule the rule is removed if
// it is ours; after BanRule nothing is put back.
func (f *FIB) DeleteRule(r Rule) {}

// SetAddress makes an address desired.
func (f *FIB) SetAddress(a Address) error { return nil }

// DeleteAddress takes back SetAddress and removes the address. Only Link and
// Prefix count.
func (f *FIB) DeleteAddress(a Address) {}

// SetNeighbor makes a permanent or proxy neighbour desired.
func (f *FIB) SetNeighbor(n Neighbor) error { return nil }

// DeleteNeighbor takes back SetNeighbor and removes the entry. MAC does not count.
func (f *FIB) DeleteNeighbor(n Neighbor) {}

// SetSysctl makes a value desired. A path that does not exist yet (its
// interface is not there) is waited for.
func (f *FIB) SetSysctl(s Sysctl) error { return nil }

// DeleteSysctl forgets the wish; the value stays as it is.
func (f *FIB) DeleteSysctl(path string) {}

// Flush waits until everything that was desired before the call is in the
// kernel, or known to be impossible for now. It returns ctx's error, ErrClosed,
// or the errors (joined, 16 at most) of objects that failed.
func (f *FIB) Flush(ctx context.Context) error { return nil }

// Sweep ends the time after start in which nothing of ours that is in the
// kernel is deleted: routes, rules and next-hop objects that carry our protocol
// and are not desired go. Before the first Sweep they stay, so that a
// restarting control plane can learn again in peace. Later calls do nothing.
func (f *FIB) Sweep() {}

// GatewayDown says that gateway on link is dead. Each next-hop object of it is
// removed with one message, whatever the number of routes; the kernel shrinks
// the groups. A group is never emptied: a route whose gateways are all dead
// keeps its last. Routes without groups are rewritten in the background. It
// returns at once; the messages are on their way to the kernel ahead of
// everything else.
func (f *FIB) GatewayDown(link int, gateway netip.Addr) {}

// GatewayUp takes back GatewayDown: members are put back in the background.
func (f *FIB) GatewayUp(link int, gateway netip.Addr) {}

// NextHops lists the next-hop objects that groups of ours use now, so that
// another process (see package bfd) can remove dead ones if this one can not.
// EventNextHops tells when the answer has changed.
func (f *FIB) NextHops() []NextHopObject { return nil }

// Links lists the interfaces, by index. Empty before EventSynced.
func (f *FIB) Links() []Link { return nil }

// Learn starts to report foreign routes.
func (f *FIB) Learn(filter Filter) *Learner { return newLearner(filter, nil) }

// Watch starts to report events.
func (f *FIB) Watch(options WatchOptions) *Watcher { return newWatcher(options, nil) }

// Routes iterates over the desired routes and, before Sweep, the stale ones, in
// no order. The lock is not held while the loop body runs; changes meanwhile
// may or may not be seen.
func (f *FIB) Routes() iter.Seq[RouteStatus] { return func(func(RouteStatus) bool) {} }

// Diff lists how the kernel differs from the desired state, sorted. It is empty
// when all is well.
func (f *FIB) Diff() []Difference { return nil }

// Stats returns counters.
func (f *FIB) Stats() Stats { return Stats{} }

// Difference is one line of [FIB.Diff].
type Difference struct {
	// Op is "add", "replace", "delete" or "set".
	Op string
	// Key names the object as in [Error].
	Key any
	// Want and Have describe it in words; "" is absent.
	Want, Have string
}

// Stats are counters since Open, and sizes now.
type Stats struct {
	Desired, Installed, Held, Failed, Foreign, Stale int // routes now

	Adds, Replaces, Deletes uint64 // route messages sent
	ObjectWrites            uint64 // next-hop messages sent
	RuleWrites              uint64 // rule messages sent
	OtherWrites             uint64 // address and neighbour messages, sysctls
	Errors                  uint64 // refused by the kernel
	Repairs                 uint64 // put back after foreign interference
	Notifications           uint64 // read from the monitor socket
	Resyncs                 uint64 // because notifications or replies were lost
}
