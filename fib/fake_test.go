package fib

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// fake is the kernel as this package sees it: slow, obvious, and written from the
// kernel's side of netlink. It understands the very bytes that go into the sockets,
// notifies as the kernel does, and is silent where the kernel is silent.
// TestFakeKernel plays the same against the kernel itself.
type fake struct {
	mu     sync.Mutex
	links  map[int32]*wire.Link
	addrs  []wire.KernelAddress // in the order of their making
	neigh  map[wire.NeighborKey]wire.KernelNeighbor
	rules  []wire.KernelRule // in the kernel's order
	hops   map[uint32]*fakeHop
	routes []*fakeRoute // in the kernel's order within a key

	port     uint32 // the socket that acts now; 0 is the kernel itself
	command  fakeQueue
	monitor  fakeQueue
	faults   faults
	writes   []string // what the FIB asked for and what came of it, in words
	count    int      // of the messages that the FIB has sent
	orphans  int      // routes that the FIB took away with the deletion of a next hop
	calls    int      // of the FIB's sockets
	due      []deed
	closed   bool
	running  bool   // a FIB: it sees what others do
	everLost bool   // a notification
	guard    *guard // nil: nobody watches what the FIB does
}

// deed is what somebody does at a certain moment of the FIB's doing.
type deed struct {
	call int // before this call of a socket
	do   func()
}

// faults is what goes wrong beside what others do.
type faults struct {
	refuse      map[netip.Addr]bool   // gateways that the kernel does not accept
	errno       map[uint16]unix.Errno // the answer to messages of a type, for errnoLeft of them
	errnoLeft   int
	loseNote    int // every so manieth notification is lost; 0: none
	loseReply   int
	notes       int // notifications and replies so far
	replies     int
	late        bool           // notifications are not delivered yet
	twice       bool           // and each of them twice
	interrupted map[uint16]int // how many dumps of a type are marked as interrupted
	dumpErrno   unix.Errno
	dumpErrors  int // how many dumps end with dumpErrno in the middle
}

// fakePort is the port id of the FIB's socket, and otherPort that of another program's.
const (
	fakePort  = 1000
	otherPort = 4711
)

func newFake() *fake {
	m := &fake{links: map[int32]*wire.Link{}, hops: map[uint32]*fakeHop{}, neigh: map[wire.NeighborKey]wire.KernelNeighbor{}}
	m.faults.refuse, m.faults.errno, m.faults.interrupted = map[netip.Addr]bool{}, map[uint16]unix.Errno{}, map[uint16]int{}
	m.command.ready, m.monitor.ready = make(chan struct{}, 1), make(chan struct{}, 1)
	m.link(1, "lo")
	for i, name := range []string{"v0", "v1", "v2"} {
		m.link(int32(i+2), name)
		m.defaultAddresses(name)
	}
	return m
}

func (m *fake) link(index int32, name string) {
	m.links[index] = &wire.Link{IfIndex: int(index), Interface: name, AdminUp: true, Carrier: true, MTU: 1500}
}

// defaultAddresses gives an interface the addresses that make its gateways on-link.
func (m *fake) defaultAddresses(name string) {
	for _, p := range uplinkAddresses(name) {
		m.addrs = append(m.addrs, wire.KernelAddress{Address: wire.Address{IfIndex: m.index(name), Prefix: p, Scope: wire.ScopeUniverse, NoDAD: p.Addr().Is6()}})
	}
}

// uplinkAddresses are 10.0.N.1/24, 10.100.N.1/24 and fd0N::1/64 of vN.
func uplinkAddresses(name string) []netip.Prefix {
	n := name[len(name)-1] - '0'
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, n, 1}), 24), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, n, 1}), 24),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, n, 15: 1}), 64)}
}

func (m *fake) index(name string) int {
	for i, l := range m.links {
		if l.Interface == name {
			return int(i)
		}
	}
	return 0
}

// as lets somebody act.
func (m *fake) as(port uint32, f func()) {
	before := m.port
	m.port = port
	f()
	m.port = before
}

// notify tells the monitor, unless the FIB did it: its filter drops those.
func (m *fake) notify(typ, flags uint16, body []byte) {
	if m.port == fakePort {
		return
	}
	f := &m.faults
	if f.notes++; f.loseNote > 0 && f.notes%f.loseNote == 0 {
		m.monitor.lost, m.everLost = true, true
		return
	}
	b := datagram(typ, flags, 0, m.port, body)
	m.monitor.add(b)
	if f.twice {
		m.monitor.add(b)
	}
	if !f.late {
		m.monitor.poke()
	}
}

// wire makes a message.
func datagram(typ, flags uint16, seq, port uint32, body []byte) []byte {
	b := rtnl.End(append(rtnl.Begin(nil, typ, flags, seq), body...), 0)
	binary.NativeEndian.PutUint32(b[12:], port)
	return b
}

// apply does what one message asks for.
func (m *fake) apply(msg rtnl.Message) unix.Errno {
	if e, ok := m.faults.errno[msg.Type]; ok && m.port == fakePort && m.faults.errnoLeft > 0 {
		m.faults.errnoLeft--
		return e
	}
	switch msg.Type {
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		return m.route(msg)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		return m.nextHop(msg)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		return m.rule(msg)
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		return m.address(msg)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		return m.neighbor(msg)
	}
	return unix.EOPNOTSUPP
}

// by lets another program send a message.
func (m *fake) by(port uint32, b []byte) (err unix.Errno) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.as(port, func() {
		for msg := range rtnl.Messages(b) {
			err = m.apply(msg)
		}
	})
	return err
}

// rule adds or deletes one as net/core/fib_rules.c does.
func (m *fake) rule(msg rtnl.Message) unix.Errno {
	var k wire.KernelRule
	if k.Parse(msg.Body) != nil {
		return unix.EINVAL
	}
	if msg.Type == rtnl.RTM_NEWRULE {
		// fib_rule_exists does not look at FIB_RULE_INVERT.
		if msg.Flags&rtnl.NLM_F_EXCL != 0 && slices.ContainsFunc(m.rules, func(r wire.KernelRule) bool { r.Not = k.Not; return r == k }) {
			return unix.EEXIST
		}
		at := slices.IndexFunc(m.rules, func(r wire.KernelRule) bool { return r.Family == k.Family && r.Priority > k.Priority })
		if at < 0 {
			at = len(m.rules)
		}
		m.rules = slices.Insert(m.rules, at, k)
		m.notify(msg.Type, 0, msg.Body)
		return 0
	}
	for i, r := range m.rules {
		if m.deletes(&k, &r) {
			m.rules = slices.Delete(m.rules, i, i+1)
			if m.guard != nil && m.port == fakePort {
				m.guard.rule(r)
			}
			b := wire.AppendRule(nil, rtnl.RTM_DELRULE, 0, 0, r.Rule, r.Protocol)
			m.notify(rtnl.RTM_DELRULE, 0, b[rtnl.SizeHeader:])
			return 0
		}
	}
	return unix.ENOENT
}

// deletes is rule_find: what the request does not name matches anything.
func (m *fake) deletes(k, r *wire.KernelRule) bool {
	switch {
	case k.Family != r.Family || k.Priority != r.Priority || k.Action != r.Action:
	case k.Table != 0 && k.Table != r.Table:
	case k.IIF != "" && k.IIF != r.IIF:
	case k.OIF != "" && k.OIF != r.OIF:
	case k.Mark != 0 && k.Mark != r.Mark:
	case k.Mask != 0 && k.Mask != r.Mask:
	case k.Protocol != 0 && k.Protocol != r.Protocol:
	case k.From.IsValid() && k.From != r.From:
	case k.To.IsValid() && k.To != r.To:
	default:
		return true
	}
	return false
}

// address adds, changes or deletes one.
func (m *fake) address(msg rtnl.Message) unix.Errno {
	var a wire.KernelAddress
	if a.Parse(msg.Body) != nil {
		return unix.EINVAL
	}
	if m.links[int32(a.IfIndex)] == nil {
		return unix.ENODEV
	}
	i := slices.IndexFunc(m.addrs, func(b wire.KernelAddress) bool { return b.Key() == a.Key() })
	switch {
	case msg.Type == rtnl.RTM_DELADDR && i < 0:
		return unix.EADDRNOTAVAIL
	case msg.Type == rtnl.RTM_DELADDR:
		m.deleteAddress(i)
	case i >= 0 && msg.Flags&rtnl.NLM_F_REPLACE == 0:
		return unix.EEXIST
	case i >= 0:
		old := m.addrs[i].Address
		m.addrs[i] = a
		if m.addrs[i].Scope = old.Scope; old.Prefix.Addr().Is4() {
			m.addrs[i].NoPrefixRoute = old.NoPrefixRoute
		}
		m.notify(msg.Type, 0, m.addressBody(m.addrs[i]))
	default:
		if a.Prefix.Addr().Is6() && !m.links[int32(a.IfIndex)].AdminUp && a.NoDAD {
			a.NoDAD = true
		}
		m.addrs = append(m.addrs, a)
		m.notify(msg.Type, 0, m.addressBody(a))
	}
	return 0
}

func (m *fake) addressBody(a wire.KernelAddress) []byte {
	return wire.AppendAddress(nil, rtnl.RTM_NEWADDR, 0, 0, a.Address, a.Protocol)[rtnl.SizeHeader:]
}

// deleteAddress takes an address away, and with the last IPv4 address of an interface
// its IPv4 routes (fib_disable_ip), without a word.
func (m *fake) deleteAddress(i int) {
	a := m.addrs[i]
	m.addrs = slices.Delete(m.addrs, i, i+1)
	m.notify(rtnl.RTM_DELADDR, 0, m.addressBody(a))
	link, addr := int32(a.IfIndex), a.Prefix.Addr()
	gone := !slices.ContainsFunc(m.addrs, func(b wire.KernelAddress) bool { return b.Prefix.Addr() == addr })
	if gone {
		m.sourceGone(addr)
	}
	last := !slices.ContainsFunc(m.addrs, func(b wire.KernelAddress) bool { return b.IfIndex == a.IfIndex && b.Prefix.Addr().Is4() })
	if addr.Is4() && last {
		m.disable(link, wire.FamilyIPv4)
	}
}

// neighbor adds, changes or deletes an entry that stays, or probes.
func (m *fake) neighbor(msg rtnl.Message) unix.Errno {
	var n wire.KernelNeighbor
	if n.Parse(msg.Body) != nil || !n.Addr.IsValid() {
		return unix.EINVAL
	}
	if m.links[int32(n.IfIndex)] == nil {
		return unix.ENODEV
	}
	key := wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr, Proxy: n.Proxy}
	had, there := m.neigh[key]
	body := wire.AppendNeighbor(nil, rtnl.RTM_NEWNEIGH, 0, 0, n.Neighbor, n.Protocol)[rtnl.SizeHeader:]
	switch {
	case msg.Type == rtnl.RTM_DELNEIGH && !there:
		return unix.ENOENT
	case msg.Type == rtnl.RTM_DELNEIGH:
		delete(m.neigh, key)
		if !n.Proxy { // the kernel tells nobody about those
			m.notify(rtnl.RTM_NEWNEIGH, 0, failed(had))
			m.as(0, func() { m.notify(rtnl.RTM_DELNEIGH, 0, failed(had)) })
		}
	case !n.Permanent && !n.Proxy: // a probe
	case there && msg.Flags&rtnl.NLM_F_REPLACE == 0 && !n.Proxy: // neigh_add knows no flags for those
		return unix.EEXIST
	default:
		m.neigh[key] = n
		if !n.Proxy && (!there || had.MAC != n.MAC) {
			m.notify(msg.Type, 0, body)
		}
	}
	return 0
}

// failed is how a permanent neighbour is notified that is going (neigh_delete).
func failed(n wire.KernelNeighbor) []byte {
	b := wire.AppendNeighbor(nil, rtnl.RTM_DELNEIGH, 0, 0, n.Neighbor, n.Protocol)[rtnl.SizeHeader:]
	binary.NativeEndian.PutUint16(b[8:], rtnl.NUD_FAILED)
	return rtnl.AppendUint8(b, rtnl.NDA_PROTOCOL, n.Protocol)
}

// setLink changes the state of an interface as the administrator, or the cable, does.
func (m *fake) setLink(name string, admin, carrier bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[int32(m.index(name))]
	if l == nil {
		return
	}
	index, was := int32(l.IfIndex), *l
	l.AdminUp, l.Carrier = admin, carrier && admin
	m.as(0, func() {
		if was.Up() && !l.Up() {
			m.flushHops(index)
		}
		if was.AdminUp && !admin {
			m.downAddresses(index)
			m.disable(index, wire.FamilyIPv4)
			m.disable(index, wire.FamilyIPv6)
			m.neighborsGone(index)
		}
		m.notify(rtnl.RTM_NEWLINK, 0, m.linkBody(l))
	})
}

// downAddresses takes the IPv6 addresses of an interface away that goes down
// (addrconf_ifdown without keep_addr_on_down).
func (m *fake) downAddresses(index int32) {
	for i := 0; i < len(m.addrs); {
		if a := m.addrs[i]; int32(a.IfIndex) == index && a.Prefix.Addr().Is6() {
			m.deleteAddress(i)
		} else {
			i++
		}
	}
}

// neighborsGone: neigh_ifdown takes away what is learned, and permanent entries, too.
func (m *fake) neighborsGone(index int32) {
	for _, key := range sortedNeighbors(m.neigh) {
		if n := m.neigh[key]; int32(key.IfIndex) == index {
			delete(m.neigh, key)
			if key.Proxy {
				continue
			}
			m.notify(rtnl.RTM_DELNEIGH, 0, wire.AppendNeighbor(nil, rtnl.RTM_NEWNEIGH, 0, 0, n.Neighbor, n.Protocol)[rtnl.SizeHeader:])
		}
	}
}

func sortedNeighbors(m map[wire.NeighborKey]wire.KernelNeighbor) []wire.NeighborKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b wire.NeighborKey) int {
		return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Addr.Compare(b.Addr), cmp.Compare(b2i(a.Proxy), b2i(b.Proxy)))
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// deleteLink removes an interface with everything on it.
func (m *fake) deleteLink(name string) {
	m.setLink(name, false, false)
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[int32(m.index(name))]
	if l == nil {
		return
	}
	m.as(0, func() {
		for i := 0; i < len(m.addrs); {
			if m.addrs[i].IfIndex == l.IfIndex {
				m.deleteAddress(i)
			} else {
				i++
			}
		}
		m.neighborsGone(int32(l.IfIndex))
		m.unregister(int32(l.IfIndex))
		delete(m.links, int32(l.IfIndex))
		m.notify(rtnl.RTM_DELLINK, 0, m.linkBody(l))
	})
}

// createLink makes an interface, up and with its carrier but without addresses, if there
// is none of that name.
func (m *fake) createLink(index int32, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.index(name) != 0 {
		return false
	}
	m.link(index, name)
	m.as(0, func() { m.notify(rtnl.RTM_NEWLINK, 0, m.linkBody(m.links[index])) })
	return true
}

func (m *fake) linkBody(l *wire.Link) []byte {
	b := make([]byte, rtnl.SizeLink)
	binary.NativeEndian.PutUint32(b[4:], uint32(l.IfIndex))
	flags := uint32(0)
	if l.AdminUp {
		flags |= rtnl.IFF_UP
	}
	if l.Carrier {
		flags |= rtnl.IFF_LOWER_UP | rtnl.IFF_RUNNING
	}
	binary.NativeEndian.PutUint32(b[8:], flags)
	return rtnl.AppendString(b, rtnl.IFLA_IFNAME, l.Interface)
}

// reaches reports whether a gateway is on-link there.
func (m *fake) reaches(gateway netip.Addr, link int32) bool {
	if gateway.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(m.addrs, func(a wire.KernelAddress) bool {
		return int32(a.IfIndex) == link && !a.NoPrefixRoute && a.Prefix.Contains(gateway)
	})
}

func (m *fake) nameOf(link int32) string {
	if l := m.links[link]; l != nil {
		return l.Interface
	}
	return "?"
}

// wait lets time pass for what waits for a socket.
func (m *fake) wait(q *fakeQueue) error {
	for {
		m.mu.Lock()
		closed, some := m.closed, len(q.datagrams) > 0 || q.lost
		late := m.faults.late && q == &m.monitor
		m.mu.Unlock()
		switch {
		case closed:
			return unix.EBADF
		case some && !late:
			return nil
		}
		select {
		case <-q.ready:
		case <-time.After(time.Hour):
		}
	}
}
