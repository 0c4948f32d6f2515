package fakekernel

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// perDatagram is how many entries a datagram of a dump has: few, so that others may act
// between two of them.
const perDatagram = 3

// dump queues the answer to a dump request: what there is now.
func (s *Socket) dump(request rtnl.Message) {
	list := s.kernel.Entries(request)
	flags, failure := s.faults.dumpFlags(request.Type), s.faults.dumpFails()
	if flags&rtnl.NLM_F_DUMP_INTR != 0 && request.Type != rtnl.RTM_GETNEXTHOP && len(list) > perDatagram {
		// The kernel goes on where as many entries are behind it as before: after others
		// have gone it leaves as many out. Next-hop objects it resumes by their id.
		list = slices.Delete(list, perDatagram, perDatagram+1)
	}
	for i := 0; i < len(list); i += perDatagram {
		if failure != 0 && i >= len(list)/2 {
			break
		}
		var b []byte
		for _, e := range list[i:min(i+perDatagram, len(list))] {
			b = append(b, datagram(e.Type, flags, request.Seq, s.port, e.Body)...)
		}
		s.queue = append(s.queue, queued{datagram: b})
	}
	if failure != 0 {
		s.queue = append(s.queue, queued{err: failure})
		return
	}
	s.queue = append(s.queue, queued{datagram: datagram(rtnl.NLMSG_DONE, flags, request.Seq, s.port, make([]byte, 4))})
}

// Entries returns what a dump request (RTM_GET*) is answered with.
func (k *Kernel) Entries(request rtnl.Message) (list []rtnl.Message) {
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
		for r := range k.routes.all() {
			if r.Family == q.Family && (q.Protocol == 0 || q.Protocol == r.Protocol) && (q.Table == 0 || q.Table == r.Table) {
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
