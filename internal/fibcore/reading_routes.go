package fibcore

import (
	"errors"
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// RouteDump asks for the routes of a family; table and proto filter if not 0.
// Strict checking makes the kernel do that, instead of ignoring it.
func RouteDump(f wire.Family, table uint32, proto uint8) []byte {
	b := rtnl.Begin(nil, rtnl.RTM_GETROUTE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_DUMP, 1)
	b = append(b, byte(f), 0, 0, 0, 0, proto, 0, 0, 0, 0, 0, 0)
	if table != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_TABLE, table)
	}
	return rtnl.End(b, 0)
}

// routePass begins a pass over routes: what an earlier, interrupted one had beside others
// is forgotten.
func (c *routes) routePass(before int) {
	c.pass++
	c.lastForeign = rkey{}
	c.extras = c.extras[:min(before, len(c.extras))]
}

// ownRoutesDumps read the tables that are ours, or if those are not named all routes of
// our protocols. Only the former says which routes of others stand in their way.
func (c *routes) ownRoutesDumps() (dumps []*dump) {
	if c.env.owned == nil {
		return c.protocolDumps()
	}
	for _, table := range slices.Sorted(maps.Keys(c.env.owned)) {
		for _, f := range []wire.Family{wire.FamilyIPv4, wire.FamilyIPv6} {
			tf := tableFamily{table, f}
			c.tables.of(tf)
			dumps = append(dumps, c.tableDumps(tf)...)
		}
	}
	return dumps
}

func (c *routes) protocolDumps() (dumps []*dump) {
	c.first = c.pass + 1
	clean := true
	for _, f := range []wire.Family{wire.FamilyIPv4, wire.FamilyIPv6} {
		for _, proto := range []uint8{c.env.config.Protocol, c.env.config.PersistentProtocol} {
			var before int
			dumps = append(dumps, &dump{
				request: RouteDump(f, 0, proto),
				begin:   func() { before = len(c.extras) },
				pass:    func() { c.routePass(before) },
				row:     c.row,
				end: func(o Outcome, err error) (bool, bool, error) {
					clean = clean && o == Complete
					return o == Complete, err != nil, err
				},
			})
		}
	}
	last := dumps[len(dumps)-1]
	end := last.end
	last.end = func(o Outcome, err error) (bool, bool, error) {
		one, stop, err := end(o, err)
		if !stop {
			c.protocolDumped(clean)
		}
		return one, stop, err
	}
	return dumps
}

func (c *routes) protocolDumped(clean bool) {
	c.store.all(func(i uint32, e *entry) {
		if e.have != nil && e.seen < c.first && clean {
			c.lostRoute(i, e, origin{})
		}
		// Others' routes are not in these dumps: whether they are still in the
		// way is found out by trying.
		e.mark &^= markForeign | markContested | markRefused
	})
}

// tableDumps reads one table of one family with everything that others have in it.
func (c *routes) tableDumps(tf tableFamily) []*dump {
	t, ok := c.tables.index[tf]
	if !ok {
		return nil
	}
	var before int
	return []*dump{{
		request: RouteDump(tf.family, tf.table, 0),
		begin:   func() { c.first, before = c.pass+1, len(c.extras) },
		pass: func() {
			c.routePass(before)
			c.store.all(func(i uint32, e *entry) {
				if e.key.table == t {
					c.clear(i, e, markForeign|markBehind|markAround)
				}
			})
		},
		row: c.row,
		end: func(o Outcome, err error) (bool, bool, error) {
			if err != nil && !errors.Is(err, unix.ENOENT) { // the table does not exist
				return false, true, err
			}
			clean := o == Complete || err != nil
			c.tableDumped(t, clean)
			return clean, false, nil
		},
	}}
}

func (c *routes) tableDumped(t uint16, clean bool) {
	maps.DeleteFunc(c.awaited, func(k rkey, _ bool) bool { return k.table == t })
	c.store.all(func(i uint32, e *entry) {
		if e.key.table != t {
			return
		}
		if e.have != nil && e.seen < c.first && clean {
			if e.mark&markMissed != 0 {
				c.env.found(Event{Op: opMissing, Key: c.unpack(&e.key)})
			}
			c.lostRoute(i, e, origin{})
		}
		e.mark &^= markMissed
		if e.mark&markYielding != 0 && e.mark&markForeign == 0 && clean && c.env.config.OnForeign != ForeignRefuse {
			c.clear(i, e, markYielding) // who was in the way has gone
			c.touchRoute(i, e)
		}
		if e.mark&markContested != 0 && clean {
			c.uncontest(i, e)
		}
	})
}

// uncontest: the dump is over. What was there has either been seen, or has gone again. What
// refuses an addition and is not seen delays the next attempt.
func (c *routes) uncontest(i uint32, e *entry) {
	refused := e.mark&markRefused != 0
	e.mark &^= markContested | markRefused
	if e.have != nil || e.mark&markForeign != 0 || !refused {
		c.touchRoute(i, e)
		return
	}
	op := routeOp{entry: i, verb: verbAdd, form: needsDump}
	if e.want != nil && e.want.form != nil {
		op.form = e.want.form
	}
	c.routeFailed(&op, e, reply{err: unix.EEXIST}, c.env.clock)
}
