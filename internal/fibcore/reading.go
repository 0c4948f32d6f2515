package fibcore

import (
	"errors"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Dumps. A dump is no snapshot: notifications are subscribed to before it, those
// that have arrived are taken in before it, and those that arrive during it are
// replayed after it. What a dump has is true, or was a moment ago and a notification
// that says otherwise is on its way. What a dump lacks is gone only if the kernel has
// not marked it as interrupted (NLM_F_DUMP_INTR: it resumes some dumps by counting
// entries, so that it leaves out some when others go): then it is read again.

// Outcome is how a dump ended.
type Outcome uint8

const (
	Complete    Outcome = iota
	Interrupted         // read to its end, but the kernel changed what it resumes by
	BrokenOff           // not read to its end
)

var outcomeNames = [...]string{"complete", "interrupted", "broken-off"}

func (o Outcome) String() string { return enum.String("Outcome", outcomeNames[:], o) }

// Reading is what the core has to read from the kernel, one dump after the other:
//
//	for request := r.Next(now); request != nil; request = r.Next(now) {
//		r.Pass()
//		... r.Row(m, now) for each message
//		err := r.End(outcome, nil, now)
//	}
//
// All methods are part of the core, and under its lock.
type Reading struct {
	core  *Core
	begun bool
	first bool // the first of all
	whole bool // everything is read
	start time.Time
	parts []*part // those left, the first of which is being read
	dumps []*dump // of the first part, those left
}

// part is a part of the kernel's state that can be read alone.
type part struct {
	reread *reread // nil: not one of them
	always bool    // also if it is not due
	dumps  func() []*dump
	finish func(clean bool) // after the last dump, unless one of them made an end; may be nil
	begun  time.Time        // zero: not yet
	clean  bool
}

// dump is one request. What follows may be nil.
type dump struct {
	request []byte
	begin   func() // before the first pass
	pass    func() // before each pass
	row     func(rtnl.Message)
	// end says what the outcome means. With stop the part is at its end. The default
	// stops at an error, and at a dump that is not complete.
	end func(o Outcome, err error) (clean, stop bool, e error)
}

// StartReading begins to read what has become unclear; nil if nothing has. The shell
// takes in the notifications that have arrived before it asks for the first dump.
func (c *Core) StartReading(now time.Time) *Reading {
	c.env.clock = now
	r := &Reading{core: c, start: now}
	d := &c.env.rereads
	if r.whole = d.everything.due(now); r.whole {
		r.parts = c.parts(true)
		return r
	}
	if _, due, _ := d.state(now); !due && !c.learners.fresh {
		return nil
	}
	r.parts = c.parts(false)
	for tf, one := range d.tables {
		if one.needed {
			r.parts = append(r.parts, &part{reread: one, dumps: func() []*dump { return c.routes.tableDumps(tf) }})
		} else {
			delete(d.tables, tf)
		}
	}
	if c.learners.fresh {
		r.parts = append(r.parts, c.learners.newLearnersPart())
	}
	return r
}

// StartFirstReading begins to read everything, for the first time. Notifications from
// before it say nothing that is not in it.
func (c *Core) StartFirstReading(now time.Time) *Reading {
	c.env.clock = now
	c.compared = now.Add(c.env.auditEvery())
	r := &Reading{core: c, start: now, first: true, whole: true, parts: c.parts(true)}
	r.parts = r.parts[:len(r.parts)-1] // learners come when all is known
	return r
}

// Whole reports whether everything is read.
func (r *Reading) Whole() bool { return r.whole }

// Next returns the next request, or nil at the end.
func (r *Reading) Next(now time.Time) []byte {
	c := r.core
	c.env.clock = now
	if !r.begun {
		r.begun = true
		if r.whole {
			c.env.rereads.everything.begin()
		}
	}
	for len(r.parts) > 0 {
		p := r.parts[0]
		switch {
		case !p.begun.IsZero():
		case p.reread != nil && !p.always && !p.reread.due(now):
			r.parts = r.parts[1:]
			continue
		default:
			p.begun, p.clean = now, true
			if p.reread != nil {
				p.reread.begin()
			}
			r.dumps = p.dumps()
		}
		if len(r.dumps) > 0 {
			if r.dumps[0].begin != nil {
				r.dumps[0].begin()
			}
			return r.dumps[0].request
		}
		if p.finish != nil {
			p.finish(p.clean)
		}
		r.endPart(p.clean, now)
	}
	if r.whole {
		r.whole = false
		c.readEverything(r, now)
		if r.first && c.learners.fresh {
			r.parts = append(r.parts, c.learners.newLearnersPart())
			return r.Next(now)
		}
	}
	return nil
}

func (r *Reading) endPart(clean bool, now time.Time) {
	p := r.parts[0]
	if p.reread != nil {
		p.reread.done(p.begun, now, clean)
	}
	r.parts, r.dumps = r.parts[1:], nil
}

// readEverything is the end of a reading of everything.
func (c *Core) readEverything(r *Reading, now time.Time) {
	kind := EventSynced
	if !r.first {
		kind = EventResync
		c.env.stats.Resyncs++
	}
	c.env.synced = true
	c.routes.resolveAll(func(*want) bool { return true })
	c.routes.store.all(c.routes.touchRoute)
	c.env.event(Event{Kind: kind})
	c.auditor.start(now)
	c.env.rereads.everything.done(r.start, now, true)
}

// Pass begins a pass over the dump: the first, or another after one that was interrupted.
func (r *Reading) Pass() {
	if d := r.dumps[0]; d.pass != nil {
		d.pass()
	}
}

// Row takes one record of the dump in.
func (r *Reading) Row(m rtnl.Message, now time.Time) {
	r.core.env.clock = now
	r.dumps[0].row(m)
}

// End ends the dump. err is what the kernel said; an error that passes by itself, such as
// ENOMEM, is none, but the dump was broken off. The error that End returns makes it
// impossible to go on.
func (r *Reading) End(o Outcome, err error, now time.Time) error {
	c, p, d := r.core, r.parts[0], r.dumps[0]
	c.env.clock = now
	r.dumps = r.dumps[1:]
	clean, stop := o == Complete && err == nil, o != Complete || err != nil
	if d.end != nil {
		clean, stop, err = d.end(o, err)
	}
	p.clean = p.clean && clean
	if err != nil {
		if !c.env.synced {
			return err
		}
		if p.reread != nil && p.reread.tries == 0 {
			r := replyOf(err)
			c.env.report(&Error{Op: "dump", Err: r.err, Text: r.text})
		}
	}
	if stop || err != nil {
		r.endPart(false, now)
	}
	return nil
}

// parts are all parts of the kernel's state, in the order in which they are read.
func (c *Core) parts(always bool) []*part {
	d := &c.env.rereads
	return []*part{
		c.linksPart(&d.links, always), c.addressesPart(&d.addresses, always), c.rulesPart(&d.rules, always),
		c.neighborsPart(&d.neighbors, always, false), c.neighborsPart(&d.proxies, always, true), c.nextHopsPart(&d.nextHops, always),
		{reread: &d.routes, always: always, dumps: c.routes.ownRoutesDumps}, {reread: &d.learners, always: always, dumps: c.learners.allLearnersDumps},
	}
}

// simplePart is a part of one dump, all of whose records are observed and noted by see. What
// was not seen is gone, says finish.
func (c *Core) simplePart(need *reread, always bool, request []byte, see func(m rtnl.Message) bool, missing func()) *part {
	d := &dump{request: request, row: func(m rtnl.Message) {
		if see(m) {
			c.observe(m, true)
		}
	}}
	return &part{reread: need, always: always, dumps: func() []*dump { return []*dump{d} }, finish: func(bool) { missing() }}
}

func (c *Core) linksPart(need *reread, always bool) *part {
	seen := map[int32]bool{}
	see := func(m rtnl.Message) bool {
		if l, err := wire.ParseLink(m.Body); err == nil {
			seen[int32(l.IfIndex)] = true
		}
		return true
	}
	return c.simplePart(need, always, rtnl.DumpRequest(rtnl.RTM_GETLINK, make([]byte, rtnl.SizeLink)...), see, func() {
		for index, l := range c.links.byIndex {
			if !seen[index] {
				c.linkGone(index, l)
			}
		}
	})
}

func (c *Core) addressesPart(need *reread, always bool) *part {
	seen := map[wire.AddressKey]bool{}
	see := func(m rtnl.Message) bool {
		var a wire.KernelAddress
		if a.Parse(m.Body) == nil {
			seen[a.Key()] = true
		}
		return true
	}
	return c.simplePart(need, always, rtnl.DumpRequest(rtnl.RTM_GETADDR, make([]byte, rtnl.SizeAddress)...), see, func() {
		for key, had := range c.addresses.have {
			if !seen[key] {
				c.observeAddress(&wire.KernelAddress{Address: had.value, Peer: key.Peer}, true, origin{})
			}
		}
		c.addresses.compareAll()
	})
}

// neighborsPart reads the permanent neighbours, or the proxy entries, which no dump has
// together with the others.
func (c *Core) neighborsPart(need *reread, always, proxies bool) *part {
	seen := map[wire.NeighborKey]bool{}
	body := make([]byte, rtnl.SizeNeighbor)
	if proxies {
		body[10] = rtnl.NTF_PROXY
	}
	see := func(m rtnl.Message) bool {
		var n wire.KernelNeighbor
		if n.Parse(m.Body) != nil || !n.Permanent && !n.Proxy {
			return false
		}
		seen[wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr, Proxy: n.Proxy}] = true
		return true
	}
	return c.simplePart(need, always, rtnl.DumpRequest(rtnl.RTM_GETNEIGH, body...), see, func() {
		for key := range c.neighbors.have {
			if key.Proxy == proxies && !seen[key] {
				c.neighbors.lost(key, origin{})
			}
		}
		c.neighbors.compareAll()
	})
}

// rulesPart counts the rules, each pass for itself: a rule that is there twice is in a
// dump twice.
func (c *Core) rulesPart(need *reread, always bool) *part {
	var all []wire.KernelRule
	dumpOf := func(f wire.Family) *dump {
		var found []wire.KernelRule
		var body [rtnl.SizeRule]byte
		body[0] = byte(f)
		return &dump{
			request: rtnl.DumpRequest(rtnl.RTM_GETRULE, body[:]...),
			pass:    func() { found = nil },
			row: func(m rtnl.Message) {
				var r wire.KernelRule
				if m.Type == rtnl.RTM_NEWRULE && r.Parse(m.Body) == nil {
					found = append(found, r)
				}
			},
			end: func(o Outcome, err error) (clean, stop bool, e error) {
				switch {
				case errors.Is(err, unix.EAFNOSUPPORT): // a kernel without IPv6
				case err != nil || o == BrokenOff:
					return false, true, err
				}
				all = append(all, found...)
				return o == Complete || err != nil, false, nil
			},
		}
	}
	return &part{reread: need, always: always, dumps: func() []*dump { return []*dump{dumpOf(wire.FamilyIPv4), dumpOf(wire.FamilyIPv6)} },
		finish: func(bool) { c.rules.dumped(all) }}
}

// nextHopsPart reads all next-hop objects. The kernel walks them by id, and resumes
// by id (net/ipv4/nexthop.c, rtm_dump_walk_nexthops): what an interrupted dump lacks
// was not there, and what came meanwhile is in the notifications.
func (c *Core) nextHopsPart(need *reread, always bool) *part {
	seen, unsupported := map[uint32]bool{}, false
	see := func(m rtnl.Message) bool {
		var n wire.NextHopMessage
		if n.Parse(m.Body) != nil {
			return false
		}
		seen[n.ID] = true
		return true
	}
	p := c.simplePart(need, always, rtnl.DumpRequest(rtnl.RTM_GETNEXTHOP, make([]byte, rtnl.SizeNextHop)...), see, func() {
		if !unsupported {
			c.nexthops.missingNextHops(seen)
		}
	})
	p.dumps()[0].end = func(o Outcome, err error) (clean, stop bool, e error) {
		switch {
		case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
			c.NoNextHops()
			unsupported = true
		case err != nil || o == BrokenOff:
			return false, true, err
		}
		return true, false, nil
	}
	return p
}

// NoNextHops says that the kernel has no next-hop objects (before Linux 5.3).
func (c *Core) NoNextHops() { c.env.config.RTAMultipath = true }
