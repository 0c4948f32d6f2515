package fib

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Dumps. A dump is no snapshot: notifications are subscribed to before it, those
// that have arrived are taken in before it, and those that arrive during it are
// replayed after it.

func dumpRequest(typ uint16, body ...byte) []byte {
	b := begin(nil, typ, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, 1)
	return end(append(b, body...), 0)
}

// routeDump asks for the routes of a family; table and proto filter if not 0.
// Strict checking makes the kernel do that, instead of ignoring it.
func routeDump(f Family, table uint32, proto uint8) []byte {
	b := begin(nil, unix.RTM_GETROUTE, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, 1)
	b = append(b, byte(f), 0, 0, 0, 0, proto, 0, 0, 0, 0, 0, 0)
	if table != 0 {
		b = attr32(b, unix.RTA_TABLE, table)
	}
	return end(b, 0)
}

// read dumps and feeds the core, under its lock a datagram at a time. Urgent
// deletions go out between datagrams: a big table must not delay a failover.
func (o *owner) read(request []byte, f func(m message)) error {
	for range 20 {
		err := o.dumps.dump(request, o.buffer, func(b []byte) (bool, error) {
			o.lock()
			done, err := walk(b, f)
			urgent := len(o.dying) > 0
			o.unlock()
			if err == nil && urgent {
				err = o.failover()
			}
			return done, err
		})
		if !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return nil
}

// observe reads a table of the kernel completely and lets after take out what
// was not in it.
func (o *owner) observeAll(request []byte, before, after func()) error {
	o.lock()
	before()
	o.unlock()
	if err := o.read(request, func(m message) { o.observe(m, true) }); err != nil {
		return err
	}
	o.lock()
	after()
	o.unlock()
	return nil
}

func (o *owner) dumpLinks() error {
	seen := map[int32]bool{}
	err := o.read(dumpRequest(unix.RTM_GETLINK, make([]byte, sizeLink)...), func(m message) {
		if l, err := parseLink(m.body); err == nil {
			seen[int32(l.Index)] = true
		}
		o.observe(m, true)
	})
	if err != nil {
		return err
	}
	o.lock()
	defer o.unlock()
	for index, l := range o.links {
		if !seen[index] {
			delete(o.links, index)
			o.event(Event{Kind: EventLinkGone, Link: l, Gone: true})
			o.linkLost(index, true)
		}
	}
	return nil
}

func (o *owner) dumpAddresses() error {
	seen := map[addressKey]bool{}
	err := o.read(dumpRequest(unix.RTM_GETADDR, make([]byte, sizeAddr)...), func(m message) {
		var a kernelAddress
		if a.parse(m.body) == nil {
			seen[addressKey{a.Link, a.Prefix}] = true
		}
		o.observe(m, true)
	})
	if err != nil {
		return err
	}
	o.lock()
	defer o.unlock()
	for key, had := range o.addresses.have {
		if !seen[key] {
			o.observeAddress(&kernelAddress{Address: had.value}, true, true)
		}
	}
	for key := range o.addresses.want {
		o.addresses.dirty[key] = true
	}
	return nil
}

func (o *owner) dumpNeighbors() error {
	seen := map[neighborKey]bool{}
	take := func(m message) {
		var n kernelNeighbor
		if n.parse(m.body) == nil && (n.permanent || n.Proxy) {
			seen[neighborKey{n.Link, n.Addr, n.Proxy}] = true
			o.observe(m, true)
		}
	}
	proxies := make([]byte, sizeNeigh)
	proxies[10] = unix.NTF_PROXY
	if err := o.read(dumpRequest(unix.RTM_GETNEIGH, make([]byte, sizeNeigh)...), take); err != nil {
		return err
	}
	if err := o.read(dumpRequest(unix.RTM_GETNEIGH, proxies...), take); err != nil {
		return err
	}
	o.lock()
	defer o.unlock()
	for key := range o.neighbors.have {
		if !seen[key] {
			o.neighbors.lost(key)
		}
	}
	for key := range o.neighbors.want {
		o.neighbors.dirty[key] = true
	}
	return nil
}

func (o *owner) dumpRules() error {
	o.lock()
	o.rules.kernel = nil
	o.unlock()
	for _, f := range []Family{IPv4, IPv6} {
		var body [sizeRule]byte
		body[0] = byte(f)
		var found []kernelRule
		err := o.read(dumpRequest(unix.RTM_GETRULE, body[:]...), func(m message) {
			var r kernelRule
			if m.typ == unix.RTM_NEWRULE && r.parse(m.body) == nil {
				found = append(found, r)
			}
		})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return err
		}
		o.lock()
		o.rules.kernel = append(o.rules.kernel, found...)
		o.rules.dirty = true
		o.unlock()
	}
	return nil
}

func (o *owner) dumpNextHops() error {
	seen := map[uint32]bool{}
	take := func(m message) {
		var n nextHopMessage
		if n.parse(m.body) != nil {
			return
		}
		seen[n.id] = true
		o.observe(m, true)
	}
	err := o.read(dumpRequest(unix.RTM_GETNEXTHOP, make([]byte, sizeNextHop)...), take)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		o.lock()
		o.config.Classic = true // no such thing in this kernel
		o.unlock()
		return nil
	} else if err != nil {
		return err
	}
	o.lock()
	defer o.unlock()
	for id, b := range o.byID {
		switch {
		case seen[id] || !b.live:
		case b.alien:
			delete(o.byID, id)
		default:
			o.lostObject(b)
		}
	}
	for id, k := range o.objects.kernel {
		if k.exists && !seen[id] {
			o.emptied(k)
		}
	}
	return nil
}

// dumpOwnRoutes reads all routes of our protocols.
func (o *owner) dumpOwnRoutes() error {
	o.lock()
	o.epoch++
	o.unlock()
	for _, f := range []Family{IPv4, IPv6} {
		for _, proto := range []uint8{o.config.Protocol, o.config.ScaffoldProtocol} {
			err := o.read(routeDump(f, 0, proto), func(m message) { o.observe(m, true) })
			if err != nil {
				return err
			}
		}
	}
	o.lock()
	defer o.unlock()
	o.store.all(func(i uint32, e *entry) {
		if e.have != nil && e.seen != o.epoch {
			o.lostRoute(i, e)
		}
		// Others' routes are not in these dumps: whether they are still in the
		// way is found out by trying.
		e.mark &^= markForeign | markContested
	})
	return nil
}

// dumpTable reads one table of one family with everything that others have in it.
func (o *owner) dumpTable(tf tableFamily) error {
	t, ok := o.tables.index[tf]
	if !ok {
		return nil
	}
	in := func(e *entry) bool { return e.key.table == t }
	before := func() {
		o.epoch++
		o.store.all(func(_ uint32, e *entry) {
			if in(e) {
				e.mark &^= markForeign
			}
		})
	}
	after := func() {
		o.store.all(func(i uint32, e *entry) {
			if !in(e) {
				return
			}
			if e.have != nil && e.seen != o.epoch {
				o.setHave(i, e, nil)
				o.touchRoute(i, e)
			}
			if e.mark&markContested != 0 {
				o.uncontest(i, e)
			}
		})
	}
	err := o.observeAll(routeDump(tf.family, tf.table, 0), before, after)
	if errors.Is(err, unix.ENOENT) { // the table does not exist
		o.lock()
		after()
		o.unlock()
		return nil
	}
	return err
}

// uncontest: the dump after EEXIST is over. Whoever was there has either been
// seen, or has gone again.
func (c *core) uncontest(i uint32, e *entry) {
	e.mark &^= markContested
	if e.have != nil || e.mark&markForeign != 0 {
		c.touchRoute(i, e)
		return
	}
	op := routeOp{entry: i, verb: verbAdd, form: unsure}
	if e.want != nil && e.want.form != nil {
		op.form = e.want.form
	}
	c.routeFailed(&op, e, reply{err: unix.EEXIST}, c.now())
}
