package fibcore

import (
	"errors"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// LearnFilter selects foreign routes; package fib documents it.
type LearnFilter struct {
	Tables    []uint32
	Family    wire.Family
	Protocols []uint8
	Types     []wire.RouteType
	IfIndexes []int
	Accept    func(*Learned) bool // may be nil
}

// Learned is a route that another program put into the kernel.
type Learned struct {
	Route
	Protocol uint8
}

// learners are who wants to know the routes of others.
type learners struct {
	env   *env
	list  []*Learner
	fresh bool              // there are some that have not dumped yet
	rm    wire.RouteMessage // scratch
}

// Learner collects foreign routes for one reader: first those that are there, then every
// change, coalesced by key. All methods are part of the core, and under its lock.
type Learner struct {
	set    *learners
	filter LearnFilter
	wake   func() // there is something to take; must not block

	fresh  bool          // has not dumped yet
	round  uint32        // of dumps
	last   wire.RouteKey // of the last row of a dump
	clean  bool          // the round so far
	dirty  []wire.RouteKey
	head   int
	known  map[wire.RouteKey]*learned
	synced bool // a dump is complete
}

type learned struct {
	route Learned
	gone  bool
	dirty bool
	taken bool   // the reader knows that it exists
	many  bool   // there are more routes under the key, be it that the filter does not let them through
	visit uint32 // the last dump that had it
}

func newLearner(filter LearnFilter, wake func()) *Learner {
	return &Learner{filter: filter, wake: wake, known: map[wire.RouteKey]*learned{}, fresh: true}
}

// learn begins to collect.
func (c *learners) learn(filter LearnFilter, wake func()) *Learner {
	l := newLearner(filter, wake)
	l.set = c
	c.list = append(c.list, l)
	c.fresh = true
	return l
}

// unlearn ends it.
func (c *learners) unlearn(l *Learner) {
	c.list = slices.DeleteFunc(c.list, func(v *Learner) bool { return v == l })
}

// Take returns the next change; ok is false if there is none.
func (l *Learner) Take() (r *Learned, gone, ok bool) {
	for l.head < len(l.dirty) {
		key := l.dirty[l.head]
		if l.head++; l.head == len(l.dirty) {
			l.dirty, l.head = l.dirty[:0], 0
		}
		if r, gone, ok := l.change(key); ok {
			return r, gone, true
		}
	}
	return nil, false, false
}

// Pending reports whether Take may have something.
func (l *Learner) Pending() bool { return l.head < len(l.dirty) }

// Synced reports whether all routes that were there at the beginning have been taken.
func (l *Learner) Synced() bool { return l.synced && !l.Pending() }

// change is what the reader must hear about key, if anything.
func (l *Learner) change(key wire.RouteKey) (route *Learned, gone, ok bool) {
	r := l.known[key]
	if r == nil {
		return nil, false, false
	}
	r.dirty = false
	if !r.gone {
		r.taken = true
		return &r.route, false, true
	}
	delete(l.known, key)
	last := &Learned{}
	last.RouteKey = key
	return last, true, r.taken
}

// accepts reports whether the filter lets a route through.
func (fl *LearnFilter) accepts(m *wire.RouteMessage) bool {
	switch {
	case !slices.Contains(fl.Tables, m.Table), fl.Family != 0 && fl.Family != m.Family:
		return false
	case m.Metric == metricLastResort:
		return false
	case fl.Types == nil && m.Type != wire.RouteUnicast, fl.Types != nil && !slices.Contains(fl.Types, m.Type):
		return false
	case fl.Protocols == nil && (m.Protocol == rtnl.RTPROT_REDIRECT || m.Protocol == rtnl.RTPROT_KERNEL || m.Protocol == rtnl.RTPROT_RA):
		return false
	case fl.Protocols != nil && !slices.Contains(fl.Protocols, m.Protocol):
		return false
	case fl.IfIndexes == nil:
		return true
	}
	return slices.ContainsFunc(m.NextHops, func(l wire.NextHop) bool { return slices.Contains(fl.IfIndexes, int(l.IfIndex)) })
}

// see takes a route in, from a notification or a dump: one that is alone under its key, or beside others, of which the
// kernel uses the first.
func (l *Learner) see(key wire.RouteKey, route Learned, beside, behind bool) {
	r := l.known[key]
	if r == nil {
		r = &learned{gone: true}
		l.known[key] = r
	}
	r.visit = l.round
	r.many = r.many || beside || behind
	if !r.gone && (behind || sameLearned(&r.route, &route)) {
		return
	}
	r.route, r.gone = route, false
	l.mark(key, r)
}

// lose takes the end of a route in. It reports whether a dump must tell what is
// left under the key.
func (l *Learner) lose(key wire.RouteKey, nextHops int) (unclear bool) {
	r := l.known[key]
	if r == nil || r.gone {
		return false
	}
	if r.many || nextHops < len(r.route.NextHops) {
		return true
	}
	r.gone = true
	l.mark(key, r)
	return false
}

// crowded takes in that a route which the filter does not let through, or ours, stands
// under the key, too.
func (l *Learner) crowded(key wire.RouteKey) {
	if r := l.known[key]; r != nil {
		r.many = true
	}
}

// conclude ends a dump: what it did not have is gone.
func (l *Learner) conclude() {
	for key, r := range l.known {
		if !r.gone && r.visit != l.round {
			r.gone = true
			l.mark(key, r)
		}
	}
	l.synced = true
	l.wake()
}

func (l *Learner) mark(key wire.RouteKey, r *learned) {
	if !r.dirty {
		r.dirty = true
		l.dirty = append(l.dirty, key)
	}
	l.wake()
}

func sameLearned(a, b *Learned) bool {
	return a.Protocol == b.Protocol && a.RouteKey == b.RouteKey && sameContent(&a.Route, &b.Route) && slices.Equal(a.NextHops, b.NextHops)
}

// notifyLearners passes a notification to the learners.
func (c *learners) notifyLearners(m *wire.RouteMessage, gone bool, flags uint16) {
	if len(c.list) == 0 {
		return
	}
	own := c.env.ours(m.Protocol)
	for _, l := range c.list {
		if !slices.Contains(l.filter.Tables, m.Table) {
			continue
		}
		switch {
		case gone && own:
		case gone:
			if l.lose(m.RouteKey(), len(m.NextHops)) {
				c.env.rereads.learners.request()
			}
		case !own && l.filter.accepts(m) && c.accepted(l, m):
			appended := flags&rtnl.NLM_F_APPEND != 0 // in IPv6 a next hop, and the message has them all
			ipv4 := m.Family == wire.FamilyIPv4
			l.see(m.RouteKey(), c.learnedOf(m), appended || ipv4 && beside(flags), appended && ipv4)
		case flags&rtnl.NLM_F_REPLACE != 0: // by something else
			if l.lose(m.RouteKey(), 1<<30) {
				c.env.rereads.learners.request()
			}
		case m.Family == wire.FamilyIPv4 && beside(flags):
			l.crowded(m.RouteKey())
		}
	}
}

func (c *learners) accepted(l *Learner, m *wire.RouteMessage) bool {
	if l.filter.Accept == nil {
		return true
	}
	r := c.learnedOf(m)
	return l.filter.Accept(&r)
}

func (c *learners) learnedOf(m *wire.RouteMessage) Learned {
	l := Learned{Route: c.env.routeOf(&m.Facts, m.NextHops, false), Protocol: m.Protocol}
	l.RouteKey = m.RouteKey()
	return l
}

// newLearnersPart reads the tables of learners that have not yet.
func (c *learners) newLearnersPart() *part {
	return &part{dumps: func() []*dump {
		dumps := c.learnersDumps(func(l *Learner) bool { return l.fresh })
		for _, d := range dumps {
			end := d.end
			d.end = func(o Outcome, err error) (clean, stop bool, e error) {
				if clean, stop, e = end(o, err); !clean {
					c.env.rereads.learners.request()
				}
				return clean, stop, e
			}
		}
		return dumps
	}}
}

func (c *learners) allLearnersDumps() []*dump {
	return c.learnersDumps(func(*Learner) bool { return true })
}

func (c *learners) learnersDumps(to func(*Learner) bool) (dumps []*dump) {
	c.fresh = false
	for _, l := range c.list {
		if to(l) {
			dumps = append(dumps, l.dumps()...)
			l.fresh = false
		}
	}
	return dumps
}

// dumps let l read its tables. Unless they could be read completely, nothing is gone.
func (l *Learner) dumps() (dumps []*dump) {
	for _, family := range []wire.Family{wire.FamilyIPv4, wire.FamilyIPv6} {
		if l.filter.Family != 0 && l.filter.Family != family {
			continue
		}
		for _, table := range l.filter.Tables {
			dumps = append(dumps, &dump{request: RouteDump(family, table, 0), row: l.row, end: l.dumped})
		}
	}
	if len(dumps) == 0 {
		l.conclude()
		return nil
	}
	dumps[0].begin = func() { l.round, l.clean, l.last = l.round+1, true, wire.RouteKey{} }
	last := dumps[len(dumps)-1]
	last.end = func(o Outcome, err error) (clean, stop bool, e error) {
		if clean, stop, e = l.dumped(o, err); l.clean {
			l.conclude()
		}
		return clean, stop, e
	}
	return dumps
}

func (l *Learner) row(m rtnl.Message) {
	c := l.set
	if c.rm.Parse(m.Body) != nil || c.rm.Flags&rtnl.RTM_F_CLONED != 0 {
		return
	}
	key := c.rm.RouteKey()
	beside := key == l.last // the kernel dumps what is under one key in a row
	l.last = key
	r := l.known[key]
	behind := r != nil && r.visit == l.round // or seen by a pass that was interrupted: that costs a reading
	if r != nil {
		r.many = beside || behind
	}
	if !c.env.ours(c.rm.Protocol) && l.filter.accepts(&c.rm) && c.accepted(l, &c.rm) {
		l.see(key, c.learnedOf(&c.rm), beside, behind)
	}
}

// dumped ends one of several dumps. A table that does not exist has no routes.
func (l *Learner) dumped(o Outcome, err error) (clean, stop bool, e error) {
	absent := errors.Is(err, unix.ENOENT)
	clean = o == Complete || absent
	l.clean = l.clean && clean
	if err != nil && !absent {
		return false, true, err
	}
	return clean, false, nil
}
