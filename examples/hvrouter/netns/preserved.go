package netns

import (
	"iter"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// preserved is what the kernel has of an earlier run, by table and family. The F bits that
// our OPENs carry after a restart say what it says: forwarding state is preserved if there
// is any (RFC 4724, Section 3).
type preserved map[uint32]preservedTable

type preservedTable struct {
	routes     wire.FamilySet // that forward
	lastResort wire.FamilySet // that end a lookup: an earlier run was here
}

// preservedBy returns what the routes say, before anything is desired.
func preservedBy(routes iter.Seq[fib.RouteStatus]) preserved {
	k := preserved{}
	for r := range routes {
		if r.State != fib.StateStale {
			continue
		}
		t, f := k[r.Table], wire.IPv4Unicast
		if r.Prefix.Addr().Is6() {
			f = wire.IPv6Unicast
		}
		if forwards := r.Type == fib.RouteUnicast || r.Type == 0; forwards && !r.Persistent {
			t.routes = t.routes.With(f)
		} else {
			t.lastResort = t.lastResort.With(f)
		}
		k[r.Table] = t
	}
	return k
}

// any reports whether any route is left that forwards.
func (k preserved) any() bool {
	for _, t := range k {
		if t.routes != 0 {
			return true
		}
	}
	return false
}

// families returns the families whose state is preserved in the tables of all of these
// domains, which share sessions, as far as they carry the family. A table that has nothing
// but its routes of last resort had nothing to lose.
func (k preserved) families(domains []config.Domain, carries func(config.Domain) (v4, v6 bool)) (list []wire.Family) {
	for i, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		some, all := false, true
		for _, d := range domains {
			if v4, v6 := carries(d); i == 0 && !v4 || i == 1 && !v6 {
				continue
			}
			t := k[d.Table.ID]
			some = some || t.routes.Has(f)
			all = all && (t.routes.Has(f) || t.lastResort.Has(f))
		}
		if some && all {
			list = append(list, f)
		}
	}
	return list
}
