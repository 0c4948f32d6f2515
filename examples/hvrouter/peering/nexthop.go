package peering

import (
	"slices"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Member is a domain among those that one speaker serves.
type Member struct {
	Domain    string
	Community wire.Community // of the domain's routes; 0 if the speaker serves no other
	NextHops  int            // the most next hops of the domain that one session has
}

// Members lists the domains of the speaker that serves d. Their places in the list are
// part of the path identifiers that we announce.
func Members(c *config.Config, d config.Domain) []Member {
	sessions, shared := c.SessionsOf(d)
	if !shared {
		return []Member{{Domain: d.Name, NextHops: mostNextHops(sessions, d.Name, d.Name)}}
	}
	var out []Member
	for _, d := range c.Domains {
		if c.Shares(d.Name) {
			out = append(out, Member{d.Name, d.Community.Standard, mostNextHops(sessions, "", d.Name)})
		}
	}
	return out
}

// mostNextHops returns the most next hops of a domain that a session has, at least one.
func mostNextHops(sessions []config.Reflector, own, domain string) int {
	most := 1
	for _, r := range sessions {
		n := 0
		for _, w := range r.NextHopsOf(own) {
			if w.Domain == domain {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// nextHopBits is the room for a next hop's number in a path identifier.
const nextHopBits = 8

// PathID returns the identifier of the path that announces a member's prefix with the next
// hop of the n-th next hop that a session has for the member, both counted from 0.
func PathID(member, n int) uint32 { return uint32(member)<<nextHopBits | uint32(n) }

// Announced is a next hop as a session announces it.
type Announced struct {
	NextHop
	ID       uint32
	Own      bool            // the session's own: its next hops are the session's
	NextHops [2]wire.NextHop // IPv4 and IPv6
}

// Announce lists the next hops of one session of the speaker with these members.
func Announce(r config.Reflector, members []Member) (list []Announced) {
	own := ""
	if len(members) == 1 && members[0].Community == 0 {
		own = members[0].Domain
	}
	count := map[int]int{}
	for _, w := range r.NextHopsOf(own) {
		m := slices.IndexFunc(members, func(m Member) bool { return m.Domain == w.Domain })
		if m < 0 {
			continue
		}
		list = append(list, Announced{NextHop: NextHop{Domain: w.Domain, Link: w.Interface}, ID: PathID(m, count[m]),
			Own:      w.Interface == r.Interface && (w.NextHop4 == r.Local || w.NextHop6 == r.Local),
			NextHops: [2]wire.NextHop{{Addr: w.NextHop4.Addr}, {Addr: w.NextHop6.Addr}}})
		count[m]++
	}
	return list
}

// Only makes an export policy that announces each path with the next hop of its next hop, in
// the families that the next hop has, and then asks the session's own policy. Paths whose next hop
// is not in the list are not announced.
func Only(announced []Announced, then rib.Policy) rib.Policy {
	return func(r *rib.Route) rib.Verdict {
		if r.Local() && (r.Family == wire.RTConstrain || r.Family == wire.L2VPNEVPN) { // the next hop of these is the session, or the VTEP
			if then == nil {
				return rib.VerdictAccept
			}
			return then(r)
		}
		i := slices.IndexFunc(announced, func(w Announced) bool { return w.ID == r.PathID })
		if i < 0 || !r.Local() {
			return rib.VerdictReject
		}
		hop := announced[i].NextHops[0]
		if r.Prefix.Addr().Is6() {
			hop = announced[i].NextHops[1]
		}
		if !hop.Addr.IsValid() {
			return rib.VerdictReject
		}
		if !announced[i].Own { // else the session adds its link-local address
			r.SetNextHop(hop)
		}
		if then == nil {
			return rib.VerdictAccept
		}
		return then(r)
	}
}

// Known makes an import policy that asks the session's own policy first, and then
// refuses what has no member's community: such a route belongs to no table.
func Known(members []Member, first rib.Policy) rib.Policy {
	return func(r *rib.Route) rib.Verdict {
		if first != nil && first(r) == rib.VerdictReject {
			return rib.VerdictReject
		}
		if r.Family == wire.L2VPNEVPN || r.Family == wire.RTConstrain { // which overlay it belongs to is decided by its route targets
			return rib.VerdictAccept
		}
		for _, m := range members {
			if r.HasCommunity(m.Community) {
				return rib.VerdictAccept
			}
		}
		return rib.VerdictReject
	}
}

// Of returns the paths that are the member's: all, unless the speaker serves several
// domains. They stay in order, in the room of room if that is enough.
func (m Member) Of(paths, room []rib.Path) []rib.Path {
	if m.Community == 0 {
		return paths
	}
	room = room[:0]
	for i := range paths {
		if paths[i].Attrs.Communities().Contains(m.Community) {
			room = append(room, paths[i])
		}
	}
	return room
}
