package show

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// ExplainMAC says where a MAC of an overlay should be, why each route for it won or lost, and what is advertised to each
// peer. The overlay imports what has one of the targets.
func ExplainMAC(name string, targets []config.RouteTarget, p overlay.Place, peers []sessions.Peer) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	ours := slices.IndexFunc(p.Routes, func(l overlay.Listed) bool { return l.Guest != "" })
	switch {
	case p.VTEP.IsValid():
		say("%s: wanted behind VTEP %v", name, p.VTEP)
	case p.Port != "" && !p.Settled:
		say("%s: guest %s is here, at %s; where its MAC is wanted is decided when the sessions have said everything", name, p.Routes[ours].Guest, p.Port)
	case p.Port != "":
		say("%s: wanted at %s, of guest %s", name, p.Port, p.Routes[ours].Guest)
	default:
		say("%s: wanted nowhere: no VTEP announces it, and no guest that is here has it", name)
	}
	for _, l := range p.Routes {
		say("  route %s", routeText(l))
	}
	for _, peer := range peers {
		withheld := ""
		if ours >= 0 {
			withheld = p.Routes[ours].Why
		}
		say("  peer %v (fabric %s): %s%s", peer.Reflector.Peer, peer.Reflector.Fabric, advertisedMAC(ours >= 0, len(p.Routes) > 0, withheld, peer), asked(targets, peer))
	}
	return lines
}

// asked says what of an overlay a peer is asked for that sends no more than that; "" for one that sends everything.
func asked(targets []config.RouteTarget, peer sessions.Peer) string {
	if n := peer.Status.Negotiated; n == nil || !n.Families.Has(wire.RTConstrain) {
		return ""
	}
	var words []string
	for _, t := range targets {
		if slices.Contains(peer.Asked, t.ExtCommunity) {
			words = append(words, t.String())
		}
	}
	if len(words) == 0 {
		return "; asked for nothing of the overlay"
	}
	return "; asked for " + strings.Join(words, ", ")
}

// routeText says what a route of type 2 says, whose it is, and how it stands.
func routeText(l overlay.Listed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %s: VTEP %v, sequence %d", l.RD, carries(l.Route), l.VTEP, l.Mobility.Sequence)
	if l.Mobility.Sticky {
		b.WriteString(", sticky")
	}
	if l.Guest != "" {
		fmt.Fprintf(&b, ", of guest %s", l.Guest)
	} else {
		fmt.Fprintf(&b, ", from %v", l.Peer)
	}
	b.WriteString(": " + l.State)
	switch {
	case l.Why != "":
		b.WriteString(": " + l.Why)
	case l.State == "used":
		b.WriteString(": the best")
	}
	return b.String()
}

// carries says what of a guest is in a route of type 2.
func carries(r evpn.Route) string {
	if r.IP.IsValid() {
		return r.IP.String()
	}
	return "the MAC alone"
}

// advertisedMAC says what of a MAC a peer gets, or why it gets nothing. ours reports that a guest of ours has it, known
// that anybody announces it, and withheld is why it is not announced, if so.
func advertisedMAC(ours, known bool, withheld string, peer sessions.Peer) string {
	st := peer.Status
	switch {
	case st.State != bgp.Established:
		return notEstablished(st)
	case len(peer.Adverts) > 0:
		var words []string
		for _, a := range peer.Adverts {
			if r, err := evpn.Parse(a.Attrs.EVPN(a.Key).Octets); err == nil {
				words = append(words, carries(r))
			}
		}
		slices.Sort(words)
		return "advertised: " + strings.Join(words, ", ")
	case !known:
		return "not advertised: nobody has announced it"
	case !ours:
		return "not advertised: it is not ours; what peers announce is not passed on"
	case !slices.ContainsFunc(st.Families, func(f bgp.FamilyStatus) bool { return f.Family == wire.L2VPNEVPN }):
		return fmt.Sprintf("not advertised: the session has no %v", wire.L2VPNEVPN)
	case withheld != "":
		return "not advertised: " + withheld
	}
	return "not advertised: no route is exported to it"
}
