package conf

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Communities of the two domains on sessions that they share.
const (
	communityPublic  = "65000:90"
	communityPrivate = "65000:20"
)

// publicSessions is the rest of the public domain's entry: its sessions, or its
// community if it shares them.
func publicSessions(w *writer, n int, t Timing) {
	if t.Shared() {
		w.line("    community: %q", communityPublic)
		return
	}
	if t.Routed(n) {
		hvNeighbors(w, n, false, t)
		return
	}
	w.line("    reflectors:")
	for _, f := range t.Sides() {
		s := hvSession{f: f, device: f.Public(), local: plan.HVPublic4(n, f), peer: plan.RRPublic4(f)}
		six := hvSession{f: f, device: f.Public(), local: plan.HVPublic6(n, f), peer: plan.RRPublic6(f)}
		switch {
		case t.Is("sessions", plan.SessionsMP):
			s.nextHop6 = plan.HVPublic6(n, f)
			s.write(w, t)
			continue
		case t.OneSided():
			s.nextHops = []string{"{fabric: A}", nextHop(plan.B, "", plan.B.Public(), plan.HVPublic4(n, plan.B), netip.Addr{}, plan.RRPublic4(plan.B))}
			six.nextHops = []string{"{fabric: A}", nextHop(plan.B, "", plan.B.Public(), netip.Addr{}, plan.HVPublic6(n, plan.B), plan.RRPublic6(plan.B))}
		}
		s.write(w, t)
		if len(t.families(f)) > 1 {
			six.write(w, t)
		}
	}
}

// privateSessions is the same for the private domain.
func privateSessions(w *writer, n int, t Timing) {
	if t.Shared() {
		w.line("    community: %q", communityPrivate)
		return
	}
	if t.Routed(n) {
		hvNeighbors(w, n, true, t)
		return
	}
	w.line("    reflectors:")
	for _, f := range t.Sides() {
		s := hvSession{f: f, device: f.Private(), local: plan.HVPrivate4(n, f), peer: plan.RRPrivate4(f)}
		if t.OneSided() {
			s.nextHops = []string{"{fabric: A}", nextHop(plan.B, "", plan.B.Private(), plan.HVPrivate4(n, plan.B), netip.Addr{}, plan.RRPrivate4(plan.B))}
		}
		s.write(w, t)
	}
}

// sharedSessions are the sessions that carry both domains and both families.
func sharedSessions(w *writer, n int, t Timing) {
	if !t.Shared() {
		return
	}
	w.line("sessions:")
	for _, f := range t.Sides() {
		s := hvSession{f: f, device: f.Public(), local: plan.HVPublic4(n, f), peer: plan.RRPublic4(f), nextHop6: plan.HVPublic6(n, f)}
		s.nextHops = []string{"{domain: public}", nextHop(f, "private", f.Private(), plan.HVPrivate4(n, f), netip.Addr{}, plan.RRPrivate4(f))}
		if b := plan.B; t.OneSided() {
			s.nextHops = append(s.nextHops, nextHop(b, "public", b.Public(), plan.HVPublic4(n, b), plan.HVPublic6(n, b), plan.RRPublic4(b)),
				nextHop(b, "private", b.Private(), plan.HVPrivate4(n, b), netip.Addr{}, plan.RRPrivate4(b)))
		}
		s.write(w, t)
	}
}

// nextHop is one more next hop that a session announces; probe watches it.
func nextHop(f plan.Fabric, domain, device string, hop4, hop6, probe netip.Addr) string {
	var b strings.Builder
	if domain != "" {
		fmt.Fprintf(&b, "domain: %s, ", domain)
	}
	fmt.Fprintf(&b, "fabric: %s, interface: %s", f, device)
	if hop4.IsValid() {
		fmt.Fprintf(&b, ", next-hop4: %s", hop4)
	}
	if hop6.IsValid() {
		fmt.Fprintf(&b, ", next-hop6: %q", hop6)
	}
	fmt.Fprintf(&b, ", probe: %q", probe)
	return "{" + b.String() + "}"
}

// reflectorNextHops are a reflector's arguments for sessions that announce more next hops than their own:
// which next hops do not share the sessions' fate, and whose probes it answers.
func reflectorNextHops(f plan.Fabric, private bool, t Timing) (args []string) {
	var probes []netip.Prefix
	switch {
	case t.OneSided() && f == plan.A:
		b := plan.B
		args = append(args, "-off-link-prefixes", fmt.Sprintf("%s,%s,%s", plan.Public4(b), plan.Public6(b), plan.Private4(b)))
	case t.OneSided() && private:
		probes = append(probes, plan.Private4(f))
	case t.OneSided():
		probes = append(probes, plan.Public4(f), plan.Public6(f))
	}
	if t.Shared() {
		probes = append(probes, plan.Private4(f))
	}
	if len(probes) > 0 && t.Watched() {
		words := make([]string, len(probes))
		for i, p := range probes {
			words[i] = p.String()
		}
		args = append(args, "-probes", strings.Join(words, ","))
	}
	return args
}

// edgeWays are the edge router's arguments for the same: its next hops on fabric B, and
// the private network's default route, which only a community tells from the public
// one.
func edgeWays(t Timing) (args []string) {
	also := func(format string, a ...any) { args = append(args, "-also", fmt.Sprintf(format, a...)) }
	if t.OneSided() {
		probe := ","
		for _, family := range families {
			if t.Watched() {
				probe = fmt.Sprintf("%s,%s", plan.B.Public(), reflectorPublic(plan.B, family))
			}
			also("%s,%s,,%s", plan.A.Public(), edgePublic(plan.B, family), probe)
		}
	}
	if !t.Shared() {
		return args
	}
	args = append(args, "-community", communityPublic)
	for _, f := range plan.Fabrics {
		device := f.Public()
		if t.OneSided() {
			device = plan.A.Public()
		}
		also("%s,%s,%s,,", device, plan.PrivateGateway(f), communityPrivate)
	}
	return args
}
