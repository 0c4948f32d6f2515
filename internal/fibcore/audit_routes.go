package fibcore

import (
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// The audit of routes. There may be a million, so nothing is kept of what is as known: entry.seen
// says that the dump has had it, or that it has changed meanwhile. A dump of IPv4 goes on by
// prefix, one of IPv6 by counting, without a mark when it leaves something out (fib6_dump_table,
// net/ipv6/ip6_fib.c): if IPv6 routes have changed while it went on, what it lacks, and the next one
// lacks too, is looked for by reading the table at once.

const (
	// mostSuspects is how many differences of routes wait for an explanation: reading goes on after it.
	mostSuspects = 1024
	// scanEntries is how many entries are looked at in place of a datagram.
	scanEntries = 1 << 14
	// mostDoubts bounds the keys that are remembered until the next round.
	mostDoubts = 4096
)

// routeSuspect is a difference that a notification may still explain. What changes the entry
// meanwhile takes its mark away.
type routeSuspect struct {
	op    string
	at    time.Time
	key   rkey
	entry uint32 // unless op is opExtra and beside is false
	form  *form  // what the dump had
	proto uint8  // of the other program's route
	// beside says that the kernel has it beside ours: the table is read again.
	beside bool
}

// routeAudit compares the routes of a table, or with table 0 those of all.
type routeAudit struct {
	*routes
	tf                tableFamily
	first             uint32 // the first pass that belongs to this dump
	produced, fresh   uint32 // passes in which the next datagram was written, and the one being read
	dropped, unfresh  uint64 // routes.dropped at the same moments
	turbulence        uint64 // routes.turbulence when it began
	suspects          []routeSuspect
	again             []routeSuspect   // of which the table is read again, when all are settled
	others            map[uint32]uint8 // entries under whose key another program's route is: its protocol
	scanned           uint32
	concluded, absent bool // everything was looked at; what the dump lacks is not there
	doubts            map[rkey]bool
}

func (c *routes) audits() (parts []auditPart) {
	add := func(tf tableFamily) {
		parts = append(parts, &routeAudit{routes: c, tf: tf, others: map[uint32]uint8{}, doubts: map[rkey]bool{}})
	}
	tables := []uint32{0}
	if c.env.owned != nil {
		tables = slices.Sorted(maps.Keys(c.env.owned))
	}
	for _, table := range tables {
		add(tableFamily{table, wire.FamilyIPv4})
		add(tableFamily{table, wire.FamilyIPv6})
	}
	return parts
}

func (a *routeAudit) request() []byte {
	a.pass++
	a.first, a.produced, a.dropped, a.turbulence = a.pass, a.pass, a.routes.dropped, a.routes.turbulence
	return RouteDump(a.tf.family, a.tf.table, 0)
}

func (a *routeAudit) datagram() {
	a.fresh, a.unfresh = a.produced, a.dropped
	a.produced, a.dropped = a.pass, a.routes.dropped
}

// pause: what changes from now on is newer than the datagram that the kernel has ready.
func (a *routeAudit) pause() { a.pass++ }

func (a *routeAudit) pending() bool { return len(a.suspects) > 0 }

func (a *routeAudit) full() bool { return len(a.suspects) >= mostSuspects }

// suspect notes a difference.
func (a *routeAudit) suspect(s routeSuspect) {
	s.at = a.env.clock
	if s.form != nil {
		s.form.refs++
	}
	a.suspects = append(a.suspects, s)
}

// has reports whether the dump is about an entry.
func (a *routeAudit) has(e *entry) bool {
	tf := a.tables.list[e.key.table]
	return tf.family == a.tf.family && (a.tf.table == 0 || tf.table == a.tf.table)
}

// unclear are the marks of entries under whose key more is known, or asked for, than have says.
const unclear = markForeign | markContested | markYielding | markBehind | markAround | markStolen | markRefused | markBeside

func (a *routeAudit) row(msg rtnl.Message) {
	m := &a.rm
	if msg.Type != rtnl.RTM_NEWROUTE || m.Parse(msg.Body) != nil || m.Flags&rtnl.RTM_F_CLONED != 0 || !a.env.owns(m.Table) {
		return
	}
	own := a.env.ours(m.Protocol)
	t, ok := a.tables.index[tableFamily{m.Table, m.Family}]
	if !ok {
		if !own {
			return
		}
		if t, ok = a.tables.of(tableFamily{m.Table, m.Family}); !ok {
			return
		}
	}
	key := rkey{hi: m.Hi, lo: m.Lo, metric: m.Metric, table: t, bits: m.Bits, tos: m.TOS}
	i, e := a.store.find(&key)
	switch {
	case own:
		if e != nil && e.have != nil && m.NextHopID != 0 && m.NextHopID == e.have.nhid && m.Type == wire.RouteBlackhole {
			m.Type = e.have.Type // the kernel shows the type of the object, which is another audit's
		}
		var f *form
		if e != nil && e.have != nil && e.have.shownBy(m) { // as nearly always: nothing is looked up
			f = e.have
		} else {
			f = a.contents.formSeen(m)
		}
		a.ownRow(key, i, e, f)
	case e != nil:
		a.others[i] = m.Protocol
	}
}

func (a *routeAudit) ownRow(key rkey, i uint32, e *entry, f *form) {
	switch {
	case e == nil || e.have == nil && e.mark&(unclear|markBusy|markSuspect) == 0:
		if e != nil && e.seen > a.fresh || a.unfresh != a.routes.dropped {
			return // it may have been ours when the kernel wrote this
		}
		a.suspect(routeSuspect{op: opExtra, key: key, form: f})
	case e.have == nil && e.seen <= a.fresh && e.mark&(markContested|markBusy|markBeside|markSuspect) == 0: // beside another program's
		e.mark |= markSuspect
		a.suspect(routeSuspect{op: opExtra, key: key, entry: i, form: f, beside: true})
	case e.have == nil:
	case e.have == f || e.have == needsDump:
		for j := range a.suspects { // it has been there before with something else
			if s := &a.suspects[j]; e.mark&markSuspect != 0 && s.entry == i && s.key == key {
				s.op, s.beside = opExtra, true
			}
		}
		e.seen = max(e.seen, a.pass)
	case e.seen > a.fresh || e.mark&(unclear|markSuspect) != 0:
	default:
		e.mark |= markSuspect
		s := routeSuspect{op: opChanged, key: key, entry: i, form: f}
		if e.seen >= a.first {
			s.op, s.beside = opExtra, true // a second one
		}
		a.suspect(s)
	}
}

// conclude looks for what the dump lacked, some entries at a time.
func (a *routeAudit) conclude(o Outcome, _ time.Time) (more bool) {
	if a.absent = o == Complete; a.concluded {
		return false
	}
	end := min(a.scanned+scanEntries, a.store.n)
	for ; a.scanned < end; a.scanned++ {
		if e := a.store.at(a.scanned); e.used() && e.mark&markSuspect == 0 && a.has(e) {
			a.concludeEntry(a.scanned, e)
		}
		if a.full() {
			return true
		}
	}
	a.concluded = a.scanned >= a.store.n
	return !a.concluded
}

func (a *routeAudit) concludeEntry(i uint32, e *entry) {
	proto, other := a.others[i]
	gone := e.have != nil && e.have != needsDump && e.seen < a.first
	s := routeSuspect{key: e.key, entry: i, proto: proto}
	switch {
	case e.mark&(markContested|markBusy|markBeside) != 0, gone && e.have.group != nil && !e.have.group.exists:
		return
	case gone && !a.absent:
		return
	case gone && other && e.mark&(markForeign|markBehind|markAround) == 0:
		s.op = opStolen
	case gone:
		s.op = opMissing
	case other && e.have != nil && e.mark&unclear == 0:
		s.op, s.beside = opExtra, true
	case !other && a.absent && e.mark&(markForeign|markBehind|markAround) != 0:
		s.beside = true // and it is no more
	default:
		return
	}
	e.mark |= markSuspect
	a.suspect(s)
}

func (a *routeAudit) settle(found, _ time.Time) (wait bool) {
	n := 0
	for n < len(a.suspects) && !a.suspects[n].at.After(found) {
		s := &a.suspects[n]
		a.take(s)
		if s.form != nil {
			s.form.refs--
		}
		n++
	}
	a.suspects = a.suspects[n:]
	return len(a.suspects) > 0
}

func (a *routeAudit) stop() {
	for i := range a.suspects {
		s := &a.suspects[i]
		if s.form != nil {
			s.form.refs--
		}
		if e := a.of(s); e != nil {
			e.mark &^= markSuspect
		}
	}
	for i := range a.again {
		s := &a.again[i]
		if e := a.of(s); e != nil {
			a.readAgain(s.entry, e, origin{proto: s.proto})
		}
	}
	a.doubted[a.tf] = a.doubts
}

// of returns the entry of a suspect; nil if it is another one's by now.
func (a *routeAudit) of(s *routeSuspect) *entry {
	if s.entry >= a.store.n {
		return nil
	}
	if e := a.store.at(s.entry); e.key == s.key {
		return e
	}
	return nil
}

// take takes a difference in, as if it had been notified.
func (a *routeAudit) take(s *routeSuspect) {
	c, by := a.routes, origin{proto: s.proto}
	if s.op == opExtra && !s.beside {
		// The kernel tells of the end of a route before it has taken it out (fib_table_delete), and
		// of that of a group before it begins with its routes: is it still there?
		if _, e := c.store.find(&s.key); len(c.awaited) < mostSuspects && (e == nil || e.have == nil && e.mark&(markBusy|markDirty|unclear) == 0) {
			c.awaited[s.key] = true
			c.env.rereads.table(c.tables.list[s.key.table])
		}
		return
	}
	e := a.of(s)
	if e == nil || e.mark&markSuspect == 0 {
		return // explained
	}
	e.mark &^= markSuspect
	if s.op == opChanged && (s.form.nhid != 0 || e.have.nhid != 0) { // as above
		c.awaited[s.key] = true
		c.env.rereads.table(c.tables.list[s.key.table])
		return
	}
	if s.form == nil && a.tf.family == wire.FamilyIPv6 && a.turbulence != c.turbulence {
		switch {
		case c.doubted[a.tf][s.key]:
			s.beside, s.op = true, ""
			e.mark |= markMissed
		case len(a.doubts) < mostDoubts:
			a.doubts[s.key] = true
			return
		default:
			return
		}
	}
	if s.op != "" {
		if s.form != nil {
			s.proto = s.form.Protocol
		}
		by.proto = s.proto
		c.env.found(Event{Op: s.op, Key: c.unpack(&s.key), Protocol: by.proto})
	}
	switch {
	case s.beside && len(a.again) < mostSuspects:
		a.again = append(a.again, *s)
	case s.beside:
		c.readAgain(s.entry, e, by)
	case s.op == opChanged:
		c.sawRoute(s.entry, e, s.form, false, by)
	case s.op == opStolen && e.want != nil:
		c.setHave(s.entry, e, needsDump)
		c.interfered(s.entry, e, by)
		e.mark |= markStolen
		c.touchRoute(s.entry, e)
	default:
		c.lostRoute(s.entry, e, by)
		if s.op == opStolen {
			e.mark |= markForeign
		}
	}
}
