package fibcore

import (
	"cmp"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Core is the whole state, desired and kernel, and all decisions. It does no
// I/O and has no clock: the shell feeds it notifications, dumps and results, and asks what
// to write. Not safe for concurrent use.
type Core struct {
	config Config
	owned  map[uint32]bool // Config.Tables; nil: all

	intern intern
	tables tables
	store  store
	objects
	failures  map[uint32]*failure // by entry
	queue     []uint32            // dirty entries, first in first out
	head      int
	queued    uint64            // entries ever queued
	handled   uint64            // entries ever taken and committed
	by        map[uint32]origin // who has changed entries with markRepair
	brakes    brake.Table[rkey] // of repairs; they outlive the entry
	links     map[int32]wire.Link
	bygone    map[string]int32         // by name: interfaces that are gone
	aliases   map[int32]int32          // what the caller knows by an old index
	temporary map[wire.AddressKey]bool // addresses in the kernel that have a lifetime

	rules     rules
	addresses desired[wire.AddressKey, wire.Address]
	neighbors desired[wire.NeighborKey, wire.Neighbor]
	sysctls   sysctls
	probes    map[wire.NeighborKey]wire.Neighbor // to be looked for again, see Probe

	swept       bool
	synced      bool
	pass, first uint32  // over the dump under way, and the first of its passes; see entry.seen
	lastForeign rkey    // under which the dump had somebody else's route, where ours has no entry
	extras      []extra // to be deleted
	// extrasLeft says that there were extras that must stay until Sweep.
	extrasLeft bool
	rereads    rereads // what is to be read from the kernel again
	stats      Stats
	emit       func(Event)
	writes     bool        // somebody wants EventWrite
	moved      bool        // a group has moved: wants must be resolved
	formLimit  int         // when to look for forms to forget
	buried     bool        // no entry has a group that does not exist
	hope       bool        // something has changed that may help what failed
	followers  []*Follower // who wants to know what becomes of routes
	noted      []uint32    // entries of which they have not been told
	learners   []*Learner
	fresh      bool      // there are learners that have not dumped yet
	clock      time.Time // of the last input
	audit      time.Time // when sysctls and proxy entries are compared again
	forgotten  []string  // directories of sysctls not to be watched any more
	flight     flight

	rm, out    wire.RouteMessage // scratch
	hopScratch []wire.NextHop    // scratch
	lastWnt    struct {          // one-entry cache of SetRoute
		hops []NextHop
		r    Route
		w    *want
	}
}

// failure is why a route is not in the kernel.
type failure struct {
	err  *Error
	next time.Time
	step time.Duration
}

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 30 * time.Second
	// grace is how long an object that somebody else deleted stays out: time
	// for the news that its gateway is dead to arrive, when it was another
	// process of ours that deleted it.
	grace = 50 * time.Millisecond
	// linger is how long a group that nobody uses is kept: flaps come in pairs.
	linger = time.Second
	// smallGroup is up to how many routes a group is replaced in place. That
	// costs the kernel a notification for each route under RTNL
	// (nexthop_compat_mode); a bigger group is rebuilt under a new id and its
	// routes are moved, between which others get their turn.
	smallGroup = 4096
)

// New returns the core of a FIB. emit takes events while a method is called: it must not
// block.
func New(c Config, emit func(Event)) *Core {
	k := &Core{config: c, emit: emit}
	if c.Tables != nil {
		k.owned = map[uint32]bool{}
		for _, t := range c.Tables {
			k.owned[cmp.Or(t, rtnl.RT_TABLE_MAIN)] = true
		}
	}
	k.objects.init(c)
	k.intern = intern{wants: map[string]*want{}, forms: map[string]*form{}, groupOf: k.groupRecord}
	k.tables.index = map[tableFamily]uint16{}
	k.store = newStore()
	k.failures, k.by, k.brakes = map[uint32]*failure{}, map[uint32]origin{}, brake.Table[rkey]{}
	k.probes = map[wire.NeighborKey]wire.Neighbor{}
	k.links, k.bygone, k.aliases = map[int32]wire.Link{}, map[string]int32{}, map[int32]int32{}
	k.buried, k.formLimit = true, 1024
	k.rereads.tables = map[tableFamily]*reread{}
	k.temporary = map[wire.AddressKey]bool{}
	k.rules.init()
	k.addresses.init()
	k.addresses.remake = fixed
	k.neighbors.init()
	k.sysctls.init()
	return k
}

func (c *Core) event(e Event) {
	e.Time = c.clock
	c.emit(e)
}

func (c *Core) ours(proto uint8) bool {
	return proto == c.config.Protocol || proto == c.config.PersistentProtocol
}

func (c *Core) owns(table uint32) bool { return c.owned == nil || c.owned[table] }

// SetRoute makes r desired.
func (c *Core) SetRoute(r *Route) error {
	key, tf, err := c.pack(r.RouteKey)
	if err != nil {
		return err
	}
	w, err := c.wantOf(r, tf.family)
	if err != nil {
		return &Error{Op: "set", Key: r.RouteKey, Err: err}
	}
	i, e := c.store.get(&key)
	c.clear(i, e, markStale|markDoomed|markYielding)
	if e.mark&markFailed != 0 && e.want != w {
		c.clearFailure(i, e)
	}
	c.setWant(i, e, w)
	if !c.synced || w.form != e.have || e.mark&markFailed != 0 {
		c.touchRoute(i, e)
	}
	return nil
}

// DeleteRoute takes SetRoute back.
func (c *Core) DeleteRoute(k wire.RouteKey) error {
	key, _, err := c.pack(k)
	if err != nil {
		return err
	}
	i, e := c.store.find(&key)
	if e == nil {
		if c.synced {
			return nil
		}
		i, e = c.store.get(&key)
	}
	c.clear(i, e, markStale|markYielding)
	e.mark |= markDoomed
	c.clearFailure(i, e)
	c.setWant(i, e, nil)
	c.touchRoute(i, e)
	return nil
}

// setWant makes w the desired content of an entry; nil: nothing is desired.
func (c *Core) setWant(i uint32, e *entry, w *want) {
	if e.want == w {
		return
	}
	c.note(i, e)
	c.clear(i, e, markLost)
	if w != nil {
		w.refs++
		if w.refs == 1 && w.group != nil {
			w.group.wants++
		}
	}
	if old := e.want; old != nil {
		if old.refs--; old.refs == 0 {
			c.dropWant(old)
		}
	}
	e.want = w
}

func (c *Core) dropWant(w *want) {
	delete(c.intern.wants, w.key)
	if c.lastWnt.w == w {
		c.lastWnt.w = nil
	}
	if g := w.group; g != nil {
		if g.wants--; g.wants <= 0 {
			c.drop(g)
		}
	}
}

func (c *Core) setHave(i uint32, e *entry, f *form) {
	if e.have == f {
		return
	}
	c.note(i, e)
	if e.want != nil && e.have != nil && e.have == e.want.form {
		e.mark |= markLost // until it is written again
	}
	if f != nil && f != needsDump {
		f.refs++
		if f.group != nil {
			f.group.uses++
		}
	}
	if old := e.have; old != nil && old != needsDump {
		old.refs--
		if old.group != nil {
			c.unuse(old.group)
		}
	}
	e.have = f
}

func (c *Core) unuse(k *kernelGroup) {
	if k.uses--; k.uses > 0 {
		return
	}
	k.since = c.clock
	c.garbage = true
	if !k.exists {
		delete(c.kernel, k.id)
		c.forgetForms(k.id)
	}
}

// forgetForms removes forms of a next-hop id that is no more.
func (c *Core) forgetForms(id uint32) {
	for key, f := range c.intern.forms {
		if f.nhid == id && f.refs == 0 {
			delete(c.intern.forms, key)
		}
	}
}

// trim forgets forms that nobody has and nobody wants, when there are many more
// than were in use the last time.
func (c *Core) trim() {
	if len(c.intern.forms) < c.formLimit {
		return
	}
	wanted := map[*form]bool{}
	for _, w := range c.intern.wants {
		wanted[w.form] = true
	}
	for key, f := range c.intern.forms {
		if f.refs == 0 && !wanted[f] {
			delete(c.intern.forms, key)
		}
	}
	c.formLimit = 2*len(c.intern.forms) + 1024
}

func (c *Core) touchRoute(i uint32, e *entry) {
	if e.mark&markDirty != 0 {
		return
	}
	e.mark |= markDirty
	c.queue = append(c.queue, i)
	c.queued++
}

// target is the form that e should have, nil for none; keep means that it may
// stay whatever it is.
func (c *Core) target(e *entry) (f *form, keep bool) {
	switch {
	case e.want != nil:
		// Not ready is no reason to take away what is there, unless the
		// kernel did that already.
		f = e.want.form
		return f, f == nil && !e.want.isCut
	case e.mark&markDoomed != 0 || c.swept:
		return nil, false
	}
	return nil, true
}

// clean lets go of an entry that says nothing any more.
func (c *Core) clean(i uint32, e *entry) {
	if e.want == nil && e.have == nil && e.mark&(markDirty|markBusy) == 0 {
		c.clearFailure(i, e)
		delete(c.by, i)
		c.forget(e)
		c.store.release(i)
	}
}

// clearFailure forgets that the route failed.
func (c *Core) clearFailure(i uint32, e *entry) {
	if e.mark&markFailed != 0 {
		e.mark &^= markFailed
		delete(c.failures, i)
		c.note(i, e)
	}
}
