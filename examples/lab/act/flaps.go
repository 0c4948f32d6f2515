package act

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

// flaps notes the BFD sessions of HV1 and of the reflectors, by name of the
// daemon, where those can tell.
func (s *Stage) flaps() map[string]world.Flaps {
	out := map[string]world.Flaps{}
	for _, d := range append(s.World.Reflectors(), s.World.Daemon(plan.HVName(1))) {
		if f, ok := d.Flaps(); ok {
			out[d.Name] = f
		}
	}
	return out
}

// ofHV1 says whether the name of a BFD session has one of HV1's addresses in it.
func (s *Stage) ofHV1(session string) bool {
	name, _, _ := strings.Cut(session, " (")
	name = strings.ReplaceAll(strings.ReplaceAll(name, "%", " "), "->", " ")
	for _, f := range plan.Fabrics {
		for _, a := range []netip.Addr{plan.HVPublic4(1, f), plan.HVPublic6(1, f), plan.HVPrivate4(1, f)} {
			if slices.Contains(strings.Fields(name), a.String()) {
				return true
			}
		}
	}
	return false
}

// flapped records how many of HV1's BFD sessions changed since before.
func (s *Stage) flapped(before map[string]world.Flaps, limit float64) {
	count := 0
	var why strings.Builder
	now := s.flaps()
	for name, was := range before {
		changed := now[name].Since(was)
		changed = slices.DeleteFunc(changed, func(session string) bool { return !s.ofHV1(session) })
		count += len(changed)
		if len(changed) > 0 {
			fmt.Fprintf(&why, "%s: %s\n", name, strings.Join(changed, ", "))
		}
	}
	s.value("BFD flaps", float64(count), limit, "", "HV1's sessions, seen from both ends", why.String())
}
