package fibcore

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Checking what the user says, and making canonical keys and contents of it.

// pack checks a key and returns its compact form, and what all routes of its table and
// family share.
func (c *Core) pack(k wire.RouteKey) (rkey, tableFamily, error) {
	k.Table = cmp.Or(k.Table, rtnl.RT_TABLE_MAIN)
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
	tf := tableFamily{k.Table, wire.FamilyOf(addr)}
	if tf.family == wire.FamilyIPv6 {
		k.Metric = cmp.Or(k.Metric, metricIPv6)
	}
	t, ok := c.tables.of(tf)
	if !ok {
		return rkey{}, tf, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "more than 65535 tables"}
	}
	key := rkey{metric: k.Metric, table: t, bits: uint8(k.Prefix.Bits()), tos: k.TOS}
	key.hi, key.lo = wire.PackAddr(addr)
	return key, tf, nil
}

// unpack is the reverse of pack.
func (c *Core) unpack(k *rkey) wire.RouteKey {
	tf := c.tables.list[k.table]
	return wire.RouteKey{Table: tf.table, Prefix: netip.PrefixFrom(wire.UnpackAddr(k.hi, k.lo, tf.family), int(k.bits)), TOS: k.tos, Metric: k.metric}
}

// wantOf checks r and interns its content.
func (c *Core) wantOf(r *Route, family wire.Family) (*want, error) {
	last := &c.lastWnt
	if last.w != nil && last.w.refs > 0 && last.w.Family == family && sameContent(r, &last.r) && slices.Equal(r.NextHops, last.hops) {
		return last.w, nil
	}
	f := wire.Facts{Family: family, Type: cmp.Or(r.Type, wire.RouteUnicast), Protocol: c.config.Protocol, PrefSrc: r.PrefSrc, MTU: r.MTU, AdvMSS: r.AdvMSS}
	if r.Persistent {
		f.Protocol = c.config.PersistentProtocol
	}
	if err := c.nextHopsOf(r, &f); err != nil {
		return nil, err
	}
	f.Scope = scopeOf(r, &f, c.hopScratch)
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
func (c *Core) nextHopsOf(r *Route, f *wire.Facts) error {
	c.hopScratch = c.hopScratch[:0]
	switch {
	case f.Type > wire.RouteThrow:
		return invalid("route type")
	case f.Type >= wire.RouteBlackhole && len(r.NextHops) > 0:
		return invalid("a route of this type has no next hops")
	case f.Type < wire.RouteBlackhole && len(r.NextHops) == 0:
		return invalid("no next hops")
	case r.PrefSrc.IsValid() && wire.FamilyOf(r.PrefSrc) != f.Family:
		return invalid("preferred source of another family")
	}
	for _, h := range r.NextHops {
		switch {
		case h.IfIndex <= 0 || h.IfIndex > 1<<31-1:
			return invalid("next hop without link")
		case h.Weight > 256:
			return invalid("weight over 256")
		case h.Gateway.IsValid() && f.Family == wire.FamilyIPv6 && h.Gateway.Is4():
			return invalid("IPv6 over an IPv4 gateway")
		case h.Gateway.Is4In6():
			return invalid("IPv4-mapped gateway")
		}
		c.hopScratch = append(c.hopScratch, wire.NextHop{Gateway: h.Gateway.WithZone(""), IfIndex: int32(c.linkIndex(h.IfIndex)), Weight: cmp.Or(h.Weight, 1), OnLink: h.OnLink})
	}
	slices.SortFunc(c.hopScratch, wire.CompareNextHops)
	c.hopScratch = slices.Compact(c.hopScratch)
	if r.Buckets != 0 && int(r.Buckets) < len(c.hopScratch) {
		return invalid("fewer buckets than nextHops")
	}
	return nil
}

func scopeOf(r *Route, f *wire.Facts, nextHops []wire.NextHop) uint8 {
	switch {
	case f.Family == wire.FamilyIPv6:
		return 0
	case r.Scope != wire.ScopeAuto:
		return r.Scope.Kernel()
	case f.Type == wire.RouteLocal:
		return uint8(wire.ScopeHost)
	case f.Type == wire.RouteBroadcast || f.Type == wire.RouteMulticast || f.Type == wire.RouteAnycast:
		return uint8(wire.ScopeLink)
	case f.Type != wire.RouteUnicast:
		return 0
	}
	for _, l := range nextHops {
		if l.Gateway.IsValid() {
			return 0
		}
	}
	return uint8(wire.ScopeLink)
}

type invalidError string

func invalid(s string) error { return invalidError(s) }

func (e invalidError) Error() string        { return "invalid: " + string(e) }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }
