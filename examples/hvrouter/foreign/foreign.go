package foreign

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
)

// Most bounds what Find returns of each kind: more objects than that have one cause.
const Most = 100

// Want is what of ours others may interfere with, in one network namespace.
type Want struct {
	NetNS config.NetNS
	Rules []domain.Rule
	// Routes are those to guests, to our own addresses, and the unreachable prefixes.
	Routes []Route
	// Tables are those of the domains, and BGP returns for each of some foreign routes there, all of one table, the route
	// that BGP has for its prefix, or for the longest one around it but for the default route. Nil: that is not known.
	Tables []uint32
	BGP    func([]lookup.Route) []BGP
	// Uplink reports whether an interface is an uplink, Concerns whether guests' packets come over it.
	Uplink, Concerns func(link string) bool
	// Overlay reports whether an interface is the VXLAN device of an overlay, or its bridge.
	Overlay func(link string) bool
	// Own reports whether an address is the hypervisor's own.
	Own func(netip.Addr) bool
	// Firewall is the name of our table.
	Firewall string
}

// Route is a route of ours.
type Route struct {
	Table  uint32
	Prefix netip.Prefix
	Metric uint32
}

// Routes returns the routes of a configuration that others may interfere with.
func Routes(c *config.Config, s domain.Static) (list []Route) {
	for _, d := range c.Domains {
		for p, l := range s.Locals[d.Name] {
			list = append(list, Route{d.Table.ID, p, l.Metric})
		}
	}
	for _, r := range s.Persistent {
		if r.Prefix.Bits() > 0 { // what ends a lookup is there to be beaten
			list = append(list, Route{r.Table, r.Prefix, r.Metric})
		}
	}
	return list
}

// Tables is what of the kernel is looked at; [lookup.Kernel] is one.
type Tables interface {
	Rules(six bool) ([]lookup.Rule, error)
	// Foreign calls f with each route of a table that another program made.
	Foreign(table uint32, six bool, f func(lookup.Route)) error
	// Links returns the interfaces.
	Links() []lookup.Link
}

var _ Tables = (*lookup.Kernel)(nil)

// Find returns what others have: rules, routes, chains, and at most [Most] of each. As long as nothing changes it returns
// the same, whatever it leaves out. chains are the base chains of other tables; nil if they could not be seen.
func Find(t Tables, chains []nftrace.ForeignChain, w Want) (list []api.Foreign, err error) {
	for _, six := range []bool{false, true} {
		rules, err := t.Rules(six)
		if err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
		list = append(list, w.rules(rules, six)...)
	}
	found, err := w.routes(t)
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	list = slices.Concat(bound(list), bound(found), bound(w.chains(chains, t.Links())))
	for i := range list {
		list[i].NetNS = string(w.NetNS)
	}
	return list, nil
}

// bound leaves out what is more than [Most] objects of a kind, first what is unsure.
func bound(list []api.Foreign) []api.Foreign {
	if len(list) > Most {
		slices.SortStableFunc(list, func(a, b api.Foreign) int { return unsure(a) - unsure(b) })
		list = list[:Most]
	}
	return list
}

func unsure(f api.Foreign) int {
	if f.Unsure {
		return 1
	}
	return 0
}

// rules finds the rules of one family that come before our last one and may match guests' packets.
func (w *Want) rules(rules []lookup.Rule, six bool) (list []api.Foreign) {
	last, any := uint32(0), false
	for _, r := range w.Rules {
		if r.IPv6 == six {
			last, any = max(last, r.Priority), true
		}
	}
	for _, r := range rules {
		switch {
		case !any || r.Priority > last || !lookup.Foreign(r.Protocol) || r.Action == lookup.ActionNop:
		case r.OIF != "" || r.UIDs || r.IIF == "lo" || r.IIF != "" && !w.Concerns(r.IIF): // other packets than those that are forwarded, or come from elsewhere
		case !r.Not && r.From.IsValid() && r.From.IsSingleIP() && w.Own(r.From.Addr()):
		default:
			f := api.Foreign{Kind: "rule", What: ruleText(r, six), Why: fmt.Sprintf("it comes before ours (protocol %s)", lookup.ProtocolName(r.Protocol))}
			f.Unsure = r.Mask != 0 || r.Ports || r.Other || r.IPProto != 0
			list = append(list, f)
		}
	}
	return list
}

func ruleText(r lookup.Rule, six bool) string {
	if six {
		return "-6 " + r.String()
	}
	return r.String()
}

// space is the routes of one family of a table.
type space struct {
	table uint32
	six   bool
}

func (s space) compare(o space) int {
	switch {
	case s.table != o.table:
		return cmp.Compare(s.table, o.table)
	case s.six == o.six:
		return 0
	case s.six:
		return 1
	}
	return -1
}

// routes finds the routes in our tables that beat one of ours or of BGP's, or lead out of or drop a part of it.
func (w *Want) routes(t Tables) (list []api.Foreign, err error) {
	ours := map[space]map[netip.Prefix]uint32{}
	for _, r := range w.Routes {
		s := space{r.Table, r.Prefix.Addr().Is6()}
		if ours[s] == nil {
			ours[s] = map[netip.Prefix]uint32{}
		}
		ours[s][r.Prefix] = r.Metric
	}
	for _, table := range w.Tables {
		for _, s := range []space{{table, false}, {table, true}} {
			if w.BGP != nil && ours[s] == nil {
				ours[s] = map[netip.Prefix]uint32{}
			}
		}
	}
	others := asker{Want: w}
	for _, s := range slices.SortedFunc(maps.Keys(ours), space.compare) { // each look leaves out the same
		mine := ours[s]
		err := t.Foreign(s.table, s.six, func(r lookup.Route) {
			why := w.interferes(r, mine)
			if _, local := mine[r.Prefix]; !local {
				others.take(r, why)
			} else if why != "" && len(list) < Most {
				list = append(list, api.Foreign{Kind: "route", What: r.String(), Why: why})
			}
		})
		if err != nil {
			return nil, err
		}
		others.ask()
	}
	list = append(list, others.list...)
	slices.SortFunc(list, func(a, b api.Foreign) int {
		return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Why, b.Why))
	})
	return list, nil
}

// interferes says what a foreign route does to routes of ours, which are given by their metrics; "" is
// nothing.
func (w *Want) interferes(r lookup.Route, ours map[netip.Prefix]uint32) string {
	if metric, ok := ours[r.Prefix]; ok {
		if r.Metric < metric {
			return fmt.Sprintf("it beats ours, which has metric %d", metric)
		}
		return ""
	}
	for bits := r.Prefix.Bits() - 1; bits > 0; bits-- {
		p, _ := r.Prefix.Addr().Prefix(bits)
		if _, ok := ours[p]; !ok {
			continue
		}
		if r.Type != lookup.Unicast {
			return fmt.Sprintf("it takes a part out of ours to %v", p)
		}
		for _, h := range r.Hops {
			if w.Uplink(h.Link) {
				return fmt.Sprintf("it leads a part of ours to %v out over %s", p, h.Link)
			}
		}
		return "" // to a guest, by another program
	}
	return ""
}
