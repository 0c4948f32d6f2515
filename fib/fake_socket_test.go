package fib

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
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
		body := append(native.AppendUint32(nil, uint32(-int32(err))), b[:rtnl.SizeHeader]...)
		c.command.add(wire(rtnl.NLMSG_ERROR, rtnl.NLM_F_CAPPED, msg.Seq, fakePort, body))
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
			b = append(b, wire(e.typ, flags, 1, 0, e.body)...)
		}
		if done, err := f(b); done || err != nil {
			return err
		}
		c.called()
	}
	if fail {
		return errno
	}
	_, err := f(wire(rtnl.NLMSG_DONE, flags, 1, 0, make([]byte, 4)))
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
			if n := m.neigh[key]; key.proxy == proxies {
				add(rtnl.RTM_NEWNEIGH, appendNeighbor(nil, rtnl.RTM_NEWNEIGH, 0, 0, n.Neighbor, n.proto)[rtnl.SizeHeader:])
			}
		}
	case rtnl.RTM_GETNEXTHOP:
		for _, id := range sortedKeys(m.hops) {
			add(rtnl.RTM_NEWNEXTHOP, m.hopBody(m.hops[id]))
		}
	case rtnl.RTM_GETRULE:
		for _, k := range m.rules {
			if byte(k.Family) == msg.Body[0] {
				add(rtnl.RTM_NEWRULE, appendRule(nil, rtnl.RTM_NEWRULE, 0, 0, k.Rule, k.proto)[rtnl.SizeHeader:])
			}
		}
	case rtnl.RTM_GETROUTE:
		var q routeMessage
		_ = q.parse(msg.Body)
		for _, r := range m.routes {
			if r.family == q.family && (q.proto == 0 || q.proto == r.proto) && (q.table == 0 || q.table == r.table) {
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
		var r routeMessage
		_ = r.parse(msg.Body)
		if msg.Type == rtnl.RTM_DELROUTE {
			r.nextHops = nil
		}
		return verb + " " + m.routeWords(&r)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		var n nextHopMessage
		_ = n.parse(msg.Body)
		if msg.Type == rtnl.RTM_DELNEXTHOP {
			return fmt.Sprintf("delete nexthop %d", n.id&0xffff)
		}
		return verb + " " + m.hopWords(&n)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		var k kernelRule
		_ = k.parse(msg.Body)
		return verb + " rule " + k.String()
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		var a kernelAddress
		_ = a.parse(msg.Body)
		return fmt.Sprintf("%s address %v dev %s", verb, a.Prefix, m.nameOf(int32(a.IfIndex)))
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		var n kernelNeighbor
		_ = n.parse(msg.Body)
		switch {
		case n.Proxy:
			return fmt.Sprintf("%s neighbour proxy %v dev %s", verb, n.Addr, m.nameOf(int32(n.IfIndex)))
		case n.permanent || msg.Type == rtnl.RTM_DELNEIGH:
			return fmt.Sprintf("%s neighbour %v dev %s", verb, n.Addr, m.nameOf(int32(n.IfIndex)))
		}
		return fmt.Sprintf("probe %v dev %s", n.Addr, m.nameOf(int32(n.IfIndex)))
	}
	return fmt.Sprintf("message %d", msg.Type)
}

func (m *fake) hopWords(n *nextHopMessage) string {
	if n.members == nil {
		return fmt.Sprintf("nexthop %d via %v dev %s", n.id&0xffff, n.gateway, m.nameOf(n.link))
	}
	s := fmt.Sprintf("nexthop %d group", n.id&0xffff)
	for _, x := range n.members {
		s += fmt.Sprintf(" %d", x.id&0xffff)
		if x.weight > 1 {
			s += fmt.Sprintf("*%d", x.weight)
		}
	}
	if n.buckets > 0 {
		s += fmt.Sprintf(" buckets %d", n.buckets)
	}
	return s
}

func (m *fake) routeWords(r *routeMessage) string {
	var b strings.Builder
	if r.typ != RouteUnicast {
		fmt.Fprintf(&b, "%v ", r.typ)
	}
	fmt.Fprintf(&b, "%v table %d proto %d", r.prefix(), r.table, r.proto)
	if r.metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.metric)
	}
	if r.nhid != 0 {
		fmt.Fprintf(&b, " nhid %d", r.nhid&0xffff)
	}
	for _, l := range r.nextHops {
		if r.nhid != 0 {
			break
		}
		if l.gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.gateway)
		}
		fmt.Fprintf(&b, " dev %s", m.nameOf(l.link))
		if l.onlink {
			b.WriteString(" onlink")
		}
		if l.weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.weight)
		}
	}
	if r.prefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", r.prefSrc)
	}
	if r.mtu != 0 {
		fmt.Fprintf(&b, " mtu %d", r.mtu)
	}
	if r.alien {
		b.WriteString(" and more")
	}
	return b.String()
}

// resolved is the route with its group replaced by what the group has.
func (m *fake) resolved(r *fakeRoute) routeMessage {
	q := r.routeMessage
	if g := m.hops[q.nhid]; g != nil {
		q.nhid, q.nextHops = 0, nil
		for _, x := range g.members {
			n := m.hops[x.id]
			q.nextHops = append(q.nextHops, nextHop{n.gateway, n.link, x.weight, n.onlink})
		}
		slices.SortFunc(q.nextHops, compareNextHops)
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
	config, err := config.withDefaults()
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	m.closed = false
	m.monitor.datagrams, m.monitor.lost, m.command.datagrams, m.command.lost = nil, false, nil, false // new sockets
	m.mu.Unlock()
	f := newFIB(config)
	f.commands, f.monitor, f.dumps = fakeCommands{m}, fakeMonitor{m}, fakeDumps{m}
	return f
}

// stillFIB is a FIB over a fake kernel whose owner has no goroutine: tests call it.
func stillFIB(config Config, m *fake) (*FIB, *owner) {
	f := newFakeFIB(config, m)
	return f, f.newOwner()
}
