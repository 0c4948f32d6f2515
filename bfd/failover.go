package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// failover takes the next-hop objects of dead sessions out of the kernel. It runs
// on a thread of its own: netlink waits for locks that bulk route writers hold
// for 100 ms, which the owner of the sessions must never do.
//
// Everything is checked right before each deletion, as what a client left may be
// old: the object must still be the one meant (ids are reused), a session that
// guards an alternative must be Up, and each group that has the object must keep
// a member that is not known to be dead.
type failover struct {
	server *Server
	dead   *marks
	socks  map[string]*rtnl
}

// dying is a session that went Down and what it asked to be done then.
type dying struct {
	key   Key
	list  []NextHop
	event Event
	at    time.Duration
	ns    int // the open namespace of its sockets; -1: the process's own
}

// wards says who watches what: for each next-hop object of one namespace whether
// any session that lists it is Up.
type wards map[uint32]bool

// run serves until the server is closed.
func (f *failover) run() {
	runtime.LockOSThread()
	defer func() {
		for _, s := range f.socks {
			s.close()
		}
	}()
	for range f.dead.ready {
		dying, closed := f.collect()
		if closed {
			return
		}
		for _, d := range dying {
			d.event.Failover = f.execute(d)
			if d.ns >= 0 {
				unix.Close(d.ns)
			}
			f.server.board.post(d.event, nil)
		}
	}
}

// collect lists the sessions that went Down for a reason that takes paths away.
// AdminDown, on either side, says nothing about the path (RFC 5882, Section 4.2).
func (f *failover) collect() (list []dying, closedNow bool) {
	s := f.server
	s.mu.Lock()
	defer s.mu.Unlock()
	f.dead.drain(func(slot int) {
		if slot >= len(s.slots) || s.slots[slot] == nil || s.slots[slot].removed {
			return
		}
		e := s.slots[slot]
		fact := e.cell.read()
		lost := fact.reason == ReasonExpired || fact.reason == ReasonNeighborDown || fact.reason == ReasonEchoFailed
		if fact.state == Up || !lost || fact.downs == e.failed || len(e.kept.Failover) == 0 {
			return
		}
		e.failed = fact.downs
		ns := -1
		if e.key.NetNS != "" {
			ns = namespaceOf(e.space.descriptor())
		}
		list = append(list, dying{key: e.key, list: e.kept.Failover, event: s.event(e, fact), at: fact.since, ns: ns})
	})
	return list, s.state == closed
}

// execute does what one session asked for.
func (f *failover) execute(d dying) []FailoverResult {
	results := make([]FailoverResult, 0, len(d.list))
	sock, err := f.socket(d.key.NetNS, d.ns)
	var groups []nexthop
	if err == nil {
		groups, err = sock.groups()
	}
	for _, n := range d.list {
		failed := err
		if failed == nil {
			failed = f.one(sock, &groups, d.key.NetNS, n)
		}
		r := FailoverResult{ID: n.ID, Deleted: failed == nil, Took: f.server.owner.clock.now() - d.at}
		if failed != nil {
			r.Err = failed.Error()
		}
		results = append(results, r)
	}
	return results
}

// socket gives the socket for a namespace by its path, or rather for the open
// namespace ns, since the path may lead elsewhere or nowhere by now.
func (f *failover) socket(netns string, ns int) (*rtnl, error) {
	path := netns
	if ns >= 0 {
		path = fmt.Sprintf("/proc/self/fd/%d", ns)
	}
	if s := f.socks[netns]; s != nil {
		if ns < 0 || s.in(ns) {
			return s, nil
		}
		s.close()
		delete(f.socks, netns)
	}
	s, err := newRTNL(path)
	if err == nil {
		f.socks[netns] = s
	}
	return s, err
}

// one deletes one object, or says why not.
func (f *failover) one(sock *rtnl, groups *[]nexthop, netns string, n NextHop) error {
	have, err := sock.get(n.ID)
	if errors.Is(err, unix.ENOENT) {
		return errors.New("no such object")
	}
	if err != nil {
		return err
	}
	if have.group != nil || have.link != n.Link || have.gateway != n.Gateway.Unmap().WithZone("") {
		return fmt.Errorf("is another object now: gateway %v, link %d", have.gateway, have.link)
	}
	up, guarded := f.watched(netns, n.Guards)
	if !guarded {
		return errors.New("no session that guards an alternative is up")
	}
	if up[n.ID] {
		return errors.New("another session that watches it is up")
	}
	strict := len(n.Guards) > 0
	if err := up.spare(*groups, n.ID, strict); err != nil {
		return f.shrink(sock, *groups, up, n.ID, strict, err)
	}
	if err := sock.remove(n.ID); err != nil {
		return err
	}
	for i := range *groups {
		(*groups)[i].group = (*groups)[i].without(n.ID)
	}
	return nil
}

// shrink is for an object that must stay for the sake of one group: it is taken
// out of the others, each by a message of its own, which costs the kernel time
// in proportion to their routes. It returns why the object stayed.
func (f *failover) shrink(sock *rtnl, groups []nexthop, up wards, id uint32, strict bool, why error) error {
	n := 0
	for i := range groups {
		g := &groups[i]
		if in, alive := up.members(g, id, strict); !in || !alive || g.kind != 0 {
			continue
		}
		rest := g.without(id)
		if err := sock.shrink(g, rest); err != nil {
			return fmt.Errorf("%w; group %d: %w", why, g.id, err)
		}
		g.group = rest
		n++
	}
	if n > 0 {
		return fmt.Errorf("%w; taken out of %d others", why, n)
	}
	return why
}

// watched reads the states of the sessions now: what they watch, and whether one
// of guards is Up. No guards at all counts as guarded.
func (f *failover) watched(netns string, guards []Key) (up wards, guarded bool) {
	s := f.server
	s.mu.Lock()
	defer s.mu.Unlock()
	up, guarded = wards{}, len(guards) == 0
	for k, e := range s.entries {
		alive := !e.removed && e.cell.read().state == Up
		if alive && slices.ContainsFunc(guards, func(g Key) bool { return g.Normal() == k }) {
			guarded = true
		}
		for _, n := range e.kept.Failover {
			if k.NetNS == netns && !e.removed {
				up[n.ID] = up[n.ID] || alive
			}
		}
	}
	return up, guarded
}

// members says whether a group has the object, and whether it has another member
// that is not known to be dead: watched by a session that is Up or, unless the
// client named guards, by none.
func (w wards) members(g *nexthop, id uint32, strict bool) (in, alive bool) {
	g.members(func(m uint32) {
		up, watched := w[m]
		in = in || m == id
		alive = alive || m != id && (up || !watched && !strict)
	})
	return in, alive
}

// spare makes sure that the object is in a group, and that every group it is in
// keeps a living member.
func (w wards) spare(groups []nexthop, id uint32, strict bool) error {
	member := false
	for i := range groups {
		in, alive := w.members(&groups[i], id, strict)
		member = member || in
		if in && !alive {
			return fmt.Errorf("group %d would be left without a living member", groups[i].id)
		}
	}
	if !member {
		return errors.New("is in no group: its routes have no alternative")
	}
	return nil
}

// without is the group's members but one.
func (n *nexthop) without(id uint32) (kept []byte) {
	for b := n.group; len(b) >= 8; b = b[8:] {
		if binary.NativeEndian.Uint32(b) != id {
			kept = append(kept, b[:8]...)
		}
	}
	return kept
}
