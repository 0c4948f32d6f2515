package fibcore

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Routes as the kernel tells of them. Others can put more than one route under a key:
// in IPv4 before or behind the one that is there (the first is used), in IPv6 as one more
// next hop, or beside it. What is there then is read, not computed.

// row takes one record of a dump of routes in.
func (c *routes) row(m rtnl.Message) {
	if c.rm.Parse(m.Body) == nil && c.rm.Flags&rtnl.RTM_F_CLONED == 0 {
		c.observeRoute(&c.rm, m.Type == rtnl.RTM_DELROUTE, m.Flags, true, origin{})
	}
}

func (c *routes) observeRoute(m *wire.RouteMessage, gone bool, flags uint16, dump bool, by origin) {
	if !gone {
		by.proto = m.Protocol
	}
	if !c.env.owns(m.Table) {
		return
	}
	if !dump && m.Family == wire.FamilyIPv6 {
		c.turbulence++
	}
	own := c.env.ours(m.Protocol)
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
			c.lostOneRoute(i, e, c.contents.formSeen(m), by)
		}
	case own:
		if e == nil {
			i, e = c.store.get(&key)
			if dump && c.lastForeign == key { // the kernel dumps what is under one key in a row
				e.mark |= markForeign
			}
		}
		if !dump && beside(flags) {
			c.readAgain(i, e, by)
			return
		}
		c.sawRoute(i, e, c.contents.formSeen(m), dump, by)
	case e == nil && dump:
		c.lastForeign = key
	case e == nil:
	case gone && e.have != nil && e.mark&(markForeign|markBehind) != 0:
		// One of those that stand before ours has gone. Another may stand there still.
		c.readAgain(i, e, origin{})
	case gone:
		e.mark &^= markForeign | markBehind | markAround // not markStolen: the next one is no better
		if c.env.config.OnForeign != ForeignRefuse {
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

// interfered notes that another program has changed our route, or made one that carries our
// protocol number and nobody wants: the next write is a repair.
func (c *routes) interfered(i uint32, e *entry, by origin) {
	if _, keep := c.target(e); e.want != nil || !keep {
		e.mark |= markRepair
		c.by[i] = by
	}
}

// readAgain has the table of a route read before anything is written under its key.
func (c *routes) readAgain(i uint32, e *entry, by origin) {
	c.interfered(i, e, by)
	e.mark &^= markSuspect
	e.mark |= markContested
	c.env.rereads.table(c.tables.list[e.key.table])
}

// lostOneRoute: another program removed a route of ours, or one that stood beside it; or the
// kernel one next hop of an IPv6 route, with a notification of its own for each.
func (c *routes) lostOneRoute(i uint32, e *entry, f *form, by origin) {
	nextHop := f.Family == wire.FamilyIPv6 && f.nhid == 0
	if f != e.have && (e.have != needsDump || nextHop) {
		c.readAgain(i, e, by)
		return
	}
	alone := e.mark&(markContested|markForeign|markBehind|markAround) == 0
	c.lostRoute(i, e, by)
	if alone && by.port != 0 && e.want != nil {
		// What another program puts there before our repair takes the place of ours, as if
		// it had replaced it.
		e.mark |= markStolen
	}
}

func (c *routes) lostRoute(i uint32, e *entry, by origin) {
	c.setHave(i, e, nil)
	c.interfered(i, e, by)
	e.mark &^= markStale
	c.touchRoute(i, e)
}

func (c *routes) sawRoute(i uint32, e *entry, f *form, dump bool, by origin) {
	e.mark &^= markSuspect
	if dump && len(c.awaited) > 0 && e.have != f && c.awaited[e.key] {
		delete(c.awaited, e.key)
		by.proto = f.Protocol
		op := opChanged
		if e.have == nil {
			op = opExtra
		}
		c.env.found(Event{Op: op, Key: c.unpack(&e.key), Protocol: by.proto})
		c.interfered(i, e, by)
	}
	switch {
	case dump && e.have != nil && (e.seen == c.pass || e.seen >= c.first && e.have.Protocol != f.Protocol):
		c.extras = append(c.extras, extra{i, f}) // behind the one that this pass had first
		return
	case dump && e.mark&markForeign != 0:
		e.mark |= markBehind
		c.statusChanged(i, e)
	case dump || e.have == f:
	case e.want == nil || e.want.form != f:
		c.interfered(i, e, by)
	default:
		// Just what is desired. But we may have deleted it since, and nothing would be
		// written.
		c.env.rereads.table(c.tables.list[e.key.table])
	}
	c.setHave(i, e, f)
	e.seen = c.pass
	e.mark &^= markContested
	if e.want == nil {
		e.mark |= markStale
	}
	c.touchRoute(i, e)
}

// sawForeign: another program's route stands under a key of ours.
func (c *routes) sawForeign(i uint32, e *entry, m *wire.RouteMessage, flags uint16, dump bool, by origin) {
	e.mark &^= markSuspect
	switch {
	case dump && e.have != nil && e.seen == c.pass && m.Family == wire.FamilyIPv4:
		e.mark |= markAround // of no effect
		return
	case dump:
		e.mark |= markForeign
		if c.env.config.OnForeign == ForeignTake {
			c.extras = append(c.extras, extra{i, c.contents.formSeen(m)}) // if ours is behind it
		}
	case flags&rtnl.NLM_F_REPLACE != 0 && e.mark&markForeign == 0 && e.want == nil: // a stale one of ours
		c.setHave(i, e, nil)
		e.mark |= markForeign
	case c.env.rereads.everything.needed: // what it has replaced is not known
		c.readAgain(i, e, by)
	case flags&rtnl.NLM_F_REPLACE != 0 && e.mark&markForeign == 0 && (e.have != nil || e.mark&markLost != 0):
		// It took our route away. Ours comes back, whatever the policy is: we were here
		// first.
		c.setHave(i, e, needsDump)
		c.interfered(i, e, by)
		e.mark |= markStolen
	case e.have == nil:
		c.clear(i, e, markLost)               // ours is no more what the next one might replace
		e.mark |= markForeign | markContested // unless ours has been there since
		c.env.rereads.table(c.tables.list[e.key.table])
	default:
		c.readAgain(i, e, by)
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
func (c *routes) planExtras(ops []routeOp, limit int, now time.Time) []routeOp {
	for len(c.extras) > 0 && len(ops) < limit {
		x := c.extras[0]
		c.extras = c.extras[1:]
		if x.entry >= c.store.n {
			continue
		}
		e := c.store.at(x.entry)
		own := c.env.ours(x.form.Protocol)
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
			c.env.wake(b.Next)
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

func (c *routes) addressLost(link int32, addr netip.Addr, last bool) {
	c.store.all(func(i uint32, e *entry) {
		f := e.have
		switch {
		case f == nil:
			return
		case f.PrefSrc == addr && f.Family == wire.FamilyIPv6:
			c.setHave(i, e, needsDump)
		case f.PrefSrc == addr, last && f.Family == wire.FamilyIPv4 && f.allOn(link):
			c.setHave(i, e, nil)
		case last && f.Family == wire.FamilyIPv4 && f.uses(link):
			c.setHave(i, e, needsDump)
		default:
			return
		}
		c.touchRoute(i, e)
	})
	c.rereadForeign()
}

func (c *routes) rereadForeign() {
	c.env.rereads.learners.request()
	c.store.all(func(i uint32, e *entry) {
		switch {
		case e.mark&(markBehind|markAround) != 0:
			e.mark |= markContested
			c.env.rereads.table(c.tables.list[e.key.table])
		case e.mark&markForeign != 0:
			e.mark &^= markForeign
			c.touchRoute(i, e)
		}
	})
}
