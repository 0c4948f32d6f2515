package fib

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Checking what the user says, and making canonical keys and contents of it.

// pack checks a key and returns its compact form, and what all routes of its table and
// family share.
func (c *core) pack(k RouteKey) (rkey, tableFamily, error) {
	k.Table = or(k.Table, rtnl.RT_TABLE_MAIN)
	addr := k.Prefix.Addr()
	switch {
	case !k.Prefix.IsValid() || addr.Is4In6() || addr.Zone() != "":
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "prefix"}
	case k.Prefix.Masked() != k.Prefix:
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "host bits are set"}
	case !c.owns(k.Table):
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrTable}
	case k.TOS != 0 && !addr.Is4():
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "IPv6 has no TOS"}
	}
	tf := tableFamily{k.Table, familyOf(addr)}
	if tf.family == FamilyIPv6 {
		k.Metric = or(k.Metric, metricIPv6)
	}
	t, ok := c.tables.of(tf)
	if !ok {
		return rkey{}, tf, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "more than 65535 tables"}
	}
	key := rkey{metric: k.Metric, table: t, bits: uint8(k.Prefix.Bits()), tos: k.TOS}
	key.hi, key.lo = packAddr(addr)
	return key, tf, nil
}

// unpack is the reverse of pack.
func (c *core) unpack(k *rkey) RouteKey {
	tf := c.tables.list[k.table]
	return RouteKey{Table: tf.table, Prefix: netip.PrefixFrom(unpackAddr(k.hi, k.lo, tf.family), int(k.bits)), TOS: k.tos, Metric: k.metric}
}

// wantOf checks r and interns its content.
func (c *core) wantOf(r *Route, family Family) (*want, error) {
	last := &c.lastWnt
	if last.w != nil && last.w.refs > 0 && last.w.family == family && sameContent(r, &last.r) && slices.Equal(r.NextHops, last.hops) {
		return last.w, nil
	}
	f := facts{family: family, typ: or(r.Type, RouteUnicast), proto: c.config.Protocol, prefSrc: r.PrefSrc, mtu: r.MTU, advMSS: r.AdvMSS}
	if r.Persistent {
		f.proto = c.config.PersistentProtocol
	}
	if err := c.nextHopsOf(r, &f); err != nil {
		return nil, err
	}
	f.scope = scopeOf(r, &f, c.hopScratch)
	buckets := r.Buckets
	if len(c.hopScratch) < 2 {
		buckets = 0
	}
	w := c.intern.want(&f, c.hopScratch, buckets, r.RTAMultipath || c.config.RTAMultipath)
	if w.refs == 0 {
		c.resolve(w)
		w.changed = false // nobody to tell
	}
	last.r, last.w = *r, w
	last.r.NextHops = nil
	last.hops = append(last.hops[:0], r.NextHops...)
	return w, nil
}

func sameContent(a, b *Route) bool {
	return a.Type == b.Type && a.PrefSrc == b.PrefSrc && a.Scope == b.Scope && a.MTU == b.MTU &&
		a.AdvMSS == b.AdvMSS && a.Buckets == b.Buckets && a.Persistent == b.Persistent && a.RTAMultipath == b.RTAMultipath
}

// nextHopsOf checks the next hops of r and leaves their canonical form in c.hopScratch.
func (c *core) nextHopsOf(r *Route, f *facts) error {
	c.hopScratch = c.hopScratch[:0]
	switch {
	case f.typ > RouteThrow:
		return invalid("route type")
	case f.typ >= RouteBlackhole && len(r.NextHops) > 0:
		return invalid("a route of this type has no next hops")
	case f.typ < RouteBlackhole && len(r.NextHops) == 0:
		return invalid("no next hops")
	case r.PrefSrc.IsValid() && familyOf(r.PrefSrc) != f.family:
		return invalid("preferred source of another family")
	}
	for _, h := range r.NextHops {
		switch {
		case h.IfIndex <= 0 || h.IfIndex > 1<<31-1:
			return invalid("next hop without link")
		case h.Weight > 256:
			return invalid("weight over 256")
		case h.Gateway.IsValid() && f.family == FamilyIPv6 && h.Gateway.Is4():
			return invalid("IPv6 over an IPv4 gateway")
		case h.Gateway.Is4In6():
			return invalid("IPv4-mapped gateway")
		}
		c.hopScratch = append(c.hopScratch, nextHop{h.Gateway.WithZone(""), int32(c.linkIndex(h.IfIndex)), or(h.Weight, 1), h.OnLink})
	}
	slices.SortFunc(c.hopScratch, compareNextHops)
	c.hopScratch = slices.Compact(c.hopScratch)
	if r.Buckets != 0 && int(r.Buckets) < len(c.hopScratch) {
		return invalid("fewer buckets than nextHops")
	}
	return nil
}

func scopeOf(r *Route, f *facts, nextHops []nextHop) uint8 {
	switch {
	case f.family == FamilyIPv6:
		return 0
	case r.Scope != ScopeAuto:
		return r.Scope.kernel()
	case f.typ == RouteLocal:
		return uint8(ScopeHost)
	case f.typ == RouteBroadcast || f.typ == RouteMulticast || f.typ == RouteAnycast:
		return uint8(ScopeLink)
	case f.typ != RouteUnicast:
		return 0
	}
	for _, l := range nextHops {
		if l.gateway.IsValid() {
			return 0
		}
	}
	return uint8(ScopeLink)
}

type invalidError string

func invalid(s string) error { return invalidError(s) }

func (e invalidError) Error() string        { return "invalid: " + string(e) }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }
