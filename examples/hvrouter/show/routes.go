package show

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

// Domain is a domain to show. Its tables are read while it is shown, and not afterwards.
type Domain struct {
	Name    string
	NetNS   config.NetNS
	RIB     *domain.RIB
	Exports *domain.Exports
	// OffLink counts the next hops of a prefix that are on no link of the domain.
	OffLink map[netip.Prefix]int
	// Paths returns BGP's paths to exactly one prefix.
	Paths func(netip.Prefix) []rib.Path
	// Peers returns the domain's sessions, and what of exactly one prefix is advertised in each;
	// nil if that is not shown.
	Peers func(netip.Prefix) []sessions.Peer
}

// RIB shows what domains know of one prefix, of all if it is the zero Prefix.
func RIB(domains []Domain, prefix netip.Prefix) []api.RIBEntry {
	out := []api.RIBEntry{}
	for _, d := range domains {
		for p := range d.RIB.Prefixes {
			if !prefix.IsValid() || p == prefix {
				out = append(out, ribEntry(d, p))
			}
		}
	}
	slices.SortFunc(out, func(a, b api.RIBEntry) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), comparePrefixes(a.Prefix, b.Prefix))
	})
	return out
}

// comparePrefixes compares the texts of prefixes.
func comparePrefixes(a, b string) int {
	x, y := netip.MustParsePrefix(a), netip.MustParsePrefix(b)
	return cmp.Or(x.Addr().Compare(y.Addr()), cmp.Compare(x.Bits(), y.Bits()))
}

func ribEntry(d Domain, p netip.Prefix) api.RIBEntry {
	e := api.RIBEntry{Domain: d.Name, Prefix: p.String()}
	s, _ := d.RIB.Explain(p)
	switch {
	case s.Local != nil:
		e.Source, e.Gateways, e.LocalPref = "local", gateways(s.Local.NextHops), s.Local.LocalPref
	case len(s.Learned) > 0:
		e.Source, e.Gateways, e.LocalPref = "learned", gateways(s.Learned[0].NextHops), 100
	default:
		e.Source, e.Gateways = "bgp", gateways(s.BGP)
	}
	e.Announced, e.Why = d.Exports.Status(p)
	if a, ok := d.Exports.Announcement(p); ok {
		e.LocalPref, e.GracefulShutdown = a.LocalPref, a.GracefulShutdown
	}
	return e
}

func gateways(hops []domain.NextHop) (out []api.Gateway) {
	for _, h := range hops {
		out = append(out, api.Gateway{Address: h.Gateway, Link: h.Link, OnLink: h.OnLink})
	}
	return out
}

// FIB shows the routes of one table of a namespace, of all tables if it is 0. name names its
// interfaces.
func FIB(netns config.NetNS, routes iter.Seq[fib.RouteStatus], table uint32, name func(ifindex int) string) (out []api.FIBRoute) {
	for s := range routes {
		if table == 0 || s.Table == table {
			out = append(out, fibRoute(netns, s, name))
		}
	}
	slices.SortFunc(out, func(a, b api.FIBRoute) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
	return out
}

func fibRoute(netns config.NetNS, s fib.RouteStatus, name func(int) string) api.FIBRoute {
	f := api.FIBRoute{NetNS: string(netns), Table: s.Table, Prefix: s.Prefix.String(), Metric: s.Metric, Type: cmp.Or(s.Type, fib.RouteUnicast).String(),
		PrefSrc: s.PrefSrc, State: s.State.String(), NextHop: s.NextHopID}
	if s.Err != nil {
		f.Error = s.Err.Error()
	}
	for _, h := range s.NextHops {
		f.Gateways = append(f.Gateways, api.Gateway{Address: h.Gateway, Link: name(h.IfIndex), OnLink: h.OnLink})
	}
	return f
}

// LinkName names an interface that may have gone.
func LinkName(name string, ifindex int) string {
	return cmp.Or(name, fmt.Sprintf("if%d", ifindex))
}

// Differences shows what the kernel of a namespace has and what it should have.
func Differences(netns config.NetNS, list []fib.Difference) (out []api.Difference) {
	for _, diff := range list {
		out = append(out, api.Difference{NetNS: string(netns), Op: diff.Op, What: fmt.Sprint(diff.Key), Want: diff.Want, Have: diff.Have})
	}
	return out
}
