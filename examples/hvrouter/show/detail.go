package show

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// detail shows what a session has negotiated, counted and said last.
func detail(s *api.Session, p bgp.PeerStatus) {
	if n := p.Negotiated; n != nil {
		s.HoldTime, s.AS, s.Capabilities = n.HoldTime.String(), n.RemoteAS, capabilities(n)
		s.RouterID = n.RemoteID.String()
	}
	if p.Sent.Total()+p.Received.Total() > 0 {
		s.Sent, s.Received = messages(p.Sent), messages(p.Received)
	}
	s.LastSent, s.LastSentAt = peerError(p.LastSent)
	s.LastReceived, s.LastReceivedAt = peerError(p.LastReceived)
}

func peerError(e *bgp.PeerError) (text string, at time.Time) {
	if e == nil {
		return "", at
	}
	return e.Error(), e.Time
}

func messages(m bgp.MessageCounters) *api.Messages {
	return &api.Messages{Open: m.Open, Update: m.Update, Notification: m.Notification, Keepalive: m.Keepalive, RouteRefresh: m.RouteRefresh, Octets: m.Octets}
}

// capabilities lists what both sides of a session can.
func capabilities(n *fsm.Negotiated) (list []string) {
	families := func(word string, set wire.FamilySet) {
		var names []string
		for _, f := range set.Slice() {
			names = append(names, familyName(f))
		}
		if len(names) > 0 {
			list = append(list, word+" "+strings.Join(names, " "))
		}
	}
	flag := func(word string, on bool) {
		if on {
			list = append(list, word)
		}
	}
	families("families", n.Families)
	families("add-path-receive", n.AddPathReceive)
	families("add-path-send", n.AddPathSend)
	flag("as4", n.AS4)
	flag("route-refresh", n.RouteRefresh)
	flag("enhanced-refresh", n.EnhancedRefresh)
	flag("extended-message", n.ExtendedMessage)
	flag("ipv6-next-hop", n.IPv6NextHop)
	if n.GracefulRestart {
		remote := "?"
		if g := n.Remote.GracefulRestart; g != nil {
			remote = g.Time.String()
		}
		list = append(list, "graceful-restart "+remote) // that the peer asks for
	}
	flag("graceful-restart-notification", n.Notification)
	flag("long-lived-graceful-restart", len(n.Local.LongLived) > 0 && len(n.Remote.LongLived) > 0)
	return list
}

// Received shows a path that a peer announced.
func Received(domain string, prefix netip.Prefix, p rib.Path) api.Route {
	r := route(domain, p.Peer, prefix, p.PathID, p.Attrs)
	r.Stale, r.Rank = p.Stale, p.Rank
	if p.NextHop.Addr.IsValid() {
		r.NextHop = p.NextHop.Addr
	}
	return r
}

// Refused shows a route that a peer announces and that is refused.
func Refused(domain string, peer netip.Addr, r rib.RefusedRoute) api.Route {
	out := route(domain, peer, r.Prefix, r.PathID, r.Attrs)
	out.Refused = r.Reason.String()
	return out
}

// Advertised shows a path that a peer is sent.
func Advertised(domain string, peer netip.Addr, a rib.Advert) api.Route {
	return route(domain, peer, a.Prefix, a.PathID, a.Attrs)
}

func route(domain string, peer netip.Addr, prefix netip.Prefix, id uint32, a rib.Attrs) api.Route {
	r := api.Route{Domain: domain, Peer: peer, Prefix: prefix.String(), PathID: id, NextHop: a.NextHop().Addr, LocalPref: 100, ASPath: fmt.Sprint(a.ASPath())}
	if pref, ok := a.LocalPref(); ok {
		r.LocalPref = pref
	}
	if med, ok := a.MED(); ok {
		r.MED = &med
	}
	if id, ok := a.OriginatorID(); ok {
		r.Originator = id
	}
	for c := range a.Communities().All() {
		r.Communities = append(r.Communities, c.String())
	}
	for c := range a.LargeCommunities().All() {
		r.Communities = append(r.Communities, c.String())
	}
	return r
}

// SortRoutes sorts by domain, prefix, peer and path.
func SortRoutes(all []api.Route) {
	slices.SortFunc(all, func(a, b api.Route) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), comparePrefixes(a.Prefix, b.Prefix), a.Peer.Compare(b.Peer), cmp.Compare(a.PathID, b.PathID))
	})
}
