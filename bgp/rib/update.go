package rib

import (
	"math/bits"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Update takes in an UPDATE that was parsed without an error, or with one whose
// disposition is attribute discard: what it withdraws, then what it announces. End-of-RIB
// is not looked for: see [In.EndOfRIB].
//
// It returns nil or a [*LimitError]. If that says [LimitRestart] and LimitExceeded, what the
// message announced up to the limit has been taken in, and the session is to be ended with
// Cease, subcode 1 (RFC 4486, Section 4). Otherwise it is something to report, once: all of the message
// was taken in, or blocked, as the limit says.
//
// u is not kept.
func (in *In) Update(u *wire.Update) error {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if in.closed {
		return nil
	}
	in.unreach(u)
	if !u.MPReach.Empty() {
		in.reach(u, &u.MPReach, u.MPNextHop)
	}
	if !u.NLRI.Empty() {
		in.reach(u, &u.NLRI, u.NextHop)
	}
	if e := in.limitReport(); e != nil {
		return e
	}
	return nil
}

// TreatAsWithdraw takes in an UPDATE whose disposition is treat-as-withdraw (RFC 7606,
// Section 2): everything that it names is withdrawn.
func (in *In) TreatAsWithdraw(u *wire.Update) {
	in.t.mu.Lock()
	defer in.t.mu.Unlock()
	if in.closed {
		return
	}
	in.unreach(u)
	for _, l := range [...]*wire.List{&u.MPReach, &u.NLRI} {
		if !l.Empty() {
			in.refuse(l, 0, ReasonMalformed)
		}
	}
	in.limitReport()
}

func (in *In) unreach(u *wire.Update) {
	for _, l := range [...]*wire.List{&u.Withdrawn, &u.MPUnreach} {
		if l.Empty() {
			continue
		}
		list := in.listOf(l.Family)
		var n name
		var err error
		for n.NLRI, err = range l.All() {
			if err == nil {
				in.unreachOne(list, &n)
			}
		}
		n = in.t.nameKeyed()
		for k := range l.Keyed() { // one with an error as well: it names a route
			if n.setKeyed(&k) {
				in.unreachOne(list, &n)
			}
		}
	}
}

// forget forgets an announcement that was refused: it is withdrawn, or accepted.
func (l *pathList) forget(n *name) {
	l.limit.drop(n)
	l.refused.drop(n)
}

func (in *In) unreachOne(list *pathList, n *name) {
	list.counters.Withdrawn++
	in.withdraw(n)
	list.forget(n)
	in.t.pause(int(list.counters.Withdrawn), nlriAtOnce)
}

// refuse refuses what a list announces, with a set of attributes, or 0.
func (in *In) refuse(l *wire.List, attr attrID, why Reason) {
	list := in.listOf(l.Family)
	var n name
	var err error
	for n.NLRI, err = range l.All() {
		if err == nil && !in.refuseNext(list, &n, attr, why) {
			return
		}
	}
	n = in.t.nameKeyed()
	for k := range l.Keyed() {
		if n.setKeyed(&k) && !in.refuseNext(list, &n, attr, why) {
			return
		}
	}
}

// refuseNext refuses one of several announcements, and reports whether to go on.
func (in *In) refuseNext(list *pathList, n *name, attr attrID, why Reason) bool {
	list.counters.Announced++
	if in.refuseOne(list, n, attr, why); list.limit.ended() {
		return false
	}
	in.t.pause(int(list.counters.Announced), nlriAtOnce)
	return true
}

// refuseOne refuses one announcement: what the peer offered before under its name is gone. What
// is malformed has been withdrawn, so that it does not count (RFC 7606, Section 2).
func (in *In) refuseOne(list *pathList, n *name, attr attrID, why Reason) {
	in.note(list, n, attr, why)
	known := in.withdraw(n)
	m := &list.limit
	switch {
	case !m.active():
	case why == ReasonMalformed:
		m.drop(n)
	case known || m.has(n) || in.mayAdd(list, in.t.findName(n), n):
		m.keep(n)
	}
}

// note counts a refusal, and keeps it for In.Refused.
func (in *In) note(list *pathList, n *name, attr attrID, why Reason) {
	list.counters.Refused[why]++
	if list.refused.most == 0 {
		return
	}
	var a Attrs
	if attr != 0 {
		a = in.t.attrs.view(attr)
	}
	list.refused.keep(n, why, a)
}

// reach takes in what a list of an UPDATE announces.
func (in *In) reach(u *wire.Update, l *wire.List, nh wire.NextHop) {
	if familyIndex(l.Family) >= evpnFamily {
		in.reachKeyed(u, l, nh)
		return
	}
	t := in.t
	o := in.offer(u, nh)
	defer in.done(&o)
	if o.why != 0 {
		in.refuse(l, o.attr, o.why)
		return
	}
	list := in.listOf(l.Family)
	c := &list.counters
	var n name
	var err error
	for n.NLRI, err = range l.All() {
		if err != nil {
			c.Refused[ReasonNotUnicast]++
			continue
		}
		c.Announced++
		in.announce(list, &n, o.attr, o.received)
		if list.limit.ended() {
			return
		}
		if t.pause(int(c.Announced), nlriAtOnce); in.closed {
			return
		}
	}
}

// reachKeyed is reach for NLRI with keys: what of a route does not name it is part of its attributes, so that an
// UPDATE has as many sets as there are of these, but all on one base.
func (in *In) reachKeyed(u *wire.Update, l *wire.List, nh wire.NextHop) {
	list := in.listOf(l.Family)
	c := &list.counters
	n := in.t.nameKeyed()
	var restRoom, lastRoom [32]byte // what types 1 to 5 need; others have no rest
	rest, last := restRoom[:0], lastRoom[:0]
	o := in.offer(u, nh)
	defer in.done(&o)
	s := &in.t.attrs
	var attr attrID // what o.received makes with last, with a reference; 0: none yet
	defer func() {
		if attr != 0 {
			s.release(attr)
		}
	}()
	for k, err := range l.Keyed() {
		if c.Announced++; !n.setKeyed(&k) {
			c.Refused[ReasonMalformed]++
			continue
		}
		if rest = k.AppendRest(rest[:0]); attr == 0 || string(rest) != string(last) {
			next := s.with(o.received, rest, nil)
			if attr != 0 {
				s.release(attr)
			}
			attr, last = next, append(last[:0], rest...)
		}
		switch {
		case err != nil:
			in.refuseOne(list, &n, 0, ReasonMalformed)
		case o.why != 0:
			in.refuseOne(list, &n, o.attr, o.why)
		default:
			in.announce(list, &n, o.attr, attr)
		}
		if list.limit.ended() {
			return
		}
		if in.t.pause(int(c.Announced), nlriAtOnce); in.closed {
			return
		}
	}
}

// offer is a set of attributes that a peer announces routes with.
type offer struct {
	attr     attrID // as it came, with a reference; 0: none
	received attrID // what eBGP makes of it; of iBGP attr
	why      Reason // why no route may have it, 0 if it may
	external bool   // received has a reference of its own
}

// offer enters the attributes of an UPDATE, with a next hop. The caller calls
// done when it has taken in the routes.
func (in *In) offer(u *wire.Update, nh wire.NextHop) offer {
	t := in.t
	octets := []byte(u.AppendAttrs(t.octets[:0]))
	at := len(octets)
	octets = appendTail(octets, nh)
	t.octets = octets[:0]
	attr := t.attrs.intern(octets, at)
	why := in.refusal(attr)
	// RFC 4271, Section 6.3, of NEXT_HOP: "It MUST NOT be the IP address of the receiving
	// speaker."
	switch {
	case why != 0:
	case (nh.Addr == in.own[0] || nh.Addr == in.own[1]) && nh.Addr.IsValid():
		why = ReasonOwnNextHop
	case nh.Addr.IsLinkLocalUnicast() && nh.Addr.Is6() && !in.addr.IsLinkLocalUnicast():
		why = ReasonLinkLocalNextHop
	case in.external:
		why = in.refusalExternal(attr)
	}
	o := offer{attr: attr, received: attr, why: why}
	if in.external && why == 0 {
		o.received, o.external = in.received(attr), true
	}
	return o
}

// done gives up an offer.
func (in *In) done(o *offer) {
	if o.attr == 0 {
		return
	}
	s := &in.t.attrs
	if o.external {
		s.release(o.received)
	}
	if in.imports != nil && !in.closed {
		s.keep(o.attr, in.t.paths.n)
	}
	s.release(o.attr)
	o.attr = 0
}

// announce takes in one path of a set that may be used. The set attr was made of root, or is.
func (in *In) announce(list *pathList, n *name, root, attr attrID) {
	t := in.t
	if in.imports == nil {
		t.attrs.retain(attr)
	} else {
		r := t.begin(in, n, root, attr)
		verdict := in.imports(r)
		if attr = r.attr; verdict == VerdictReject {
			t.attrs.release(attr)
			in.refuseOne(list, n, root, r.why)
			return
		}
	}
	if in.external && t.attrs.sum(attr).marks&markShutdown != 0 {
		last := t.attrs.setUint32(root, attr, wire.AttrLocalPref, 0)
		t.attrs.release(attr)
		attr = last
	}
	switch why := in.accept(n, attr); why {
	case 0:
		list.refused.drop(n)
	case ReasonOverLimit:
		in.note(list, n, root, why)
	default:
		in.refuseOne(list, n, root, why)
	}
}

// refusal returns why no path with these attributes may be used, 0 if it may. RFC 4456,
// Section 8: a router "SHOULD ignore a route received with its BGP Identifier as the
// ORIGINATOR_ID. If the local CLUSTER_ID is found in the CLUSTER_LIST, the advertisement
// received SHOULD be ignored."
func (in *In) refusal(attr attrID) Reason {
	a := in.t.attrs.sum(attr)
	switch {
	case a.marks&(markLoopAS|markLoopOriginator|markLoopCluster) == 0:
		return 0
	case a.marks&markLoopOriginator != 0:
		return ReasonOriginatorLoop
	case a.marks&markLoopCluster != 0:
		return ReasonClusterLoop
	case in.ownAS > 0 && in.t.attrs.view(attr).ASPath().Count(in.t.as) <= in.ownAS:
		return 0
	}
	return ReasonASLoop
}

func trailingOnes(w uint64) int { return bits.TrailingZeros64(^w) }
