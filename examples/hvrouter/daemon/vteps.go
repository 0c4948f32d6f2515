package daemon

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// vteps are the VTEPs that overlays flood to: host routes of the domains within the prefixes that
// overlays name.
type vteps struct {
	overlays []config.Overlay
	known    map[vtep]bool
	changed  bool // since the last list
}

// vtep is a VTEP to which a domain has a host route.
type vtep struct {
	addr   netip.Addr
	domain string // "": an earlier run had it, and has left its route in the kernel
}

// note takes whether BGP has a prefix in a domain. Of the prefixes that domains on one session
// announce each domain hears; those of others have no paths for it.
func (v *vteps) note(domain string, p netip.Prefix, has bool) {
	one := vtep{p.Addr(), domain}
	if has == v.known[one] || !p.IsSingleIP() || !v.floodsTo(one.addr) {
		return
	}
	if has {
		v.add(one)
	} else {
		delete(v.known, one)
	}
	v.changed = true
}

func (v *vteps) add(one vtep) {
	if v.known == nil {
		v.known = map[vtep]bool{}
	}
	v.known[one] = true
}

// floodsTo reports whether an overlay takes an address for a VTEP if there is a route to it.
func (v *vteps) floodsTo(a netip.Addr) bool {
	return slices.ContainsFunc(v.overlays, func(o config.Overlay) bool { return o.VTEPs.IsValid() && o.VTEPs.Contains(a) })
}

// configure takes the overlays of another configuration. What the domains have is to come
// again.
func (v *vteps) configure(overlays []config.Overlay) {
	v.overlays = overlays
	maps.DeleteFunc(v.known, func(one vtep, _ bool) bool { return one.domain != "" || !v.floodsTo(one.addr) })
}

// adopt takes over VTEPs to which an earlier run left routes in the kernel: the flood lists have
// them, as the kernel has the routes, until the sweep.
func (v *vteps) adopt(routes iter.Seq[fib.RouteStatus]) {
	for s := range routes {
		if a := s.Prefix.Addr(); s.State == fib.StateStale && s.Prefix.IsSingleIP() && !s.Persistent && v.floodsTo(a) {
			v.add(vtep{a, ""})
		}
	}
}

// disown drops what adopt took over, and reports whether there was any: what stays BGP has
// announced again.
func (v *vteps) disown() bool {
	before := len(v.known)
	maps.DeleteFunc(v.known, func(one vtep, _ bool) bool { return one.domain == "" })
	return len(v.known) != before
}

// list returns the VTEPs, sorted, each once.
func (v *vteps) list() []netip.Addr {
	v.changed = false
	list := make([]netip.Addr, 0, len(v.known))
	for one := range v.known {
		list = append(list, one.addr)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}
