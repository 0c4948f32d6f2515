package rib

import (
	"math/bits"
	"net/netip"

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
			in.refuse(l, ReasonMalformed)
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
		c := &list.counters
		for n, err := range l.All() {
			if err == nil {
				c.Withdrawn++
				in.withdraw(n)
				list.limit.drop(n)
				in.t.pause(int(c.Withdrawn), nlriAtOnce)
			}
		}
	}
}

// refuse refuses what a list announces.
func (in *In) refuse(l *wire.List, why Reason) {
	list := in.listOf(l.Family)
	for n, err := range l.All() {
		if err != nil {
			continue
		}
		list.counters.Announced++
		if in.refuseOne(list, n, why); list.limit.ended() {
			return
		}
		in.t.pause(int(list.counters.Announced), nlriAtOnce)
	}
}

// refuseOne refuses one announcement: what the peer offered before under its name is gone. What
// is malformed has been withdrawn, so that it does not count (RFC 7606, Section 2).
func (in *In) refuseOne(list *pathList, n wire.NLRI, why Reason) {
	list.counters.Refused[why]++
	known := in.withdraw(n)
	m := &list.limit
	switch {
	case !m.active():
	case why == ReasonMalformed:
		m.drop(n)
	case known || m.has(n) || in.mayAdd(list, in.t.find(n.Prefix), n.Prefix):
		m.keep(n)
	}
}

// reach takes in what a list of an UPDATE announces.
func (in *In) reach(u *wire.Update, l *wire.List, nh wire.NextHop) {
	t := in.t
	octets := []byte(u.AppendAttrs(t.octets[:0]))
	at := len(octets)
	octets = appendNextHop(octets, nh)
	t.octets = octets[:0]
	attr := t.attrs.intern(octets, at)
	defer func() {
		if in.imports != nil && !in.closed {
			t.attrs.keep(attr, t.paths.n)
		}
		t.attrs.release(attr)
	}()
	why := in.refusal(t.attrs.at(attr))
	// RFC 4271, Section 6.3, of NEXT_HOP: "It MUST NOT be the IP address of the receiving
	// speaker."
	switch {
	case why != 0:
	case (nh.Addr == in.own[0] || nh.Addr == in.own[1]) && nh.Addr.IsValid():
		why = ReasonOwnNextHop
	case nh.Addr.IsLinkLocalUnicast() && nh.Addr.Is6() && !in.addr.IsLinkLocalUnicast():
		why = ReasonLinkLocalNextHop
	case in.external:
		why = in.refusalExternal(t.attrs.at(attr))
	}
	if why != 0 {
		in.refuse(l, why)
		return
	}
	received := attr
	if in.external {
		received = in.received(attr)
		defer t.attrs.release(received)
	}
	list := in.listOf(l.Family)
	c := &list.counters
	for n, err := range l.All() {
		if err != nil {
			c.Refused[ReasonNotUnicast]++
			continue
		}
		c.Announced++
		in.announce(list, n, attr, received)
		if list.limit.ended() {
			return
		}
		if t.pause(int(c.Announced), nlriAtOnce); in.closed {
			return
		}
	}
}

// announce takes in one path of a set that may be used. The set attr was made of root, or is.
func (in *In) announce(list *pathList, n wire.NLRI, root, attr attrID) {
	t := in.t
	if in.imports == nil {
		t.attrs.retain(attr)
	} else {
		r := t.begin(in, n.Prefix, n.PathID, root, attr)
		verdict := in.imports(r)
		if attr = r.attr; verdict == VerdictReject {
			t.attrs.release(attr)
			in.refuseOne(list, n, r.why)
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
	case ReasonOverLimit:
		list.counters.Refused[why]++
	default:
		in.refuseOne(list, n, why)
	}
}

// refusal returns why no path with these attributes may be used, 0 if it may. RFC 4456,
// Section 8: a router "SHOULD ignore a route received with its BGP Identifier as the
// ORIGINATOR_ID. If the local CLUSTER_ID is found in the CLUSTER_LIST, the advertisement
// received SHOULD be ignored."
func (in *In) refusal(a *attrSet) Reason {
	switch {
	case a.marks&(markLoopAS|markLoopOriginator|markLoopCluster) == 0:
		return 0
	case a.marks&markLoopOriginator != 0:
		return ReasonOriginatorLoop
	case a.marks&markLoopCluster != 0:
		return ReasonClusterLoop
	case in.ownAS > 0 && a.view().ASPath().Count(in.t.as) <= in.ownAS:
		return 0
	}
	return ReasonASLoop
}

func familyNo(p netip.Prefix) wire.Family {
	if p.Addr().Is4() {
		return wire.IPv4Unicast
	}
	return wire.IPv6Unicast
}

func trailingOnes(w uint64) int { return bits.TrailingZeros64(^w) }
