package fakekernel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// perDatagram is how many entries a datagram of a dump has: few, so that others may act
// between two of them.
const perDatagram = 3

// dumping is a dump that goes on.
type dumping struct {
	request rtnl.Message
	list    []rtnl.Message // of which at were sent
	at      int
	flags   uint16
	failure unix.Errno // after half of it; 0: none
	version uint64     // of the kernel, when the list was made
}

// dump queues the answer to a dump request.
func (s *Socket) dump(request rtnl.Message) {
	d := &dumping{request: rtnl.Message{Type: request.Type, Seq: request.Seq, Body: slices.Clone(request.Body)}, version: s.kernel.version}
	d.list = s.kernel.entries(s.entries[:0], d.request)
	d.flags, d.failure = s.faults.dumpFlags(request.Type), s.faults.dumpFails()
	if d.flags&rtnl.NLM_F_DUMP_INTR != 0 && request.Type != rtnl.RTM_GETNEXTHOP && len(d.list) > perDatagram {
		// The kernel goes on where as many entries are behind it as before: after others
		// have gone it leaves as many out. Next-hop objects it resumes by their id.
		d.list = slices.Delete(d.list, perDatagram, perDatagram+1)
	}
	s.dumping = d
	for s.dumpMore(); s.dumping != nil && !s.Slow; {
		s.dumpMore()
	}
}

// dumpMore queues the next datagram of a dump.
func (s *Socket) dumpMore() {
	d := s.dumping
	if d.version != s.kernel.version {
		d.goOn(s.kernel)
	}
	if d.failure != 0 && d.at >= len(d.list)/2 {
		s.queue, s.dumping = append(s.queue, queued{err: d.failure}), nil
		return
	}
	if d.at >= len(d.list) {
		s.queue = append(s.queue, queued{datagram: datagram(rtnl.NLMSG_DONE, d.flags, d.request.Seq, s.port, make([]byte, 4))})
		s.dumping = nil
		clear(d.list)
		s.entries = d.list[:0]
		return
	}
	end := min(d.at+perDatagram, len(d.list))
	size := 0
	for _, e := range d.list[d.at:end] {
		size += rtnl.SizeHeader + len(e.Body)
	}
	b := slices.Grow(s.spare, size)
	s.spare = nil
	for _, e := range d.list[d.at:end] {
		b = appendDatagram(b, e.Type, d.flags, d.request.Seq, s.port, e.Body)
	}
	d.at = end
	s.queue = append(s.queue, queued{datagram: b, dumped: true})
}

// goOn makes the list anew, after something has changed: what is behind as many entries as were
// sent. Of most kinds the kernel says so. IPv4 routes it resumes by their prefix (fn_trie_dump_leaf),
// next-hop objects by their id; IPv6 routes it counts without a word (fib6_dump_table).
func (d *dumping) goOn(k *Kernel) {
	d.version = k.version
	sent := d.list[:d.at]
	list := k.Entries(d.request)
	byKey := d.request.Type == rtnl.RTM_GETNEXTHOP || d.request.Type == rtnl.RTM_GETROUTE && d.request.Body[0] == rtnl.AF_INET
	if !byKey {
		d.list = append(slices.Clone(sent), list[min(d.at, len(list)):]...)
		if t := d.request.Type; t != rtnl.RTM_GETROUTE && t != rtnl.RTM_GETNEIGH {
			d.flags |= rtnl.NLM_F_DUMP_INTR
		}
		return
	}
	done := map[string]bool{}
	for _, e := range sent {
		done[dumpKey(e)] = true
	}
	d.list = append(slices.Clone(sent), slices.DeleteFunc(list, func(e rtnl.Message) bool { return done[dumpKey(e)] })...)
}

// dumpKey is what a dump that resumes by key knows an entry by.
func dumpKey(e rtnl.Message) string {
	if e.Type == rtnl.RTM_NEWNEXTHOP {
		var n wire.NextHopMessage
		_ = n.Parse(e.Body)
		return fmt.Sprint(n.ID)
	}
	var r wire.RouteMessage
	_ = r.Parse(e.Body)
	return fmt.Sprint(r.Table, r.Hi, r.Lo, r.Bits, r.TOS, r.Metric)
}

// Entries returns what a dump request (RTM_GET*) is answered with.
func (k *Kernel) Entries(request rtnl.Message) []rtnl.Message { return k.entries(nil, request) }

// entries appends that to a list.
func (k *Kernel) entries(list []rtnl.Message, request rtnl.Message) []rtnl.Message {
	add := func(typ uint16, body []byte) { list = append(list, rtnl.Message{Type: typ, Body: body}) }
	switch request.Type {
	case rtnl.RTM_GETLINK:
		for _, l := range k.Links() {
			add(rtnl.RTM_NEWLINK, linkBody(l))
		}
	case rtnl.RTM_GETADDR:
		for _, a := range k.addrs {
			add(rtnl.RTM_NEWADDR, addressBody(a))
		}
	case rtnl.RTM_GETNEIGH:
		proxies := len(request.Body) > 10 && request.Body[10]&rtnl.NTF_PROXY != 0
		for _, n := range k.Neighbors() {
			if n.Proxy == proxies {
				add(rtnl.RTM_NEWNEIGH, neighborBody(n))
			}
		}
	case rtnl.RTM_GETNEXTHOP:
		for _, h := range k.NextHops() {
			add(rtnl.RTM_NEWNEXTHOP, h.body())
		}
	case rtnl.RTM_GETRULE:
		for _, r := range k.rules {
			if byte(r.Family) == request.Body[0] {
				add(rtnl.RTM_NEWRULE, wire.AppendRule(nil, rtnl.RTM_NEWRULE, 0, 0, r.Rule, r.Protocol)[rtnl.SizeHeader:])
			}
		}
	case rtnl.RTM_GETROUTE:
		var q wire.RouteMessage
		_ = q.Parse(request.Body)
		for r := range k.routes.of(q.Family, q.Table) {
			if q.Protocol == 0 || q.Protocol == r.Protocol {
				add(rtnl.RTM_NEWROUTE, k.shown(r))
			}
		}
	}
	return list
}

// Links returns the interfaces, by index.
func (k *Kernel) Links() (list []wire.Link) {
	for _, i := range slices.Sorted(maps.Keys(k.links)) {
		list = append(list, *k.links[i])
	}
	return list
}

// Addresses returns the addresses in the order of their making.
func (k *Kernel) Addresses() []wire.KernelAddress { return slices.Clone(k.addrs) }

// Neighbors returns the permanent neighbours and the proxy entries, sorted by interface,
// address, and proxies last.
func (k *Kernel) Neighbors() []wire.KernelNeighbor {
	return slices.SortedFunc(maps.Values(k.neighbors), func(a, b wire.KernelNeighbor) int {
		c := cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Addr.Compare(b.Addr))
		switch {
		case c != 0 || a.Proxy == b.Proxy:
			return c
		case b.Proxy:
			return -1
		}
		return 1
	})
}

// Rules returns the rules in the kernel's order: by priority within a family.
func (k *Kernel) Rules() []wire.KernelRule { return slices.Clone(k.rules) }

// NextHops returns the next-hop objects and groups, by id.
func (k *Kernel) NextHops() (list []*NextHop) {
	for _, id := range slices.Sorted(maps.Keys(k.hops)) {
		list = append(list, k.hops[id])
	}
	return list
}

// NextHop returns the next-hop object or group with an id, nil if there is none. It must not
// be changed.
func (k *Kernel) NextHop(id uint32) *NextHop { return k.hops[id] }

// Routes returns the routes, those under one key in the kernel's order. They must not be
// changed.
func (k *Kernel) Routes() []*Route { return slices.Collect(k.routes.all()) }

// Link returns the interface with an index. ok is false if there is none.
func (k *Kernel) Link(index int) (l wire.Link, ok bool) {
	if p := k.links[int32(index)]; p != nil {
		return *p, true
	}
	return l, false
}

// Index returns the index of an interface by its name, 0 if there is none.
func (k *Kernel) Index(name string) int {
	for i, l := range k.links {
		if l.Interface == name {
			return int(i)
		}
	}
	return 0
}
