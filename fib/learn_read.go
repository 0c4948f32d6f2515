package fib

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Learn starts to report foreign routes.
func (f *FIB) Learn(filter Filter) *Learner {
	filter.Tables = slices.Clone(filter.Tables)
	for i, t := range filter.Tables {
		filter.Tables[i] = or(t, rtnl.RT_TABLE_MAIN)
	}
	l := newLearner(filter, func(l *Learner) {
		f.lock()
		defer f.unlock()
		f.learners = slices.DeleteFunc(f.learners, func(v *Learner) bool { return v == l })
	})
	l.fresh = true
	f.lock()
	f.learners = append(f.learners, l)
	f.fresh = true
	if f.ended() {
		l.end()
	}
	f.unlock()
	f.poke()
	return l
}

// notifyLearners passes a notification to the learners.
func (f *FIB) notifyLearners(m *routeMessage, gone bool, flags uint16) {
	if len(f.learners) == 0 {
		return
	}
	own := f.ours(m.proto)
	for _, l := range f.learners {
		if !slices.Contains(l.filter.Tables, m.table) {
			continue
		}
		switch {
		case gone && own:
		case gone:
			if l.lose(m.routeKey(), len(m.nextHops)) {
				f.doubts.learners.raise()
			}
		case !own && l.filter.accepts(m) && f.convinced(l, m):
			l.see(m.routeKey(), f.learnedOf(m), flags&rtnl.NLM_F_APPEND != 0)
		case flags&rtnl.NLM_F_REPLACE != 0:
			l.lose(m.routeKey(), 1<<30) // replaced by something else
		}
	}
}

func (f *FIB) convinced(l *Learner, m *routeMessage) bool {
	return l.filter.Accept == nil || l.filter.Accept(f.learnedOf(m))
}

func (c *core) learnedOf(m *routeMessage) Learned {
	l := Learned{Route: c.routeOf(&m.facts, m.nextHops, false), Protocol: m.proto}
	l.RouteKey = m.routeKey()
	return l
}

// readForNewLearners lets learners read their tables that have not yet.
func (o *owner) readForNewLearners() error {
	o.lock()
	fresh := o.fresh
	o.unlock()
	if !fresh {
		return nil
	}
	clean, err := o.readForLearners(func(l *Learner) bool { return l.fresh })
	if err != nil {
		if passing(err) || !broken(err) {
			err = nil
		}
		clean = false
	}
	if !clean {
		o.lock()
		o.doubts.learners.raise()
		o.unlock()
	}
	return err
}

// readForAllLearners lets all learners read their tables.
func (o *owner) readForAllLearners() (clean bool, err error) {
	return o.readForLearners(func(*Learner) bool { return true })
}

func (o *owner) readForLearners(to func(*Learner) bool) (clean bool, err error) {
	o.lock()
	o.fresh = false
	learners := slices.DeleteFunc(slices.Clone(o.learners), func(l *Learner) bool { return !to(l) })
	for _, l := range learners {
		l.fresh = false
	}
	o.unlock()
	clean = true
	for _, l := range learners {
		one, err := o.readForLearner(l)
		if err != nil {
			return false, err
		}
		clean = clean && one
	}
	return clean, nil
}

// readForLearner lets l read its tables. Unless they could be read completely, nothing is gone.
func (o *owner) readForLearner(l *Learner) (clean bool, err error) {
	l.mu.Lock()
	l.round++
	l.mu.Unlock()
	clean = true
	for _, family := range []Family{FamilyIPv4, FamilyIPv6} {
		if l.filter.Family != 0 && l.filter.Family != family {
			continue
		}
		for _, table := range l.filter.Tables {
			end, err := o.read(routeDump(family, table, 0), nil, func(m rtnl.Message) {
				if o.rm.parse(m.Body) == nil && o.rm.flags&rtnl.RTM_F_CLONED == 0 && !o.ours(o.rm.proto) && l.filter.accepts(&o.rm) && o.convinced(l, &o.rm) {
					l.see(o.rm.routeKey(), o.learnedOf(&o.rm), false)
				}
			})
			absent := errors.Is(err, unix.ENOENT)
			if err != nil && !absent {
				return false, err
			}
			clean = clean && (end == complete || absent)
		}
	}
	if clean {
		l.conclude()
	}
	return clean, nil
}
