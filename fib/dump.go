package fib

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Dumps. A dump is no snapshot: notifications are subscribed to before it, those
// that have arrived are taken in before it, and those that arrive during it are
// replayed after it. What a dump has is true, or was a moment ago and a notification
// that says otherwise is on its way. What a dump lacks is gone only if the kernel has
// not marked it as interrupted (NLM_F_DUMP_INTR: it resumes some dumps by counting
// entries, so that it leaves out some when others go): then it is read again.

// routeDump asks for the routes of a family; table and proto filter if not 0.
// Strict checking makes the kernel do that, instead of ignoring it.
func routeDump(f Family, table uint32, proto uint8) []byte {
	b := rtnl.Begin(nil, rtnl.RTM_GETROUTE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_DUMP, 1)
	b = append(b, byte(f), 0, 0, 0, 0, proto, 0, 0, 0, 0, 0, 0)
	if table != 0 {
		b = rtnl.AppendUint32(b, rtnl.RTA_TABLE, table)
	}
	return rtnl.End(b, 0)
}

// reading is how a dump ended.
type reading uint8

const (
	complete    reading = iota
	interrupted         // read to its end, but the kernel changed what it resumes by
	brokenOff           // not read to its end
)

// passes is how often an interrupted dump is begun again at once.
const passes = 3

// read dumps and feeds the core, under its lock a datagram at a time, every pass over
// an interrupted dump anew, after begin if that is not nil. Urgent deletions go out
// between datagrams: a big table must not delay a failover. It returns how the last
// pass ended; an error that passes, such as ENOMEM, is not returned.
func (o *owner) read(request []byte, begin func(), f func(m rtnl.Message)) (end reading, err error) {
	for range passes {
		if begin != nil {
			begin()
		}
		end = complete
		err := o.dumps.Dump(request, o.buffer, func(b []byte) (bool, error) {
			o.lock()
			done, changed, err := rtnl.WalkDump(b, f)
			urgent := len(o.dying) > 0
			o.unlock()
			if changed {
				end = interrupted
			}
			if err == nil && urgent {
				err = o.failover()
			}
			return done, err
		})
		switch {
		case err != nil && passing(err):
			end = brokenOff
		case err != nil:
			return brokenOff, err
		}
		if end == complete {
			break
		}
	}
	return end, nil
}

// passing reports whether an error of a socket says nothing about the next time.
func passing(err error) bool {
	for _, e := range []unix.Errno{unix.ENOBUFS, unix.ENOMEM, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.EMSGSIZE, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reread reads one part of the kernel's state if d says so, or always with now. An
// error that is not of the socket is reported and ends nothing: it is tried again.
func (o *owner) reread(d *doubt, always bool, dump func() (clean bool, err error)) error {
	start := time.Now()
	o.lock()
	if !always && !d.due(start) {
		o.unlock()
		return nil
	}
	d.begin()
	o.unlock()
	clean, err := dump()
	if err != nil && (!o.synced || broken(err)) {
		return err
	}
	o.lock()
	defer o.unlock()
	if err != nil && d.tries == 0 {
		r := replyOf(err)
		o.report(&Error{Op: "dump", Err: r.err, Text: r.text})
	}
	d.done(start, time.Now(), clean && err == nil)
	return nil
}

// broken reports whether an error says that a socket is of no use any more.
func broken(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOTSOCK) || errors.Is(err, unix.ENOTCONN)
}

func (o *owner) dumpLinks() (bool, error) {
	seen := map[int32]bool{}
	end, err := o.read(rtnl.DumpRequest(rtnl.RTM_GETLINK, make([]byte, rtnl.SizeLink)...), nil, func(m rtnl.Message) {
		if l, err := parseLink(m.Body); err == nil {
			seen[int32(l.IfIndex)] = true
		}
		o.observe(m, true)
	})
	if err != nil || end != complete {
		return false, err
	}
	o.lock()
	defer o.unlock()
	for index, l := range o.links {
		if !seen[index] {
			o.linkGone(index, l)
		}
	}
	return true, nil
}

func (o *owner) dumpAddresses() (bool, error) {
	seen := map[addressKey]bool{}
	end, err := o.read(rtnl.DumpRequest(rtnl.RTM_GETADDR, make([]byte, rtnl.SizeAddress)...), nil, func(m rtnl.Message) {
		var a kernelAddress
		if a.parse(m.Body) == nil {
			seen[a.key()] = true
		}
		o.observe(m, true)
	})
	if err != nil || end != complete {
		return false, err
	}
	o.lock()
	defer o.unlock()
	for key, had := range o.addresses.have {
		if !seen[key] {
			o.observeAddress(&kernelAddress{Address: had.value, peer: key.peer}, true, origin{})
		}
	}
	o.addresses.lookAgain()
	return true, nil
}

func (o *owner) dumpNeighbors() (bool, error) {
	return o.dumpNeighborsOf(false)
}

// dumpProxies reads the proxy entries, which no dump has together with the others.
func (o *owner) dumpProxies() (bool, error) { return o.dumpNeighborsOf(true) }

func (o *owner) dumpNeighborsOf(proxies bool) (bool, error) {
	seen := map[neighborKey]bool{}
	body := make([]byte, rtnl.SizeNeighbor)
	if proxies {
		body[10] = rtnl.NTF_PROXY
	}
	end, err := o.read(rtnl.DumpRequest(rtnl.RTM_GETNEIGH, body...), nil, func(m rtnl.Message) {
		var n kernelNeighbor
		if n.parse(m.Body) == nil && (n.permanent || n.Proxy) {
			seen[neighborKey{n.IfIndex, n.Addr, n.Proxy}] = true
			o.observe(m, true)
		}
	})
	if err != nil || end != complete {
		return false, err
	}
	o.lock()
	defer o.unlock()
	for key := range o.neighbors.have {
		if key.proxy == proxies && !seen[key] {
			o.neighbors.lost(key, origin{})
		}
	}
	o.neighbors.lookAgain()
	return true, nil
}

// dumpRules counts the rules, each pass for itself: a rule that is there twice is in a
// dump twice.
func (o *owner) dumpRules() (clean bool, err error) {
	var all []kernelRule
	clean = true
	for _, f := range []Family{FamilyIPv4, FamilyIPv6} {
		var found []kernelRule
		var body [rtnl.SizeRule]byte
		body[0] = byte(f)
		end, err := o.read(rtnl.DumpRequest(rtnl.RTM_GETRULE, body[:]...), func() { found = nil }, func(m rtnl.Message) {
			var r kernelRule
			if m.Type == rtnl.RTM_NEWRULE && r.parse(m.Body) == nil {
				found = append(found, r)
			}
		})
		switch {
		case errors.Is(err, unix.EAFNOSUPPORT): // a kernel without IPv6
		case err != nil || end == brokenOff:
			return false, err
		}
		clean = clean && end == complete
		all = append(all, found...)
	}
	o.lock()
	defer o.unlock()
	o.rules.dumped(all)
	return clean, nil
}

// dumpNextHops reads all next-hop objects. The kernel walks them by id, and resumes
// by id (net/ipv4/nexthop.c, rtm_dump_walk_nexthops): what an interrupted dump lacks
// was not there, and what came meanwhile is in the notifications.
func (o *owner) dumpNextHops() (bool, error) {
	seen := map[uint32]bool{}
	end, err := o.read(rtnl.DumpRequest(rtnl.RTM_GETNEXTHOP, make([]byte, rtnl.SizeNextHop)...), nil, func(m rtnl.Message) {
		var n nextHopMessage
		if n.parse(m.Body) == nil {
			seen[n.id] = true
			o.observe(m, true)
		}
	})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
		o.lock()
		defer o.unlock()
		o.config.RTAMultipath = true // no such thing in this kernel
		return true, nil
	case err != nil || end == brokenOff:
		return false, err
	}
	o.lock()
	defer o.unlock()
	o.missingNextHops(seen)
	return true, nil
}

// routePass begins a pass over routes: what an earlier, interrupted one had beside others
// is forgotten.
func (o *owner) routePass() func() {
	o.lock()
	defer o.unlock()
	before := len(o.extras)
	return func() {
		o.lock()
		o.pass++
		o.lastForeign = rkey{}
		o.extras = o.extras[:min(before, len(o.extras))]
		o.unlock()
	}
}

// dumpOwnRoutes reads the tables that are ours, or if those are not named all routes of
// our protocols. Only the former says which routes of others stand in their way.
func (o *owner) dumpOwnRoutes() (clean bool, err error) {
	if o.owned == nil {
		return o.dumpByProtocol()
	}
	clean = true
	for _, table := range slices.Sorted(maps.Keys(o.owned)) {
		for _, f := range []Family{FamilyIPv4, FamilyIPv6} {
			o.lock()
			tf := tableFamily{table, f}
			o.tables.of(tf)
			o.unlock()
			one, err := o.dumpTable(tf)
			if err != nil {
				return false, err
			}
			clean = clean && one
		}
	}
	return clean, nil
}

func (o *owner) dumpByProtocol() (bool, error) {
	o.first = o.pass + 1
	clean := true
	for _, f := range []Family{FamilyIPv4, FamilyIPv6} {
		for _, proto := range []uint8{o.config.Protocol, o.config.PersistentProtocol} {
			end, err := o.read(routeDump(f, 0, proto), o.routePass(), func(m rtnl.Message) { o.observe(m, true) })
			if err != nil {
				return false, err
			}
			clean = clean && end == complete
		}
	}
	o.lock()
	defer o.unlock()
	o.store.all(func(i uint32, e *entry) {
		if e.have != nil && e.seen < o.first && clean {
			o.lostRoute(i, e, origin{})
		}
		// Others' routes are not in these dumps: whether they are still in the
		// way is found out by trying.
		e.mark &^= markForeign | markContested
	})
	return clean, nil
}

// dumpTable reads one table of one family with everything that others have in it.
func (o *owner) dumpTable(tf tableFamily) (bool, error) {
	t, ok := o.tables.index[tf]
	if !ok {
		return true, nil
	}
	o.first = o.pass + 1
	pass := o.routePass()
	begin := func() {
		pass()
		o.lock()
		defer o.unlock()
		o.store.all(func(i uint32, e *entry) {
			if e.key.table == t {
				o.clear(i, e, markForeign|markBehind|markAround)
			}
		})
	}
	end, err := o.read(routeDump(tf.family, tf.table, 0), begin, func(m rtnl.Message) { o.observe(m, true) })
	if err != nil && !errors.Is(err, unix.ENOENT) { // the table does not exist
		return false, err
	}
	clean := end == complete || err != nil
	o.lock()
	defer o.unlock()
	o.store.all(func(i uint32, e *entry) {
		if e.key.table != t {
			return
		}
		if e.have != nil && e.seen < o.first && clean {
			o.lostRoute(i, e, origin{})
		}
		if e.mark&markYielding != 0 && e.mark&markForeign == 0 && clean && o.config.OnForeign != ForeignRefuse {
			o.clear(i, e, markYielding) // who was in the way has gone
			o.touchRoute(i, e)
		}
		if e.mark&markContested != 0 && clean {
			o.uncontest(i, e)
		}
	})
	return clean, nil
}

// uncontest: the dump after EEXIST is over. Whoever was there has either been
// seen, or has gone again.
func (c *core) uncontest(i uint32, e *entry) {
	e.mark &^= markContested
	if e.have != nil || e.mark&markForeign != 0 {
		c.touchRoute(i, e)
		return
	}
	op := routeOp{entry: i, verb: verbAdd, form: needsDump}
	if e.want != nil && e.want.form != nil {
		op.form = e.want.form
	}
	c.routeFailed(&op, e, reply{err: unix.EEXIST}, c.now())
}
