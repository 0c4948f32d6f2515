package fibcore

import (
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Routes as the kernel tells of them. Others can put more than one route under a key:
// in IPv4 before or behind the one that is there (the first is used), in IPv6 as one more
// next hop, or beside it. What is there then is read, not computed.

func (c *Core) observeRoute(m *wire.RouteMessage, gone bool, flags uint16, dump bool, by origin) {
	if !gone {
		by.proto = m.Protocol
	}
	if !dump {
		c.notifyLearners(m, gone, flags)
	}
	if !c.owns(m.Table) {
		return
	}
	own := c.ours(m.Protocol)
	tf := tableFamily{m.Table, m.Family}
	t, ok := c.tables.index[tf]
	if !ok {
		if !own || gone {
			return
		}
		if t, ok = c.tables.of(tf); !ok {
			return
		}
	}
	key := rkey{hi: m.Hi, lo: m.Lo, metric: m.Metric, table: t, bits: m.Bits, tos: m.TOS}
	i, e := c.store.find(&key)
	switch {
	case own && gone:
		if e != nil && e.have != nil {
			c.lostOneRoute(i, e, c.formSeen(m), by)
		}
	case own:
		if e == nil {
			i, e = c.store.get(&key)
			if dump && c.lastForeign == key { // the kernel dumps what is under one key in a row
				e.mark |= markForeign
			}
		}
		if !dump && beside(flags) {
			c.unclear(i, e, by)
			return
		}
		c.sawRoute(i, e, c.formSeen(m), dump, by)
	case e == nil && dump:
		c.lastForeign = key
	case e == nil:
	case gone:
		e.mark &^= markForeign | markBehind | markAround | markStolen
		if c.config.OnForeign != ForeignRefuse {
			c.clear(i, e, markYielding)
		}
		c.touchRoute(i, e)
	default:
		c.sawForeign(i, e, m, flags, dump, by)
	}
}

// beside reports whether a notification with these flags is about a route that others
// stand beside under its key: the kernel sets NLM_F_EXCL for one that is alone.
func beside(flags uint16) bool { return flags&(rtnl.NLM_F_REPLACE|rtnl.NLM_F_EXCL) == 0 }

func (c *Core) formSeen(m *wire.RouteMessage) *form {
	nextHops := m.NextHops
	if m.NextHopID != 0 {
		nextHops = nil
	}
	return c.intern.form(&m.Facts, m.NextHopID, nextHops, m.Unknown)
}

// interfered notes that somebody else has changed our route, or made one that carries our
// protocol number and nobody wants: the next write is a repair.
func (c *Core) interfered(i uint32, e *entry, by origin) {
	if _, keep := c.target(e); e.want != nil || !keep {
		e.mark |= markRepair
		c.by[i] = by
	}
}

// unclear has the table of a route read before anything is written under its key.
func (c *Core) unclear(i uint32, e *entry, by origin) {
	c.interfered(i, e, by)
	e.mark |= markContested
	c.rereads.table(c.tables.list[e.key.table])
}

// lostOneRoute: somebody else removed a route of ours, or one that stood beside it; or the
// kernel one next hop of an IPv6 route, with a notification of its own for each.
func (c *Core) lostOneRoute(i uint32, e *entry, f *form, by origin) {
	nextHop := f.Family == wire.FamilyIPv6 && f.nhid == 0
	if f != e.have && (e.have != needsDump || nextHop) {
		c.unclear(i, e, by)
		return
	}
	c.lostRoute(i, e, by)
}

func (c *Core) lostRoute(i uint32, e *entry, by origin) {
	c.setHave(i, e, nil)
	c.interfered(i, e, by)
	e.mark &^= markStale
	c.touchRoute(i, e)
}

func (c *Core) sawRoute(i uint32, e *entry, f *form, dump bool, by origin) {
	switch {
	case dump && e.have != nil && (e.seen == c.pass || e.seen >= c.first && e.have.Protocol != f.Protocol):
		c.extras = append(c.extras, extra{i, f}) // behind the one that this pass had first
		return
	case dump && e.mark&markForeign != 0:
		e.mark |= markBehind
		c.note(i, e)
	case dump || e.have == f:
	case e.want == nil || e.want.form != f:
		c.interfered(i, e, by)
	default:
		// Just what is desired. But we may have deleted it since, and nothing would be
		// written.
		c.rereads.table(c.tables.list[e.key.table])
	}
	c.setHave(i, e, f)
	e.seen = c.pass
	e.mark &^= markContested
	if e.want == nil {
		e.mark |= markStale
	}
	c.touchRoute(i, e)
}

// sawForeign: somebody else's route stands under a key of ours.
func (c *Core) sawForeign(i uint32, e *entry, m *wire.RouteMessage, flags uint16, dump bool, by origin) {
	switch {
	case dump && e.have != nil && e.seen == c.pass && m.Family == wire.FamilyIPv4:
		e.mark |= markAround // of no effect
		return
	case dump:
		e.mark |= markForeign
		if c.config.OnForeign == ForeignTake {
			c.extras = append(c.extras, extra{i, c.formSeen(m)}) // if ours is behind it
		}
	case flags&rtnl.NLM_F_REPLACE != 0 && e.mark&markForeign == 0 && e.want == nil: // a stale one of ours
		c.setHave(i, e, nil)
		e.mark |= markForeign
	case flags&rtnl.NLM_F_REPLACE != 0 && e.mark&markForeign == 0 && (e.have != nil || e.mark&markLost != 0):
		// It took our route away. Ours comes back, whatever the policy is: we were here
		// first.
		c.setHave(i, e, needsDump)
		c.interfered(i, e, by)
		e.mark |= markStolen
	case e.have == nil:
		c.clear(i, e, markLost) // ours is no more what the next one might replace
		e.mark |= markForeign
	default:
		c.unclear(i, e, by)
	}
	c.touchRoute(i, e)
}

// extra is a route that stands beside ours under its key and is to be deleted.
type extra struct {
	entry uint32
	form  *form
}

// planExtras makes deletions of extras. A foreign one is deleted only if it stands before
// ours; one alone is replaced.
func (c *Core) planExtras(ops []routeOp, limit int, now time.Time) []routeOp {
	for len(c.extras) > 0 && len(ops) < limit {
		x := c.extras[0]
		c.extras = c.extras[1:]
		if x.entry >= c.store.n {
			continue
		}
		e := c.store.at(x.entry)
		own := c.ours(x.form.Protocol)
		_, keep := c.target(e)
		switch {
		case e.have == nil || e.have == x.form, e.want == nil && !own, !own && e.mark&markBehind == 0:
			continue
		case e.want == nil && keep:
			c.extrasLeft = true
			continue
		}
		if b := c.brakes[e.key]; !b.Ready(now) {
			e.mark |= markBeside
			c.wake(b.Next)
			continue
		}
		e.mark |= markBusy
		x.form.refs++
		ops = append(ops, routeOp{x.entry, verbDelete, x.form, true})
	}
	if len(c.extras) == 0 {
		c.extras = nil
	}
	return ops
}
