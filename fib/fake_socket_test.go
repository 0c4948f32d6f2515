package fib

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// The three sockets of a FIB, to the fake kernel.

type (
	fakeCommands struct{ *fake }
	fakeMonitor  struct{ *fake }
	fakeDumps    struct{ *fake }
)

// fakeQueue is a socket's receive queue.
type fakeQueue struct {
	datagrams [][]byte
	lost      bool
	ready     chan struct{} // capacity 1
}

func (q *fakeQueue) add(b []byte) { q.datagrams = append(q.datagrams, b) }

func (q *fakeQueue) poke() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *fakeQueue) pop(b []byte) (int, error) {
	switch {
	case q.lost:
		q.lost = false
		return 0, unix.ENOBUFS
	case len(q.datagrams) == 0:
		return 0, unix.EAGAIN
	}
	n := copy(b, q.datagrams[0])
	q.datagrams = q.datagrams[1:]
	return n, nil
}

// called does what somebody does at this moment.
func (m *fake) called() {
	m.mu.Lock()
	m.calls++
	var now []deed
	m.due = slices.DeleteFunc(m.due, func(d deed) bool {
		if d.call <= m.calls {
			now = append(now, d)
			return true
		}
		return false
	})
	m.mu.Unlock()
	for _, d := range now {
		d.do()
	}
}

func (m *fake) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.command.poke()
	m.monitor.poke()
	return nil
}

func (c fakeCommands) Send(b []byte) error {
	c.called()
	c.mu.Lock()
	defer c.mu.Unlock()
	for msg := range rtnl.Messages(b) {
		c.count++
		if c.guard != nil && c.guard.message() {
			return unix.EBADF
		}
		var err unix.Errno
		c.as(fakePort, func() { err = c.apply(msg) })
		c.writes = append(c.writes, c.describe(msg, err))
		if err == 0 {
			continue
		}
		f := &c.faults
		if f.replies++; f.loseReply > 0 && f.replies%f.loseReply == 0 {
			c.command.lost = true
			continue
		}
		body := append(binary.NativeEndian.AppendUint32(nil, uint32(-int32(err))), b[:rtnl.SizeHeader]...)
		c.command.add(datagram(rtnl.NLMSG_ERROR, rtnl.NLM_F_CAPPED, msg.Seq, fakePort, body))
	}
	return nil
}

func (c fakeCommands) Receive(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.command.pop(b)
}

func (c fakeCommands) Wait() error { return c.wait(&c.command) }

func (c fakeCommands) Dump([]byte, []byte, func([]byte) (bool, error)) error { return unix.EINVAL }

func (c fakeMonitor) Receive(b []byte) (int, error) {
	c.called()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guard != nil && c.guard.call() {
		return 0, unix.EBADF
	}
	if c.faults.late {
		return 0, unix.EAGAIN
	}
	return c.monitor.pop(b)
}

func (c fakeMonitor) Wait() error { return c.wait(&c.monitor) }

func (c fakeMonitor) Send([]byte) error                                     { return unix.EINVAL }
func (c fakeMonitor) Dump([]byte, []byte, func([]byte) (bool, error)) error { return unix.EINVAL }

func (c fakeDumps) Send([]byte) error           { return unix.EINVAL }
func (c fakeDumps) Receive([]byte) (int, error) { return 0, unix.EAGAIN }
func (c fakeDumps) Wait() error                 { return unix.EINVAL }

// chunk is how many entries a datagram of a dump has.
const chunk = 3

// Dump answers one request. Between two datagrams others may act.
func (c fakeDumps) Dump(request, _ []byte, f func(b []byte) (bool, error)) error {
	c.called()
	c.mu.Lock()
	var msg rtnl.Message
	for msg = range rtnl.Messages(request) {
	}
	list := c.entries(msg)
	flags := uint16(rtnl.NLM_F_MULTI)
	if c.faults.interrupted[msg.Type] > 0 {
		c.faults.interrupted[msg.Type]--
		flags |= rtnl.NLM_F_DUMP_INTR
	}
	fail := false
	if c.faults.dumpErrors > 0 {
		c.faults.dumpErrors--
		fail = true
	}
	errno := c.faults.dumpErrno
	c.mu.Unlock()
	for i := 0; i < len(list); i += chunk {
		if fail && i >= len(list)/2 {
			return errno
		}
		var b []byte
		for _, e := range list[i:min(i+chunk, len(list))] {
			b = append(b, datagram(e.typ, flags, 1, 0, e.body)...)
		}
		if done, err := f(b); done || err != nil {
			return err
		}
		c.called()
	}
	if fail {
		return errno
	}
	_, err := f(datagram(rtnl.NLMSG_DONE, flags, 1, 0, make([]byte, 4)))
	return err
}

// dumped is one entry of a dump.
type dumped struct {
	typ  uint16
	body []byte
}

func (m *fake) entries(msg rtnl.Message) (list []dumped) {
	add := func(typ uint16, body []byte) { list = append(list, dumped{typ, body}) }
	switch msg.Type {
	case rtnl.RTM_GETLINK:
		for _, i := range sortedKeys(m.links) {
			add(rtnl.RTM_NEWLINK, m.linkBody(m.links[i]))
		}
	case rtnl.RTM_GETADDR:
		for _, a := range m.addrs {
			add(rtnl.RTM_NEWADDR, m.addressBody(a))
		}
	case rtnl.RTM_GETNEIGH:
		proxies := msg.Body[10]&rtnl.NTF_PROXY != 0
		for _, key := range sortedNeighbors(m.neigh) {
			if n := m.neigh[key]; key.Proxy == proxies {
				add(rtnl.RTM_NEWNEIGH, wire.AppendNeighbor(nil, rtnl.RTM_NEWNEIGH, 0, 0, n.Neighbor, n.Protocol)[rtnl.SizeHeader:])
			}
		}
	case rtnl.RTM_GETNEXTHOP:
		for _, id := range sortedKeys(m.hops) {
			add(rtnl.RTM_NEWNEXTHOP, m.hopBody(m.hops[id]))
		}
	case rtnl.RTM_GETRULE:
		for _, k := range m.rules {
			if byte(k.Family) == msg.Body[0] {
				add(rtnl.RTM_NEWRULE, wire.AppendRule(nil, rtnl.RTM_NEWRULE, 0, 0, k.Rule, k.Protocol)[rtnl.SizeHeader:])
			}
		}
	case rtnl.RTM_GETROUTE:
		var q wire.RouteMessage
		_ = q.Parse(msg.Body)
		for _, r := range m.routes {
			if r.Family == q.Family && (q.Protocol == 0 || q.Protocol == r.Protocol) && (q.Table == 0 || q.Table == r.Table) {
				add(rtnl.RTM_NEWROUTE, m.shown(r))
			}
		}
	}
	return list
}

// describe puts a message into words.
func (m *fake) describe(msg rtnl.Message, err unix.Errno) string {
	s := m.words(msg)
	if err != 0 {
		s += ": " + err.Error()
	}
	return s
}

func (m *fake) words(msg rtnl.Message) string {
	verb := "add"
	switch {
	case msg.Type&1 != 0: // RTM_DEL*: RTM_NEW* + 1
		verb = "delete"
	case msg.Flags&rtnl.NLM_F_REPLACE != 0:
		verb = "replace"
	}
	switch msg.Type {
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		var r wire.RouteMessage
		_ = r.Parse(msg.Body)
		if msg.Type == rtnl.RTM_DELROUTE {
			r.NextHops = nil
		}
		return verb + " " + m.routeWords(&r)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		var n wire.NextHopMessage
		_ = n.Parse(msg.Body)
		if msg.Type == rtnl.RTM_DELNEXTHOP {
			return fmt.Sprintf("delete nexthop %d", n.ID&0xffff)
		}
		return verb + " " + m.hopWords(&n)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		var k wire.KernelRule
		_ = k.Parse(msg.Body)
		return verb + " rule " + k.String()
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		var a wire.KernelAddress
		_ = a.Parse(msg.Body)
		return fmt.Sprintf("%s address %v dev %s", verb, a.Prefix, m.nameOf(int32(a.IfIndex)))
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		var n wire.KernelNeighbor
		_ = n.Parse(msg.Body)
		switch {
		case n.Proxy:
			return fmt.Sprintf("%s neighbour proxy %v dev %s", verb, n.Addr, m.nameOf(int32(n.IfIndex)))
		case n.Permanent || msg.Type == rtnl.RTM_DELNEIGH:
			return fmt.Sprintf("%s neighbour %v dev %s", verb, n.Addr, m.nameOf(int32(n.IfIndex)))
		}
		return fmt.Sprintf("probe %v dev %s", n.Addr, m.nameOf(int32(n.IfIndex)))
	}
	return fmt.Sprintf("message %d", msg.Type)
}

func (m *fake) hopWords(n *wire.NextHopMessage) string {
	if n.Members == nil {
		return fmt.Sprintf("nexthop %d via %v dev %s", n.ID&0xffff, n.Gateway, m.nameOf(n.IfIndex))
	}
	s := fmt.Sprintf("nexthop %d group", n.ID&0xffff)
	for _, x := range n.Members {
		s += fmt.Sprintf(" %d", x.ID&0xffff)
		if x.Weight > 1 {
			s += fmt.Sprintf("*%d", x.Weight)
		}
	}
	if n.Buckets > 0 {
		s += fmt.Sprintf(" buckets %d", n.Buckets)
	}
	return s
}

func (m *fake) routeWords(r *wire.RouteMessage) string {
	var b strings.Builder
	if r.Type != wire.RouteUnicast {
		fmt.Fprintf(&b, "%v ", r.Type)
	}
	fmt.Fprintf(&b, "%v table %d proto %d", r.Prefix(), r.Table, r.Protocol)
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.NextHopID != 0 {
		fmt.Fprintf(&b, " nhid %d", r.NextHopID&0xffff)
	}
	for _, l := range r.NextHops {
		if r.NextHopID != 0 {
			break
		}
		if l.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.Gateway)
		}
		fmt.Fprintf(&b, " dev %s", m.nameOf(l.IfIndex))
		if l.OnLink {
			b.WriteString(" onlink")
		}
		if l.Weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.Weight)
		}
	}
	if r.PrefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", r.PrefSrc)
	}
	if r.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", r.MTU)
	}
	if r.Unknown {
		b.WriteString(" and more")
	}
	return b.String()
}

// resolved is the route with its group replaced by what the group has.
func (m *fake) resolved(r *fakeRoute) wire.RouteMessage {
	q := r.RouteMessage
	if g := m.hops[q.NextHopID]; g != nil {
		q.NextHopID, q.NextHops = 0, nil
		for _, x := range g.Members {
			n := m.hops[x.ID]
			q.NextHops = append(q.NextHops, wire.NextHop{Gateway: n.Gateway, IfIndex: n.IfIndex, Weight: x.Weight, OnLink: n.OnLink})
		}
		slices.SortFunc(q.NextHops, wire.CompareNextHops)
	}
	return q
}

// state is all routes, with groups resolved to gateways.
func (m *fake) state() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, r := range m.routes {
		q := m.resolved(r)
		out = append(out, m.routeWords(&q))
	}
	slices.Sort(out)
	return out
}

// newFakeFIB is a FIB over a fake kernel, not running.
func newFakeFIB(config Config, m *fake) *FIB {
	f, err := New(config)
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	m.closed = false
	m.monitor.datagrams, m.monitor.lost, m.command.datagrams, m.command.lost = nil, false, nil, false // new sockets
	m.mu.Unlock()
	f.open = func(*FIB) (sockets, error) { return m.sockets(), nil }
	return f
}

func (m *fake) sockets() sockets {
	return sockets{commands: fakeCommands{m}, monitor: fakeMonitor{m}, dumps: fakeDumps{m}}
}

// stillFIB is a FIB over a fake kernel whose owner has no goroutine: tests call it.
func stillFIB(config Config, m *fake) (*FIB, *owner) {
	f := newFakeFIB(config, m)
	return f, newOwner(f, m.sockets())
}
