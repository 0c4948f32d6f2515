package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
)

// mostPreviewed bounds what a preview names: another metric is another route for each prefix of
// the table.
const mostPreviewed = 10_000

// preview collects what another configuration would change.
type preview struct {
	list []api.Difference
	more int // that are not named
}

func (v *preview) add(netns config.NetNS, op, what, want, have string) {
	if len(v.list) == mostPreviewed {
		v.more++
		return
	}
	v.list = append(v.list, api.Difference{NetNS: string(netns), Op: op, What: what, Want: want, Have: have})
}

// preview returns what another configuration, with the inventory that it would have, would
// change: guests and what they are told, rules, routes, addresses, sysctls and the firewall. It
// changes nothing.
func (r *router) preview(c *config.Config, in *guest.Inventory) (v preview) {
	here, then := r.present(), r.presentWith(c, in)
	v.guests(here, then)
	v.told(r.cfg, r.ports(here), c, r.ports(then))
	next, home := c.Namespaces(), c.GuestNetNS()
	for i, n := range r.namespaces {
		guests := netns.Guests{}
		if home == n.NetNS() {
			guests = r.guestsFound(n, then)
			guests.Stations = r.hereOnOverlays(c)
		}
		was, after := n.Now(), n.Preview(c, next[i].Config, r.guestsIn(n, here), guests, in.All())
		old, is := was.Static, after.Static
		compare(&v, n.NetNS(), "rule", old.Rules, is.Rules, func(r domain.Rule) string { return family(r.IPv6) + r.String() })
		compare(&v, n.NetNS(), "address", old.Addresses, is.Addresses, func(a domain.Address) string { return a.Prefix.String() + " dev " + a.Link })
		compare(&v, n.NetNS(), "neighbour", old.Neighbors, is.Neighbors, func(n domain.Neighbor) string { return fmt.Sprintf("%v lladdr %v dev %s", n.Addr, n.MAC, n.Link) })
		compare(&v, n.NetNS(), "route", slices.Concat(old.Persistent, old.Gateways), slices.Concat(is.Persistent, is.Gateways), routeText)
		v.sysctls(n.NetNS(), old.Sysctls, is.Sysctls)
		for _, d := range firewall.Differences(was.Firewall, after.Firewall) {
			v.list = append(v.list, api.Difference{NetNS: string(n.NetNS()), Op: d.Op, What: "firewall " + d.What, Want: d.How})
		}
		v.domains(r, n, next[i].Config, is)
	}
	slices.SortStableFunc(v.list, func(a, b api.Difference) int {
		return cmp.Or(strings.Compare(a.NetNS, b.NetNS), strings.Compare(kind(a), kind(b)), strings.Compare(a.What, b.What))
	})
	return v
}

// domains compares the routes of the domains of a namespace. What the sessions of a new one will
// bring is not known.
func (v *preview) domains(r *router, n *netns.Namespace, part *config.Config, is domain.Static) {
	for g := range r.all {
		if g.namespace == n && part.Domain(g.name) == nil {
			for route := range g.rib.Routes {
				v.route(n.NetNS(), &route, nil)
			}
		}
	}
	for j, d := range part.Domains {
		rib := domain.NewRIB(domain.NewView(part, j))
		if g := r.domains[d.Name]; g != nil {
			rib = g.rib
		}
		rib.Preview(domain.NewView(part, j), is.Locals[d.Name], func(now, then *domain.Route) bool {
			v.route(n.NetNS(), now, then)
			return true
		})
	}
}

// mostNamed bounds the guests that one line names.
const mostNamed = 5

// told says what guests that stay are told and answered otherwise, a line for each kind of it.
func (v *preview) told(old *config.Config, was map[string]guest.Port, new *config.Config, is map[string]guest.Port) {
	who := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		before, stays := was[name]
		if !stays {
			continue
		}
		for _, what := range eg.Differences(old, before, new, is[name]) {
			who[what] = append(who[what], name)
		}
	}
	for what, names := range who {
		more := ""
		if n := len(names) - mostNamed; n > 0 {
			names, more = names[:mostNamed], fmt.Sprintf(" and %d more", n)
		}
		v.add("", "replace", "responder: "+what, "guests "+strings.Join(names, ", ")+more, "")
	}
}

// kind is the first word of what differs.
func kind(d api.Difference) string {
	word, _, _ := strings.Cut(d.What, " ")
	return word
}

func family(six bool) string {
	if six {
		return "-6 "
	}
	return "-4 "
}

func routeText(r domain.Route) string { return fmt.Sprintf("table %d %v", r.Table, r) }

// presentWith returns the guests that would be here with another configuration and inventory.
func (r *router) presentWith(c *config.Config, in *guest.Inventory) []config.Guest {
	l := r.home().Links()
	return guest.Expand(c, in.All(), guest.World{Links: l.All, Link: l.ByName, Findings: r.findings.ByLink(), Free: in.Free})
}

// guests compares those that are here.
func (v *preview) guests(now, then []config.Guest) {
	text := func(g config.Guest) string {
		var parts []string
		for _, p := range domain.GuestOwn(g) {
			parts = append(parts, p.String())
		}
		return strings.TrimSpace("dev " + g.Interface + " " + strings.Join(parts, " "))
	}
	find := func(list []config.Guest, name string) int {
		return slices.IndexFunc(list, func(g config.Guest) bool { return g.Name == name })
	}
	for _, g := range now {
		switch i := find(then, g.Name); {
		case i < 0:
			v.add("", "delete", "guest "+g.Name, "", text(g))
		case text(then[i]) != text(g):
			v.add("", "replace", "guest "+g.Name, text(then[i]), text(g))
		case !reflect.DeepEqual(then[i], g):
			v.add("", "replace", "guest "+g.Name, "", "")
		}
	}
	for _, g := range then {
		if find(now, g.Name) < 0 {
			v.add("", "add", "guest "+g.Name, text(g), "")
		}
	}
}

// compare names what one list has and the other has not.
func compare[T any](v *preview, netns config.NetNS, what string, was, is []T, text func(T) string) {
	have, want := map[string]bool{}, map[string]bool{}
	for _, x := range was {
		have[text(x)] = true
	}
	for _, x := range is {
		if t := text(x); !want[t] {
			want[t] = true
			if !have[t] {
				v.add(netns, "add", what+" "+t, "", "")
			}
		}
	}
	for t := range have {
		if !want[t] {
			v.add(netns, "delete", what+" "+t, "", "")
		}
	}
}

func (v *preview) sysctls(netns config.NetNS, was, is map[string]string) {
	for path, value := range is {
		if old, ok := was[path]; !ok {
			v.add(netns, "add", "sysctl "+path, value, "")
		} else if old != value {
			v.add(netns, "replace", "sysctl "+path, value, old)
		}
	}
	for path, value := range was {
		if _, ok := is[path]; !ok {
			v.add(netns, "delete", "sysctl "+path, "", value)
		}
	}
}

func (v *preview) route(netns config.NetNS, now, then *domain.Route) {
	switch {
	case now == nil:
		v.add(netns, "add", "route "+routeText(*then), "", "")
	case then == nil:
		v.add(netns, "delete", "route "+routeText(*now), "", "")
	default:
		v.add(netns, "replace", fmt.Sprintf("route table %d %v", now.Table, now.Prefix), then.String(), now.String())
	}
}
