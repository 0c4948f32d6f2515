package peering

import (
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// GracefulShutdown is the well-known community GRACEFUL_SHUTDOWN (RFC 8326, Section 5): who
// announces a path with it is about to stop.
const GracefulShutdown = wire.Community(0xffff0000)

// Alternative reports whether one of the paths is another router's, and that router is not about
// to stop. A stale path does not count: it says what was so when its session ended.
func Alternative(paths []rib.Path) bool {
	for i := range paths {
		if p := &paths[i]; !p.Local && !p.Stale && !p.Attrs.Communities().Contains(GracefulShutdown) {
			return true
		}
	}
	return false
}

// Own makes an export policy that announces what originates here, and asks policy then; nil
// accepts. The hypervisor is no transit between two neighbours.
func Own(policy rib.Policy) rib.Policy {
	if policy == nil {
		return own
	}
	return func(r *rib.Route) rib.Verdict {
		if !r.Local() {
			return rib.VerdictReject
		}
		return policy(r)
	}
}

// own is one value: sessions with it share what is encoded for them.
var own rib.Policy = func(r *rib.Route) rib.Verdict {
	if !r.Local() {
		return rib.VerdictReject
	}
	return rib.VerdictAccept
}

// Shutdown makes an export policy that leaves what is announced with GRACEFUL_SHUTDOWN so,
// whatever policy makes of it: with that community and the local preference 0.
func Shutdown(policy rib.Policy) rib.Policy {
	if policy == nil {
		return nil
	}
	return func(r *rib.Route) rib.Verdict {
		shutdown := r.Local() && r.HasCommunity(GracefulShutdown)
		v := policy(r)
		if shutdown {
			r.SetLocalPref(0)
			r.AddCommunity(GracefulShutdown)
		}
		return v
	}
}
