package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
	"github.com/hyperfib/hyperfib/fib"
)

// inquiry is what the kernel of a namespace is asked, and what is wanted of it.
type inquiry struct {
	netns  config.NetNS
	path   string
	packet lookup.Packet
	want   lookup.Want
	table  string // of nftables
	filter bool   // it should be there
}

// Explain implements [api.Backend]. The loop says what is wanted; the kernel is asked without
// it, since a large table takes its time.
func (d backend) Explain(q api.Question) (e api.Explanation, err error) {
	e = api.Explanation{Prefix: q.Destination(), From: q.From, Kernel: []lookup.Report{}, Lines: []string{}}
	var list []inquiry
	d.ask(func(r *router) {
		list, err = r.inquiries(q)
		e.Lines = explain(r, q.Prefix, d.sessions.Lookup, d.sessions.Peers)
	})
	if err != nil {
		return e, err
	}
	for _, i := range list {
		report := lookup.Ask(i.path, i.packet, &i.want, nftrace.Filter(i.path, i.table, i.filter))
		report.NetNS = string(i.netns)
		e.Kernel = append(e.Kernel, *report)
	}
	return e, nil
}

// inquiries returns what is to be asked: in the namespace that the packets come to, in all of them
// if they are this host's own.
func (r *router) inquiries(q api.Question) (list []inquiry, err error) {
	p := lookup.Packet{Dst: q.Prefix.Addr(), Src: q.Source}
	spaces := r.namespaces
	if q.From != "" {
		n, err := r.enters(q.From, &p)
		if err != nil {
			return nil, err
		}
		spaces = []*netns.Namespace{n}
	}
	if spaces, err = onLink(spaces, q.Zone, &p); err != nil {
		return nil, err
	}
	for _, n := range spaces {
		fw := n.Part().Firewall
		list = append(list, inquiry{n.NetNS(), n.Path(), p, wants(n, p.Dst), fw.Table, !fw.Off})
	}
	return list, nil
}

// onLink gives a packet the interface that the zone of its destination names, and returns those of some namespaces
// that have it.
func onLink(spaces []*netns.Namespace, zone string, p *lookup.Packet) (list []*netns.Namespace, err error) {
	switch {
	case zone == "":
		return spaces, nil
	case p.IIF.Name != "" && p.IIF.Name != zone:
		return nil, fmt.Errorf("what comes from %s cannot go to a link-local address on %s", p.IIF.Name, zone)
	}
	for _, n := range spaces {
		if _, ok := n.Links().ByName(zone); ok {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("interface %s: %w", zone, api.ErrNotFound)
	}
	p.OIF.Name = zone
	return list, nil
}

// enters gives a packet the interface and the source of a guest, or of an interface by its
// name, and returns the namespace that it is in.
func (r *router) enters(name string, p *lookup.Packet) (*netns.Namespace, error) {
	port, ok := r.attached.ports[name]
	if !ok {
		if i := slices.IndexFunc(r.attached.sorted(), func(g guest.Port) bool { return g.Link.Interface == name }); i >= 0 {
			port, ok = r.attached.sorted()[i], true
		}
	}
	if ok {
		p.IIF.Name, p.MAC = port.Link.Interface, port.MAC[:]
		if !p.Src.IsValid() {
			p.Src = guest.AddressOf(port.Guest, p.Dst.Is6())
		}
		if !p.Src.IsValid() {
			return nil, fmt.Errorf("guest %s has no address of the family of %v: name one as the source", port.Name, p.Dst)
		}
		return r.home(), nil
	}
	for _, n := range r.namespaces {
		if _, ok := n.Links().ByName(name); ok {
			if p.IIF.Name = name; !p.Src.IsValid() {
				return nil, fmt.Errorf("interface %s has no guest: name the source of the packets", name)
			}
			return n, nil
		}
	}
	return nil, fmt.Errorf("guest or interface %s: %w", name, api.ErrNotFound)
}

// wants returns what the daemon wants of a namespace for packets to one address.
func wants(n *netns.Namespace, dst netip.Addr) (w lookup.Want) {
	for _, r := range n.Rules(dst.Is6()) {
		w.Rules = append(w.Rules, lookup.Rule{Priority: r.Priority, From: wide(r.From), To: wide(r.To), IIF: r.IIF, Mark: r.Mark, Mask: r.Mask,
			L3MDev: r.L3MDev, Action: actions[r.Action.String()], Table: tableOf(r.Table, r.L3MDev), Suppress: -1})
	}
	for s := range n.Kernel().Routes() {
		if s.State != fib.StateStale && s.Prefix.Contains(dst) {
			w.Routes = append(w.Routes, wantedRoute(n, s))
		}
	}
	for a := range n.Neighbours {
		w.Neighbours = append(w.Neighbours, lookup.Neighbour{Addr: a.Addr, IfIndex: a.IfIndex, MAC: a.MAC[:], State: "permanent"})
	}
	w.Sysctls = n.Sysctls()
	for _, d := range n.Kernel().Diff() {
		if about(d.Key, dst) {
			w.Known = append(w.Known, fmt.Sprintf("%s %v: want %q, have %q", d.Op, d.Key, d.Want, d.Have))
		}
	}
	return w
}

var actions = map[string]lookup.Action{"unicast": lookup.ActionTable, "blackhole": lookup.ActionBlackhole, "unreachable": lookup.ActionUnreachable, "prohibit": lookup.ActionProhibit}

// tableOf is the table of a rule as the kernel has it.
func tableOf(id uint32, vrf bool) uint32 {
	if vrf {
		return 0
	}
	return id
}

// wide returns a selector as the kernel has it: all is none.
func wide(p netip.Prefix) netip.Prefix {
	if p.Bits() <= 0 {
		return netip.Prefix{}
	}
	return p.Masked()
}

func wantedRoute(n *netns.Namespace, s fib.RouteStatus) lookup.Route {
	r := lookup.Route{Table: s.Table, Prefix: s.Prefix, Metric: s.Metric, TOS: s.TOS, Type: lookup.RouteType(max(s.Type, fib.RouteUnicast)), Protocol: lookup.Ours, PrefSrc: s.PrefSrc}
	if s.Persistent {
		r.Protocol = lookup.OursPersistent
	}
	for _, h := range s.NextHops {
		name, _ := n.Links().Name(h.IfIndex)
		r.Hops = append(r.Hops, lookup.Hop{Gateway: h.Gateway, IfIndex: h.IfIndex, Link: show.LinkName(name, h.IfIndex), OnLink: h.OnLink})
	}
	return r
}

// about reports whether an object may have to do with packets to an address.
func about(k fib.Key, dst netip.Addr) bool {
	switch k := k.(type) {
	case fib.RouteKey:
		return k.Prefix.Contains(dst)
	case fib.Rule:
		return (k.Family == fib.FamilyIPv6) == dst.Is6()
	case fib.Neighbor:
		return k.Addr.Is6() == dst.Is6()
	}
	return true
}
