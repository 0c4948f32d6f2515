package rib

import (
	"math/bits"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Update takes in an UPDATE that was parsed without an error, or with one whose
// disposition is attribute discard: what it withdraws, then what it announces. End-of-RIB
// is not looked for: see [In.EndOfRIB]. It returns nil or a [*LimitError]; what the
// message announced up to the limit has then been taken in.
//
// u is not kept.
func (in *In) Update(u *wire.Update) error {
	t := in.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.closed {
		return nil
	}
	in.unreach(u)
	if u.MPReach.Empty() && u.NLRI.Empty() {
		return nil
	}
	if !u.MPReach.Empty() {
		if err := in.reach(u, &u.MPReach, u.MPNextHop); err != nil {
			return err
		}
	}
	if u.NLRI.Empty() {
		return nil
	}
	return in.reach(u, &u.NLRI, u.NextHop)
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
			in.refuse(l, Malformed)
		}
	}
}

func (in *In) unreach(u *wire.Update) {
	for _, l := range [...]*wire.List{&u.Withdrawn, &u.MPUnreach} {
		if l.Empty() {
			continue
		}
		c := &in.listOf(l.Family).counters
		for n, err := range l.All() {
			if err == nil {
				c.Withdrawn++
				in.withdraw(n.Prefix, n.PathID)
				in.t.pause(int(c.Withdrawn), nlriAtOnce)
			}
		}
	}
}

// refuse withdraws what a list announces.
func (in *In) refuse(l *wire.List, why Reason) {
	c := &in.listOf(l.Family).counters
	for n, err := range l.All() {
		if err != nil {
			continue
		}
		c.Announced++
		c.Refused[why]++
		in.withdraw(n.Prefix, n.PathID)
	}
}

// reach takes in what a list of an UPDATE announces.
func (in *In) reach(u *wire.Update, l *wire.List, nh wire.NextHop) error {
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
	if why == 0 && (nh.Addr == in.own[0] || nh.Addr == in.own[1]) && nh.Addr.IsValid() {
		why = OwnNextHop
	}
	if why != 0 {
		in.refuse(l, why)
		return nil
	}
	list := in.listOf(l.Family)
	c := &list.counters
	for n, err := range l.All() {
		if err != nil {
			c.Refused[NotUnicast]++
			continue
		}
		c.Announced++
		in.announce(n, attr, c)
		if in.max > 0 && list.n > in.max {
			return &LimitError{in.addr, l.Family, in.max}
		}
		if t.pause(int(c.Announced), nlriAtOnce); in.closed {
			return nil
		}
	}
	return nil
}

// announce takes in one path of a set that may be used.
func (in *In) announce(n wire.NLRI, attr attrID, c *Counters) {
	t := in.t
	if t.prefixes.full(familyNo(n.Prefix)) {
		c.Refused[TableFull]++
		return
	}
	if in.imports == nil {
		if !in.accept(n.Prefix, n.PathID, t.attrs.retain(attr)) {
			c.Refused[TooManyPaths]++
		}
		return
	}
	r := t.begin(in, n.Prefix, n.PathID, attr, attr)
	if in.imports(r) == Reject {
		t.attrs.release(r.attr)
		c.Refused[r.why]++
		in.withdraw(n.Prefix, n.PathID)
		return
	}
	if !in.accept(n.Prefix, n.PathID, r.attr) {
		c.Refused[TooManyPaths]++
	}
}

// refusal returns why no path with these attributes may be used, 0 if it may.
func (in *In) refusal(a *attrSet) Reason {
	switch {
	case a.marks&(markLoopAS|markLoopOriginator|markLoopCluster) == 0:
		return 0
	case a.marks&markLoopOriginator != 0:
		return OriginatorLoop
	case a.marks&markLoopCluster != 0:
		return ClusterLoop
	case in.ownAS > 0 && a.view().ASPath().Count(in.t.as) <= in.ownAS:
		return 0
	}
	return ASLoop
}

func familyNo(p netip.Prefix) wire.Family {
	if p.Addr().Is4() {
		return wire.IPv4Unicast
	}
	return wire.IPv6Unicast
}

func trailingOnes(w uint64) int { return bits.TrailingZeros64(^w) }
