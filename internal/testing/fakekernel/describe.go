package fakekernel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Messages and objects in words, nearly as iproute2 prints them. Of the ids of next-hop
// objects only the lower half is printed: package fib's begin at 0x48460000.

// Describe puts a request into words, for example "add 10.1.0.0/16 table 90 proto 201 nhid 3".
func (k *Kernel) Describe(msg rtnl.Message) string {
	verb := "add"
	switch {
	case msg.Type&1 != 0: // RTM_DEL*: RTM_NEW* + 1
		verb = "delete"
	case msg.Flags&rtnl.NLM_F_REPLACE != 0:
		verb = "replace"
	}
	switch msg.Type {
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		var r wire.RouteMessage
		_ = r.Parse(msg.Body)
		if msg.Type == rtnl.RTM_DELROUTE {
			r.NextHops = nil
		}
		return verb + " " + k.RouteText(&r)
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		var n wire.NextHopMessage
		_ = n.Parse(msg.Body)
		if msg.Type == rtnl.RTM_DELNEXTHOP {
			return fmt.Sprintf("delete nexthop %d", n.ID&0xffff)
		}
		return verb + " " + k.NextHopText(&n)
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		var r wire.KernelRule
		_ = r.Parse(msg.Body)
		return verb + " rule " + r.String()
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		var a wire.KernelAddress
		_ = a.Parse(msg.Body)
		return fmt.Sprintf("%s address %v dev %s", verb, a.Prefix, k.NameOf(int32(a.IfIndex)))
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		var n wire.KernelNeighbor
		_ = n.Parse(msg.Body)
		switch {
		case n.Proxy:
			return fmt.Sprintf("%s neighbour proxy %v dev %s", verb, n.Addr, k.NameOf(int32(n.IfIndex)))
		case n.Permanent || msg.Type == rtnl.RTM_DELNEIGH:
			return fmt.Sprintf("%s neighbour %v dev %s", verb, n.Addr, k.NameOf(int32(n.IfIndex)))
		}
		return fmt.Sprintf("probe %v dev %s", n.Addr, k.NameOf(int32(n.IfIndex)))
	}
	return fmt.Sprintf("message %d", msg.Type)
}

// NextHopText puts a next-hop object or group into words.
func (k *Kernel) NextHopText(n *wire.NextHopMessage) string {
	if n.Members == nil {
		return fmt.Sprintf("nexthop %d via %v dev %s", n.ID&0xffff, n.Gateway, k.NameOf(n.IfIndex))
	}
	s := fmt.Sprintf("nexthop %d group", n.ID&0xffff)
	for _, x := range n.Members {
		s += fmt.Sprintf(" %d", x.ID&0xffff)
		if x.Weight > 1 {
			s += fmt.Sprintf("*%d", x.Weight)
		}
	}
	if n.Buckets > 0 {
		s += fmt.Sprintf(" buckets %d", n.Buckets)
	}
	return s
}

// RouteText puts a route into words.
func (k *Kernel) RouteText(r *wire.RouteMessage) string {
	var b strings.Builder
	if r.Type != 0 && r.Type != wire.RouteUnicast { // 0: any, of a deletion
		fmt.Fprintf(&b, "%v ", r.Type)
	}
	fmt.Fprintf(&b, "%v table %d proto %d", r.Prefix(), r.Table, r.Protocol)
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.NextHopID != 0 {
		fmt.Fprintf(&b, " nhid %d", r.NextHopID&0xffff)
	}
	for _, l := range r.NextHops {
		if r.NextHopID != 0 {
			break
		}
		if l.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", l.Gateway)
		}
		fmt.Fprintf(&b, " dev %s", k.NameOf(l.IfIndex))
		if l.OnLink {
			b.WriteString(" onlink")
		}
		if l.Weight > 1 {
			fmt.Fprintf(&b, " weight %d", l.Weight)
		}
	}
	if r.PrefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", r.PrefSrc)
	}
	if r.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", r.MTU)
	}
	if r.Unknown {
		b.WriteString(" and more")
	}
	return b.String()
}

// Resolve returns the route with its next-hop object, or the members of its group, in the
// place of the id.
func (k *Kernel) Resolve(r *Route) wire.RouteMessage {
	q := r.RouteMessage
	h := k.hops[q.NextHopID]
	if h == nil {
		return q
	}
	members := h.Members
	if members == nil {
		members = []wire.Member{{ID: h.ID, Weight: 1}}
	}
	q.NextHopID, q.NextHops = 0, nil
	for _, x := range members {
		if n := k.hops[x.ID]; n.Flag == 0 {
			q.NextHops = append(q.NextHops, wire.NextHop{Gateway: n.Gateway, IfIndex: n.IfIndex, Weight: x.Weight, OnLink: n.OnLink})
		}
	}
	slices.SortFunc(q.NextHops, wire.CompareNextHops)
	return q
}

// State returns all routes in words, sorted, with their next hops in the place of ids of
// objects: what packets meet, however it is written.
func (k *Kernel) State() (lines []string) {
	for r := range k.routes.all() {
		q := k.Resolve(r)
		lines = append(lines, k.RouteText(&q))
	}
	slices.Sort(lines)
	return lines
}
