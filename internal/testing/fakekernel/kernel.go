package fakekernel

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Kernel is one network namespace. It is for one goroutine at a time. New makes one.
type Kernel struct {
	// Refuse are gateways that the kernel does not accept.
	Refuse map[netip.Addr]bool
	// OnRequest, if set, is called after each request other than a dump, with the port of
	// its socket and the answer. The message is valid during the call.
	OnRequest func(port uint32, m rtnl.Message, err unix.Errno)
	// OnChange, if set, is called for each change of routes, next-hop objects, rules, interfaces
	// and addresses; for that of an object before the changes that follow from it. It must not call the kernel's
	// methods that change something.
	OnChange func(Change)

	links     map[int32]*wire.Link
	tables    map[int32]uint32     // of interfaces that belong to a VRF
	addrs     []wire.KernelAddress // in the order of their making
	neighbors map[wire.NeighborKey]wire.KernelNeighbor
	rules     []wire.KernelRule // in the kernel's order
	hops      map[uint32]*NextHop
	groups    map[uint32]map[uint32]struct{} // of hops, by the ids of their members
	routes    routes
	sysctls   map[string]string // by path
	sockets   []*Socket
	port      uint32      // of the socket whose request is carried out; 0: the kernel itself acts
	version   uint64      // counts what may have changed something
	found     []candidate // of the last step of a lookup: memory for the next
}

// Change is a change of routes, next-hop objects, rules or interfaces. The fields of one of them
// are set: Old if there was one, New if there is one now.
type Change struct {
	// Port is that of the socket whose request it was; 0: the kernel itself.
	Port uint32
	// Cascade says that nobody asked for it: it went with its next-hop object, its
	// interface or its address.
	Cascade bool

	// NewRoute alone is also a route that has gained or lost one of its next hops.
	OldRoute, NewRoute     *Route
	OldNextHop, NewNextHop *NextHop
	OldRule, NewRule       *wire.KernelRule
	// Local says that interfaces or their addresses have changed, and with them local and connected
	// routes. No other field is set.
	Local bool
}

// New returns a kernel with the interface lo and nothing else, not even rules: see
// [Kernel.AddDefaultRules].
func New() *Kernel {
	k := &Kernel{Refuse: map[netip.Addr]bool{}}
	k.Reset()
	k.link(1, "lo")
	return k
}

// Reset takes everything away, even lo, without a notification. Sockets stay.
func (k *Kernel) Reset() {
	k.links, k.tables, k.hops = map[int32]*wire.Link{}, map[int32]uint32{}, map[uint32]*NextHop{}
	k.groups = map[uint32]map[uint32]struct{}{}
	k.neighbors, k.routes = map[wire.NeighborKey]wire.KernelNeighbor{}, newRoutes()
	k.addrs, k.rules, k.sysctls = nil, nil, map[string]string{}
}

// Load adds an entry of a dump as it is, without checks and notifications: what another
// kernel has dumped makes this one equal to it. Entries of other types are left out.
func (k *Kernel) Load(msg rtnl.Message) error {
	switch msg.Type {
	case rtnl.RTM_NEWLINK:
		l, err := wire.ParseLink(msg.Body)
		if err == nil {
			k.links[int32(l.IfIndex)] = &l
		}
		return err
	case rtnl.RTM_NEWADDR:
		var a wire.KernelAddress
		if err := a.Parse(msg.Body); err != nil {
			return err
		}
		k.addrs = append(k.addrs, a)
	case rtnl.RTM_NEWRULE:
		var r wire.KernelRule
		if err := r.Parse(msg.Body); err != nil {
			return err
		}
		k.rules = append(k.rules, r)
	case rtnl.RTM_NEWNEIGH:
		var n wire.KernelNeighbor
		if err := n.Parse(msg.Body); err != nil {
			return err
		}
		if n.Permanent || n.Proxy {
			k.neighbors[keyOf(n.Neighbor)] = n
		}
	case rtnl.RTM_NEWNEXTHOP:
		h := &NextHop{}
		if err := h.parse(msg.Body); err != nil {
			return err
		}
		k.setHop(h)
	case rtnl.RTM_NEWROUTE:
		r, err := parseRoute(msg.Body)
		if err != nil {
			return err
		}
		k.routes.insert(r, len(k.routes.under(r)))
	}
	return nil
}

// Do carries out requests of a program that has no socket here: port is the port id that
// others see as the origin. It returns the answer to the last one, and 0 if that was
// carried out.
func (k *Kernel) Do(port uint32, b []byte) (err unix.Errno) {
	for msg := range rtnl.Messages(b) {
		err = k.request(port, msg, nil)
	}
	return err
}

// request carries out one request, unless the faults say how it fails.
func (k *Kernel) request(port uint32, msg rtnl.Message, faults *Faults) (err unix.Errno) {
	if err = faults.answer(msg.Type); err == 0 {
		k.as(port, func() { err = k.apply(msg) })
	}
	if k.OnRequest != nil {
		k.OnRequest(port, msg, err)
	}
	return err
}

// as sets who acts during f.
func (k *Kernel) as(port uint32, f func()) {
	before := k.port
	k.port = port
	k.version++
	f()
	k.port = before
}

// apply does what one message asks for.
func (k *Kernel) apply(msg rtnl.Message) unix.Errno {
	switch msg.Type {
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		return k.route(msg)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		return k.nextHop(msg)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		return k.rule(msg)
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		return k.address(msg)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		return k.neighbor(msg)
	}
	return unix.EOPNOTSUPP
}

// changed reports a change to OnChange.
func (k *Kernel) changed(c Change) {
	k.version++
	if k.OnChange != nil {
		c.Port = k.port
		k.OnChange(c)
	}
}

// notify queues a notification at the sockets that have joined its group.
func (k *Kernel) notify(typ, flags uint16, body []byte) {
	group := groupOf(typ, body)
	var b []byte
	for _, s := range k.sockets {
		if s.groups[group] && !slices.Contains(s.ignored, k.port) {
			if b == nil {
				b = datagram(typ, flags, 0, k.port, body)
			}
			s.notified(b)
		}
	}
}

// groupOf returns the group of a notification.
func groupOf(typ uint16, body []byte) uint32 {
	v6 := body[0] == rtnl.AF_INET6
	either := func(ipv4, ipv6 uint32) uint32 {
		if v6 {
			return ipv6
		}
		return ipv4
	}
	switch typ {
	case rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK:
		return rtnl.RTNLGRP_LINK
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		return either(rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR)
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		return either(rtnl.RTNLGRP_IPV4_ROUTE, rtnl.RTNLGRP_IPV6_ROUTE)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		return either(rtnl.RTNLGRP_IPV4_RULE, rtnl.RTNLGRP_IPV6_RULE)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		return rtnl.RTNLGRP_NEXTHOP
	}
	return rtnl.RTNLGRP_NEIGH
}

// datagram makes a message.
func datagram(typ, flags uint16, seq, port uint32, body []byte) []byte {
	return appendDatagram(make([]byte, 0, rtnl.SizeHeader+len(body)), typ, flags, seq, port, body)
}

// appendDatagram appends a message.
func appendDatagram(b []byte, typ, flags uint16, seq, port uint32, body []byte) []byte {
	at := len(b)
	b = rtnl.End(append(rtnl.Begin(b, typ, flags, seq), body...), at)
	binary.NativeEndian.PutUint32(b[at+12:], port)
	return b
}
