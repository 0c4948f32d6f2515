package fibcore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// contents are what routes say: as desired, in wants, and in the kernel's terms, in forms.
type contents struct {
	env      *env
	links    *links
	nexthops *nexthops

	intern    intern
	formLimit int            // when to look for forms to forget
	scratch   []wire.NextHop // of nextHopsOf
	last      struct {       // one-entry cache of wantOf
		hops []NextHop
		r    Route
		w    *want
	}
}

// wantOf checks r and interns its content.
func (c *contents) wantOf(r *Route, family wire.Family) (*want, error) {
	last := &c.last
	if last.w != nil && last.w.refs > 0 && last.w.Family == family && sameContent(r, &last.r) && slices.Equal(r.NextHops, last.hops) {
		return last.w, nil
	}
	f := wire.Facts{Family: family, Type: cmp.Or(r.Type, wire.RouteUnicast), Protocol: c.env.config.Protocol, PrefSrc: r.PrefSrc, MTU: r.MTU, AdvMSS: r.AdvMSS}
	if r.Persistent {
		f.Protocol = c.env.config.PersistentProtocol
	}
	if err := c.nextHopsOf(r, &f); err != nil {
		return nil, err
	}
	f.Scope = scopeOf(r, &f, c.scratch)
	buckets := r.Buckets
	if len(c.scratch) < 2 {
		buckets = 0
	}
	w := c.intern.want(&f, c.scratch, buckets, r.RTAMultipath || c.env.config.RTAMultipath)
	if w.refs == 0 {
		c.resolve(w)
		w.changed = false // nobody to tell
	}
	last.r, last.w = *r, w
	last.r.NextHops = nil
	last.hops = append(last.hops[:0], r.NextHops...)
	return w, nil
}

// nextHopsOf checks the next hops of r and leaves their canonical form in c.scratch.
func (c *contents) nextHopsOf(r *Route, f *wire.Facts) error {
	c.scratch = c.scratch[:0]
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
		c.scratch = append(c.scratch, wire.NextHop{Gateway: h.Gateway.WithZone(""), IfIndex: int32(c.links.linkIndex(h.IfIndex)), Weight: cmp.Or(h.Weight, 1), OnLink: h.OnLink})
	}
	slices.SortFunc(c.scratch, wire.CompareNextHops)
	c.scratch = slices.Compact(c.scratch)
	if r.Buckets != 0 && int(r.Buckets) < len(c.scratch) {
		return invalid("fewer buckets than nextHops")
	}
	return nil
}

func (c *contents) dropWant(w *want) {
	c.intern.drop(w)
	if c.last.w == w {
		c.last.w = nil
	}
	if g := w.group; g != nil {
		delete(g.users, w)
		if g.wants--; g.wants <= 0 {
			c.nexthops.drop(g)
		}
	}
}

// forgetForms removes forms of a next-hop id that is no more.
func (c *contents) forgetForms(id uint32) {
	for f := range c.intern.formsOf[id] {
		if f.refs == 0 {
			c.intern.forget(f)
		}
	}
}

// trim forgets forms that nobody has and nobody wants, when there are many more
// than were in use the last time.
func (c *contents) trim() {
	if len(c.intern.forms) < c.formLimit {
		return
	}
	wanted := map[*form]bool{}
	for _, w := range c.intern.wants {
		wanted[w.form] = true
	}
	for _, f := range c.intern.forms {
		if f.refs == 0 && !wanted[f] {
			c.intern.forget(f)
		}
	}
	c.formLimit = 2*len(c.intern.forms) + 1024
}

func (c *contents) describeForm(f *form) string {
	switch {
	case f == nil:
		return ""
	case f == needsDump:
		return "unknown"
	case f.nhid == 0:
		return c.describe(&f.Facts, f.nextHops)
	}
	s := c.describe(&f.Facts, nil) + fmt.Sprintf(" nhid %#x", f.nhid)
	if f.group != nil {
		for _, m := range f.group.members {
			if b := c.nexthops.byID[m.ID]; b != nil {
				s += fmt.Sprintf(" via %v dev %s", b.key.gateway, c.links.linkName(b.key.link))
			}
		}
	}
	return s
}

func (c *contents) describe(f *wire.Facts, nextHops []wire.NextHop) string {
	var b strings.Builder
	b.WriteString(f.Type.String())
	for _, l := range nextHops {
		if l.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.Gateway)
		}
		fmt.Fprintf(&b, " dev %s", c.links.linkName(l.IfIndex))
		if l.OnLink {
			b.WriteString(" onlink")
		}
		if l.Weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.Weight)
		}
	}
	if f.PrefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", f.PrefSrc)
	}
	if f.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", f.MTU)
	}
	if f.AdvMSS != 0 {
		fmt.Fprintf(&b, " advmss %d", f.AdvMSS)
	}
	return b.String()
}

// gatewayList lists the gateways of all desired routes with several next hops, sorted.
func (c *contents) gatewayList() []Gateway {
	in := &c.intern
	if in.sorted == nil {
		in.sorted = slices.SortedFunc(maps.Keys(in.gateways), func(a, b gatewayKey) int {
			return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Gateway.Compare(b.Gateway))
		})
	}
	list := make([]Gateway, len(in.sorted))
	for i, k := range in.sorted {
		list[i] = Gateway{int(k.IfIndex), k.Gateway, len(c.nexthops.down) > 0 && c.nexthops.down[k]}
	}
	return list
}

func (c *contents) formSeen(m *wire.RouteMessage) *form {
	nextHops := m.NextHops
	if m.NextHopID != 0 {
		nextHops = nil
	}
	return c.intern.form(&m.Facts, m.NextHopID, nextHops, m.Unknown)
}

func sameContent(a, b *Route) bool {
	return a.Type == b.Type && a.PrefSrc == b.PrefSrc && a.Scope == b.Scope && a.MTU == b.MTU &&
		a.AdvMSS == b.AdvMSS && a.Buckets == b.Buckets && a.Persistent == b.Persistent && a.RTAMultipath == b.RTAMultipath
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
