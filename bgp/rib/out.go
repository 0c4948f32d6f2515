package rib

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// OutConfig describes one session to its Adj-RIB-Out: what was negotiated, and what of
// the configuration shapes what is sent. Sessions for which all of it is the same, except
// PeerRestarting and Notify, share an update group: each UPDATE is made once for all of them.
type OutConfig struct {
	// Families are those negotiated. Zero means IPv4 unicast.
	Families wire.FamilySet
	// AddPath are the families in which the peer takes several paths (RFC 7911, Section 5).
	AddPath wire.FamilySet
	// AddPathLimit is how many of the best paths it is sent then; 0 means all. Paths that
	// are not for it are passed over, up to 256 of them.
	AddPathLimit int
	// AS4 says that the peer takes four-octet AS numbers (RFC 6793, Section 4.1).
	AS4 bool
	// ExtendedMessages says that the peer takes messages of 65535 octets (RFC 8654, Section 4).
	ExtendedMessages bool
	// ExtendedNextHop says that the peer takes IPv4 routes with IPv6 next hops
	// (RFC 8950, Section 4).
	ExtendedNextHop bool
	// LongLived says that the peer announced the long-lived graceful restart capability:
	// only such peers are sent long-lived stale paths (RFC 9494, Section 4.3).
	LongLived bool
	// NextHop4 and NextHop6 are our own addresses as next hops for the families: those
	// of the session. For EVPN and route target constraint it is NextHop4, or NextHop6 if that is missing. Where one is missing, paths that need it are not sent. What the peer
	// announces with one of them as its next hop is refused (RFC 4271, Section 5.1.3).
	NextHop4, NextHop6 wire.NextHop
	// NextHopSelf replaces the next hop of every path by ours, reflected ones included.
	// For eBGP it always is. The next hop of an EVPN route stays as it is all the same: it is where the
	// tunnel ends (RFC 8365, Section 5.1.3).
	NextHopSelf bool
	// DefaultMembership sends the peer of all route target memberships the default one alone, if there is one: a
	// reflector that has asked for everything need not pass on what others ask for. It is what Junos calls
	// advertise-default.
	DefaultMembership bool
	// IgnoreMemberships sends the peer all EVPN routes, also those with route targets that it has not asked for, and
	// does not wait for what it asks.
	IgnoreMemberships bool
	// Export decides on every path that is to be sent; nil accepts all. Sessions share
	// an update group only if their Export is the same func value.
	Export Policy
	// Default announces the default route to the peer. The zero value does not.
	Default DefaultRoute
	// PeerRestarting says that the peer's OPEN had the Restart State bit (RFC 4724, Section 3): it may wait for our
	// End-of-RIB before it announces anything, so that its EVPN routes do not wait for
	// [Out.ConstraintKnown]. Until then it is sent what it wanted before, if that is retained, else everything.
	PeerRestarting bool
	// Notify, if not nil, is called when Fill has something to yield after it yielded
	// nothing. It is called with the table locked: it must not block and must not call
	// the table. A send to a channel of capacity one that drops what does not fit is all
	// that is needed.
	Notify func()
}

// Out is the Adj-RIB-Out of one session. It is safe for concurrent use; its Fill is meant
// to be called by one goroutine. It lives as long as the session: a new session makes a
// new one.
type Out struct {
	t        *Table      // the table, whose mutex guards the Out
	g        *group      // the update group that the session belongs to
	in       *In         // the peer's own paths, which are not sent back
	notify   func()      // called when there is something to Fill
	armed    bool        // Notify is due at the next change
	closed   bool        // Close was called
	counters OutCounters // for OutStatus

	// In step with the group: what comes next is message msg of chunk seq.
	seq uint64 // sequence number of the chunk in the group
	msg int    // index of the message in that chunk

	// Or catching up, from what the group advertises.
	behind    bool
	todo      dirty              // destinations that changed behind our back
	dump      dump               // what of the whole group's adverts is still to be sent
	refreshes [nFamilies]refresh // by family: what the peer has asked for
	own       *chunk             // being sent, for this session alone
	waits     uint64             // destinations that the group must have produced first

	eor      eorStage       // how far End-of-RIB has come
	eorMark  uint64         // what the stage waits for
	unmarked wire.FamilySet // families whose End-of-RIB has not been sent

	constraint constraintState // which EVPN routes the peer wants
	broad      bool            // in demand.broad
	chunk      uint64          // of group.concerns: the chunk that concerned it last, by the number of the next one
}

// OutCounters counts what was sent to a peer. Except for NoNextHop and TooLong they only
// grow.
type OutCounters struct {
	Updates   uint64 // messages, End-of-RIB and refresh markers included
	Announced uint64 // NLRI
	Withdrawn uint64 // NLRI
	Octets    uint64 // of all messages
	Lagged    uint64 // how often the session fell behind its update group
	// NoNextHop is how many IPv4 prefixes, IPv6 prefixes, EVPN routes and route target memberships have a path that
	// the peer would be sent, but that has no next hop of its family; TooLong is the same for paths whose
	// attributes are longer than a message. They are those of the update group, as of the
	// last Fill that returned 0.
	NoNextHop, TooLong [4]int
}

// NewOut opens the Adj-RIB-Out of a session with the peer of in. Everything there is to
// send will come from Fill, then End-of-RIB for each family.
func (in *In) NewOut(c OutConfig) (*Out, error) {
	t := in.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.closed || in.no == localPeer {
		return nil, errors.New("rib: the peer is closed")
	}
	if c.Families == 0 {
		c.Families = wire.Families(wire.IPv4Unicast)
	}
	o := &Out{t: t, in: in, notify: c.Notify, unmarked: c.Families}
	o.constraint.begin(in, &c)
	in.out = o
	in.own = [2]netip.Addr{c.NextHop4.Addr, c.NextHop6.Addr}
	for f := range in.lists {
		in.lists[f].endSession()
	}
	o.g = t.groupFor(in, c)
	o.g.join(o)
	return o, nil
}

// Close ends the Adj-RIB-Out.
func (o *Out) Close() {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	if o.in.out == o {
		o.in.out = nil
	}
	o.todo.clear(o.t)
	o.own = nil
	o.g.leave(o)
}

// Counters returns what was sent.
func (o *Out) Counters() OutCounters {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	c := o.counters
	c.NoNextHop, c.TooLong = o.g.unsendable.sets[0].n, o.g.unsendable.sets[1].n
	return c
}

// Refresh sends everything of a family again, in answer to a ROUTE-REFRESH (RFC 2918, Section 4);
// between Beginning-of-RIB and End-of-RIB markers if enhanced is set (RFC 7313, Section 4).
func (o *Out) Refresh(fam wire.Family, enhanced bool) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if o.closed || !o.g.key.families.Has(fam) {
		return
	}
	r := refresh{wanted: true, enhanced: enhanced}
	o.refreshes[familyIndex(fam)] = r
	o.wake()
}

func familyIndex(fam wire.Family) int {
	switch fam {
	case wire.IPv6Unicast:
		return 1
	case wire.L2VPNEVPN:
		return evpnFamily
	case wire.RTConstrain:
		return constraintFamily
	}
	return 0
}

func (o *Out) wake() {
	if o.armed {
		o.armed = false
		if o.notify != nil {
			o.notify()
		}
	}
}

// Fill writes whole messages into buf, as many as there are and fit, and returns the number
// of octets. 0 means that there is nothing to send; Notify is called when that changes. buf
// must have room for a message of the longest kind: 4096 octets, or 65535 with
// ExtendedMessages.
//
// The first change after silence can be had at once. Under load it pays to let a
// millisecond or two pass between a Fill that did not fill the buffer and the next: what
// came in meanwhile is packed by shared attributes.
func (o *Out) Fill(buf []byte) int {
	for {
		n, done := o.fill(buf)
		if n > 0 || done {
			return n
		}
	}
}

// fill does a bounded amount of work. done means that there is nothing to send.
func (o *Out) fill(buf []byte) (n int, done bool) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if o.closed {
		return 0, true
	}
	o.startConstraint()
	o.startRefresh()
	if o.behind {
		n, done = o.catchUp(buf)
	} else {
		n, done = o.follow(buf)
	}
	if n == 0 && done && o.eorDue() {
		n = o.endOfRIB(buf)
	}
	if n > 0 {
		o.counters.Octets += uint64(n)
		return n, false
	}
	if o.armed = done; done {
		o.g.round++
	}
	return 0, done
}

// follow yields what the group has made.
func (o *Out) follow(buf []byte) (n int, done bool) {
	g := o.g
	for {
		if o.seq == g.tail() {
			if o.eorDue() { // what comes now came after the mark
				return n, true
			}
			if g.empty() {
				return n, true
			}
			if n > 0 {
				return n, false
			}
			g.produce()
			if o.behind || o.seq == g.tail() {
				return 0, false
			}
		}
		c := g.chunk(o.seq)
		n += o.take(c, buf[n:])
		if o.msg < len(c.msgs) {
			return n, false
		}
		o.msg = 0
		o.seq++
		g.done(c)
	}
}

// take copies messages of a chunk, from o.msg on, and leaves out those that are not for
// this session.
func (o *Out) take(c *chunk, buf []byte) (n int) {
	for ; o.msg < len(c.msgs); o.msg++ {
		m := &c.msgs[o.msg]
		if !o.takes(c, m) {
			continue
		}
		b := c.data[m.start:m.end]
		if len(b) > len(buf)-n {
			return n
		}
		n += copy(buf[n:], b)
		o.count(m)
	}
	return n
}

// takes reports whether a message of a chunk is for this session.
func (o *Out) takes(c *chunk, m *message) bool {
	return m.isFor(o.in.no) && (m.filter == 0 || c.filters[m.filter-1].admits(o.constraint.want))
}

func (o *Out) count(m *message) {
	o.counters.Updates++
	if m.kind == withdrawal {
		o.counters.Withdrawn += uint64(m.nlri)
	} else {
		o.counters.Announced += uint64(m.nlri)
	}
}

// leave takes a session out of its group.
func (g *group) leave(o *Out) {
	if o.behind {
		g.lagging--
	} else {
		g.skip(o)
	}
	g.dismiss(o)
	g.remove(o)
}

// remove forgets a member, and the group with the last.
func (g *group) remove(o *Out) {
	g.members = slices.DeleteFunc(g.members, func(x *Out) bool { return x == o })
	if len(g.members) == 0 {
		g.t.dropGroup(g)
	}
}
