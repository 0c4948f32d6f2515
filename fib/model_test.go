package fib

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// model is the kernel as this package sees it: slow, obvious, and written from
// the kernel's side of netlink. It understands the very bytes that go into the
// sockets, tells its monitor what the kernel would tell, and is silent where
// the kernel is silent.
type model struct {
	links  map[int32]*Link
	hops   map[uint32]*nextHopMessage
	routes []*modelRoute
	rules  []kernelRule

	log     []string // of what the FIB wrote, failures included
	replies [][]byte
	notes   [][]byte
	lost    bool // the monitor has lost something
	lostAck bool
	// drop loses replies and notifications.
	dropReplies, dropNotes func() bool
	foreign                bool                // who acts now
	orphans                int                 // routes that we took away by the deletion of their last next hop
	refuse                 map[netip.Addr]bool // gateways that the kernel does not accept
}

type modelRoute struct {
	routeMessage
	body []byte // as dumped
}

func newModel() *model {
	m := &model{links: map[int32]*Link{}, hops: map[uint32]*nextHopMessage{}, refuse: map[netip.Addr]bool{}}
	for i, name := range []string{"lo", "v0", "v1", "v2"} {
		m.links[int32(i+1)] = &Link{Index: i + 1, Name: name, AdminUp: true, Carrier: true, MTU: 1500}
	}
	return m
}

func (m *model) same(r *modelRoute, q *routeMessage) bool {
	return r.family == q.family && r.table == q.table && r.hi == q.hi && r.lo == q.lo && r.bits == q.bits && r.tos == q.tos && r.metric == q.metric
}

// message makes wire format.
func wire(typ, flags uint16, seq uint32, body []byte) []byte {
	return end(append(begin(nil, typ, flags, seq), body...), 0)
}

func (m *model) notify(typ, flags uint16, body []byte) {
	if !m.foreign {
		return // the BPF filter eats our own echoes
	}
	if m.dropNotes != nil && m.dropNotes() {
		m.lost = true
		return
	}
	m.notes = append(m.notes, wire(typ, flags, 0, body))
}

// commands, monitor and dumps are the three sockets.
type (
	modelCommands struct{ *model }
	modelMonitor  struct{ *model }
	modelDumps    struct{ *model }
)

func (m *model) readable() error { select {} }
func (m *model) close() error    { return nil }
func (m *model) dump(request, buffer []byte, f func(b []byte) (bool, error)) error {
	return unix.EINVAL
}
func (m *model) send(b []byte) error         { return unix.EINVAL }
func (m *model) receive([]byte) (int, error) { return 0, unix.EAGAIN }

func (c modelCommands) send(b []byte) error {
	for msg := range messages(b) {
		err := c.apply(msg)
		c.log = append(c.log, c.describe(msg, err))
		if err != 0 {
			if c.dropReplies != nil && c.dropReplies() {
				c.lostAck = true
				continue
			}
			body := native.AppendUint32(nil, uint32(-int32(err)))
			body = append(body, b[:sizeHeader]...)
			c.replies = append(c.replies, wire(unix.NLMSG_ERROR, unix.NLM_F_CAPPED, msg.seq, body))
		}
	}
	return nil
}

func pop(q *[][]byte, lost *bool, b []byte) (int, error) {
	if *lost {
		*lost = false
		return 0, unix.ENOBUFS
	}
	if len(*q) == 0 {
		return 0, unix.EAGAIN
	}
	n := copy(b, (*q)[0])
	*q = (*q)[1:]
	return n, nil
}

func (c modelCommands) receive(b []byte) (int, error) { return pop(&c.replies, &c.lostAck, b) }
func (c modelMonitor) receive(b []byte) (int, error)  { return pop(&c.notes, &c.lost, b) }

// apply does what one message asks for.
func (m *model) apply(msg message) unix.Errno {
	switch msg.typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		var r routeMessage
		if r.parse(msg.body) != nil {
			return unix.EINVAL
		}
		r.legs = slices.Clone(r.legs)
		if r.family == IPv6 && r.metric == 0 {
			r.metric = metricIPv6
		}
		if msg.typ == unix.RTM_DELROUTE {
			return m.delRoute(&r)
		}
		return m.newRoute(&modelRoute{r, slices.Clone(msg.body)}, msg.flags)
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		var n nextHopMessage
		if n.parse(msg.body) != nil {
			return unix.EINVAL
		}
		if msg.typ == unix.RTM_DELNEXTHOP {
			return m.delHop(n.id, true)
		}
		return m.newHop(&n)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		var k kernelRule
		if k.parse(msg.body) != nil {
			return unix.EINVAL
		}
		return m.rule(k, msg)
	case unix.RTM_NEWNEIGH: // a probe
		return 0
	}
	return unix.EOPNOTSUPP
}

func (m *model) rule(k kernelRule, msg message) unix.Errno {
	i := slices.IndexFunc(m.rules, func(r kernelRule) bool { return r.Rule == k.Rule && r.proto == k.proto })
	if msg.typ == unix.RTM_DELRULE {
		if i < 0 {
			return unix.ENOENT
		}
		m.rules = slices.Delete(m.rules, i, i+1)
	} else {
		if i >= 0 && msg.flags&unix.NLM_F_EXCL != 0 {
			return unix.EEXIST
		}
		m.rules = append(m.rules, k)
	}
	m.notify(msg.typ, 0, msg.body)
	return 0
}

func (m *model) newRoute(r *modelRoute, flags uint16) unix.Errno {
	if r.nhid != 0 {
		if m.hops[r.nhid] == nil {
			return unix.EINVAL
		}
		r.legs = nil
	}
	for _, l := range r.legs {
		if link := m.links[l.link]; link == nil || !link.AdminUp {
			return unix.ENETDOWN
		}
		if m.refuse[l.gateway] {
			return unix.ENETUNREACH
		}
	}
	i := slices.IndexFunc(m.routes, func(q *modelRoute) bool { return m.same(q, &r.routeMessage) })
	told := uint16(unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	switch {
	case i < 0:
		m.routes = append(m.routes, r)
	case flags&unix.NLM_F_EXCL != 0:
		return unix.EEXIST
	case flags&unix.NLM_F_REPLACE != 0:
		m.routes[i] = r
		told = unix.NLM_F_REPLACE
	default:
		return unix.EEXIST // appending is not modelled
	}
	m.notify(unix.RTM_NEWROUTE, told, r.body)
	return 0
}

func (m *model) delRoute(r *routeMessage) unix.Errno {
	i := slices.IndexFunc(m.routes, func(q *modelRoute) bool {
		return m.same(q, r) && (r.proto == 0 || q.proto == r.proto) && (r.nhid == 0 || r.nhid == q.nhid)
	})
	if i < 0 {
		return unix.ESRCH
	}
	m.notify(unix.RTM_DELROUTE, 0, m.routes[i].body)
	m.routes = slices.Delete(m.routes, i, i+1)
	return 0
}

func (m *model) newHop(n *nextHopMessage) unix.Errno {
	for _, g := range n.members {
		if b := m.hops[g.id]; b == nil || b.members != nil {
			return unix.EINVAL
		}
	}
	if n.members == nil {
		if l := m.links[n.link]; l == nil || !l.Up() {
			return unix.ENETDOWN
		}
		if m.refuse[n.gateway] {
			return unix.ENETUNREACH
		}
	}
	m.hops[n.id] = n
	m.notify(unix.RTM_NEWNEXTHOP, 0, m.hopBody(n))
	return 0
}

func (m *model) hopBody(n *nextHopMessage) []byte {
	var b []byte
	if n.members != nil {
		b = appendGroup(nil, 0, n.id, n.proto, n.members, n.buckets)
	} else {
		b = appendNextHop(nil, 0, n.id, n.proto, objectKey{family: n.family, gateway: n.gateway, link: n.link, onlink: n.onlink})
	}
	return b[sizeHeader:]
}

// delHop removes an object, its membership, emptied groups, and their routes:
// without RTM_DELROUTE, and with told false (a link went down) without a word.
func (m *model) delHop(id uint32, told bool) unix.Errno {
	n := m.hops[id]
	if n == nil {
		return unix.ENOENT
	}
	delete(m.hops, id)
	if told {
		m.notify(unix.RTM_DELNEXTHOP, 0, m.hopBody(n))
	}
	before := len(m.routes)
	m.routes = slices.DeleteFunc(m.routes, func(r *modelRoute) bool { return r.nhid == id })
	if !m.foreign {
		m.orphans += before - len(m.routes)
	}
	for _, gid := range sortedKeys(m.hops) {
		g := m.hops[gid]
		if g == nil || !slices.ContainsFunc(g.members, func(x member) bool { return x.id == id }) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(g.members), func(x member) bool { return x.id == id })
		if len(rest) == 0 {
			m.delHop(gid, told)
			continue
		}
		g.members = rest
		if told {
			m.notify(unix.RTM_NEWNEXTHOP, 0, m.hopBody(g))
		}
	}
	return 0
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// setLink changes the state of a link.
func (m *model) setLink(index int32, admin, carrier bool) {
	m.foreign = true
	defer func() { m.foreign = false }()
	l := m.links[index]
	l.AdminUp, l.Carrier = admin, carrier && admin
	if !l.Up() {
		for _, id := range sortedKeys(m.hops) {
			if n := m.hops[id]; n != nil && n.members == nil && n.link == index {
				m.delHop(id, false)
			}
		}
	}
	if !admin {
		m.routes = slices.DeleteFunc(m.routes, func(r *modelRoute) bool {
			return len(r.legs) > 0 && !slices.ContainsFunc(r.legs, func(x leg) bool { return x.link != index })
		})
	}
	m.notify(unix.RTM_NEWLINK, 0, m.linkBody(l))
}

func (m *model) linkBody(l *Link) []byte {
	b := make([]byte, sizeLink)
	native.PutUint32(b[4:], uint32(l.Index))
	flags := uint32(0)
	if l.AdminUp {
		flags |= unix.IFF_UP
	}
	if l.Carrier {
		flags |= unix.IFF_LOWER_UP | unix.IFF_RUNNING
	}
	native.PutUint32(b[8:], flags)
	return attrString(b, unix.IFLA_IFNAME, l.Name)
}

// dump answers one request.
func (c modelDumps) dump(request, _ []byte, f func(b []byte) (bool, error)) error {
	var out []byte
	for msg := range messages(request) {
		switch msg.typ {
		case unix.RTM_GETLINK:
			for _, i := range sortedKeys(c.links) {
				out = append(out, wire(unix.RTM_NEWLINK, unix.NLM_F_MULTI, 1, c.linkBody(c.links[i]))...)
			}
		case unix.RTM_GETNEXTHOP:
			for _, id := range sortedKeys(c.hops) {
				out = append(out, wire(unix.RTM_NEWNEXTHOP, unix.NLM_F_MULTI, 1, c.hopBody(c.hops[id]))...)
			}
		case unix.RTM_GETRULE:
			for _, k := range c.rules {
				if byte(k.Family) == msg.body[0] {
					b := appendRule(nil, unix.RTM_NEWRULE, unix.NLM_F_MULTI, 1, k.Rule, k.proto)
					out = append(out, b...)
				}
			}
		case unix.RTM_GETROUTE:
			var q routeMessage
			_ = q.parse(msg.body)
			for _, r := range c.routes {
				if r.family == q.family && (q.proto == 0 || q.proto == r.proto) && (q.table == 0 || q.table == r.table) {
					out = append(out, wire(unix.RTM_NEWROUTE, unix.NLM_F_MULTI, 1, r.body)...)
				}
			}
		}
	}
	_, err := f(append(out, wire(unix.NLMSG_DONE, unix.NLM_F_MULTI, 1, make([]byte, 4))...))
	return err
}

// describe puts a message into words.
func (m *model) describe(msg message, err unix.Errno) string {
	s := ""
	switch msg.typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		var r routeMessage
		_ = r.parse(msg.body)
		verb := "add"
		switch {
		case msg.typ == unix.RTM_DELROUTE:
			verb = "delete"
		case msg.flags&unix.NLM_F_REPLACE != 0:
			verb = "replace"
		}
		s = verb + " " + m.route(&r)
	case unix.RTM_NEWNEXTHOP:
		var n nextHopMessage
		_ = n.parse(msg.body)
		s = m.hop(&n)
	case unix.RTM_DELNEXTHOP:
		var n nextHopMessage
		_ = n.parse(msg.body)
		s = fmt.Sprintf("delete nexthop %d", n.id&0xffff)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		var k kernelRule
		_ = k.parse(msg.body)
		s = map[uint16]string{unix.RTM_NEWRULE: "add", unix.RTM_DELRULE: "delete"}[msg.typ] + " rule " + k.String()
	case unix.RTM_NEWNEIGH:
		var n kernelNeighbor
		_ = n.parse(msg.body)
		s = fmt.Sprintf("probe %v dev %s", n.Addr, m.links[int32(n.Link)].Name)
	}
	if err != 0 {
		s += ": " + err.Error()
	}
	return s
}

func (m *model) hop(n *nextHopMessage) string {
	if n.members == nil {
		return fmt.Sprintf("nexthop %d via %v dev %s", n.id&0xffff, n.gateway, m.links[n.link].Name)
	}
	s := fmt.Sprintf("nexthop %d group", n.id&0xffff)
	for _, x := range n.members {
		s += fmt.Sprintf(" %d", x.id&0xffff)
		if x.weight > 1 {
			s += fmt.Sprintf("*%d", x.weight)
		}
	}
	return s
}

func (m *model) route(r *routeMessage) string {
	var b strings.Builder
	if r.typ != Unicast {
		fmt.Fprintf(&b, "%v ", r.typ)
	}
	fmt.Fprintf(&b, "%v table %d proto %d", r.prefix(), r.table, r.proto)
	if r.metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.metric)
	}
	if r.nhid != 0 {
		fmt.Fprintf(&b, " nhid %d", r.nhid&0xffff)
		return b.String()
	}
	for _, l := range r.legs {
		if l.gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.gateway)
		}
		if link := m.links[l.link]; link != nil {
			fmt.Fprintf(&b, " dev %s", link.Name)
		}
		if l.weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.weight)
		}
	}
	if r.prefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", r.prefSrc)
	}
	return b.String()
}

// state is everything in the model, with groups resolved to gateways, sorted.
func (m *model) state(proto ...uint8) []string {
	var out []string
	for _, r := range m.routes {
		if len(proto) > 0 && !slices.Contains(proto, r.proto) {
			continue
		}
		q := r.routeMessage
		if g := m.hops[q.nhid]; g != nil {
			q.nhid = 0
			for _, x := range g.members {
				n := m.hops[x.id]
				q.legs = append(q.legs, leg{n.gateway, n.link, x.weight, n.onlink})
			}
			slices.SortFunc(q.legs, compareLegs)
		}
		out = append(out, m.route(&q))
	}
	slices.Sort(out)
	return out
}

// by lets somebody else send a message.
func (m *model) by(other string, b []byte) unix.Errno {
	m.foreign = true
	defer func() { m.foreign = false }()
	for msg := range messages(b) {
		return m.apply(msg)
	}
	return unix.EINVAL
}

// newModelFIB is a FIB over a model, and its owner, not running: tests call
// turns themselves.
func newModelFIB(config Config, m *model) (*FIB, *owner) {
	config, err := config.withDefaults()
	if err != nil {
		panic(err)
	}
	f := &FIB{core: newCore(config), wake: make(chan struct{}, 1), closed: make(chan struct{})}
	f.emit = f.broadcast
	f.core.learn = f.teach
	f.commands, f.monitor, f.dumps = modelCommands{m}, modelMonitor{m}, modelDumps{m}
	o := &owner{FIB: f, writer: newWriter(f.commands), buffer: make([]byte, 1<<20)}
	o.steps = o.order()
	return f, o
}

func parsePrefix(s string) netip.Prefix {
	if s == "default" {
		return netip.MustParsePrefix("0.0.0.0/0")
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	a := netip.MustParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen())
}
