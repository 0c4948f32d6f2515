package netns

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// Guests is what lives in a namespace.
type Guests struct {
	List []config.Guest // those that are here
	// Heard are the addresses that guests asked from besides their own, by interface.
	Heard map[string][]netip.Addr
	// Stations are the guests on overlays that are here, by overlay.
	Stations map[string][]firewall.Station
	// Found are the foreign routes over guests' interfaces, by interface index.
	Found map[int][]FoundRoute
}

// FoundRoute is a foreign route over the interface of a guest.
type FoundRoute struct {
	Prefix netip.Prefix
	Routed bool // through a gateway
}

// spec returns what the firewall of a namespace must do: part is what of the configuration
// lives in it.
func spec(whole, part *config.Config, g Guests, l *Links, trusted []string, room NeighborRoom) firewall.Spec {
	s := ownSpec(part, g.List)
	s.VXLANPorts = ports(whole.Overlays) // wherever their bridges are
	if whole.Loopback.Address.IsValid() && len(whole.Overlays) > 0 {
		s.VTEPs = append(s.VTEPs, whole.Loopback.Address.Addr())
	}
	s.Host = append(s.Host, trusted...)
	s.OnLink = onLink(part, l)
	s.Peers = peers(part)
	shares := firewall.Shares(uplinks(whole))
	s.Room4, s.Room6 = room.IPv4/shares, room.IPv6/shares
	s.Local = local(s.Guests, l)
	s.Gateways = gateways(part, g.Stations)
	for i, one := range g.List {
		w := &s.Guests[i]
		w.Neighbors = append(w.Neighbors, g.Heard[one.Interface]...)
		link, _ := l.ByName(one.Interface)
		for _, route := range g.Found[link.IfIndex] {
			w.Prefixes = append(w.Prefixes, route.Prefix)
			if !route.Routed && !route.Prefix.IsSingleIP() {
				s.OnLink = append(s.OnLink, route.Prefix) // the kernel resolves all of its addresses
			}
		}
	}
	for i := range s.Guests { // the routes above came in no order
		slices.SortFunc(s.Guests[i].Prefixes, netip.Prefix.Compare)
	}
	slices.SortFunc(s.OnLink, netip.Prefix.Compare)
	return s
}

// NeighborRoom is how many entries the kernel's tables of neighbours have, for all namespaces together
// (gc_thresh3). Zero is not known: the default, 1,024.
type NeighborRoom struct{ IPv4, IPv6 uint32 }

// uplinks returns how many uplinks there are in all namespaces.
func uplinks(whole *config.Config) int {
	type uplink struct {
		netns config.NetNS
		name  string
	}
	all := map[uplink]bool{}
	for _, d := range whole.Domains {
		for _, name := range domain.Interfaces(d) {
			all[uplink{d.NetNS, name}] = true
		}
	}
	return len(all)
}

// local returns our addresses of IPv4. Those on guests' interfaces are as they will be: they come after the firewall.
func local(guests []firewall.Guest, l *Links) (list []netip.Addr) {
	add := func(a netip.Addr) {
		if a.Is4() {
			list = append(list, a)
		}
	}
	served := map[int]bool{}
	for _, g := range guests {
		served[l.Index(g.Interface)] = true
		for _, a := range g.Gateways {
			add(a)
		}
	}
	for index, addrs := range l.addrs {
		for p := range addrs {
			if !served[index] {
				add(p.Addr())
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// peers returns the neighbours on uplinks that sessions and probes of the configuration are with. One that is not on
// the link never asks.
func peers(part *config.Config) (list []firewall.Peer) {
	add := func(name string, a config.Addr) {
		if a.IsValid() {
			list = append(list, firewall.Peer{Interface: name, Address: a.WithZone("")})
		}
	}
	session := func(domain string, r config.Reflector) {
		add(r.Interface, r.Peer)
		for _, h := range r.NextHopsOf(domain) {
			add(h.Interface, h.Probe)
		}
	}
	for _, d := range part.Domains {
		for _, r := range d.Sessions() {
			session(d.Name, r)
		}
	}
	for _, r := range part.Sessions {
		session("", r)
	}
	return list
}

// gateways returns what the firewall must do for the gateways of overlays.
func gateways(part *config.Config, stations map[string][]firewall.Station) (list []firewall.Gateway) {
	for _, o := range part.Gateways() {
		g := firewall.Gateway{Bridge: o.Bridge, Tenant: o.Gateway.Table.ID, Stations: stations[o.Name]}
		for _, p := range o.Gateway.Prefixes() {
			g.Addresses = append(g.Addresses, p.Addr())
		}
		list = append(list, g)
	}
	return list
}

// isUplink reports whether routes other than a guest's may lead over an interface.
func isUplink(c *config.Config, name string) bool {
	for _, d := range c.Domains {
		if slices.Contains(domain.Interfaces(d), name) {
			return true
		}
	}
	return name == c.Loopback.Interface
}

// onLink returns the prefixes of the uplinks' addresses.
func onLink(c *config.Config, l *Links) (list []netip.Prefix) {
	for _, name := range slices.Sorted(maps.Keys(l.index)) {
		if !isUplink(c, name) {
			continue
		}
		for a := range l.addrs[l.index[name]] {
			if !a.IsSingleIP() && !a.Addr().IsLinkLocalUnicast() {
				list = append(list, a.Masked())
			}
		}
	}
	return list
}

// ports lists the UDP ports of overlays.
func ports(overlays []config.Overlay) (list []uint16) {
	for _, o := range overlays {
		if !slices.Contains(list, o.Port) {
			list = append(list, o.Port)
		}
	}
	return list
}

// ownSpec returns what the firewall of a namespace must do for its own part of the configuration
// and its guests; it has one entry a guest, in their order.
func ownSpec(c *config.Config, guests []config.Guest) firewall.Spec {
	s := firewall.Spec{Table: c.Firewall.Table, LogRate: c.Firewall.LogRate, MarkMask: c.FwmarkMask, MarksOnly: c.Firewall.Off, VRF: c.Isolation == config.IsolationVRF}
	var names []string
	for _, g := range guests {
		names = append(names, g.Interface)
		s.Guests = append(s.Guests, guestSpec(c, g))
	}
	for _, d := range c.Domains {
		group := domain.Interfaces(d)
		s.Uplinks = append(s.Uplinks, group...)
		if d.Loopback {
			// The VTEP is the loopback address, so overlays run where it is announced.
			s.Underlay = append(s.Underlay, group...)
		}
		if d.Guests {
			group = append(slices.Clone(group), names...)
		}
		if s.VRF {
			group = append(slices.Clone(group), d.VRF)
		}
		s.Domains = append(s.Domains, group)
		if c.Isolation == config.IsolationFwmark && !domain.Plain(c) {
			s.Marks = append(s.Marks, firewall.Mark{Value: d.Fwmark, Interfaces: group})
		}
	}
	for _, o := range c.Overlays {
		s.Isolated = append(s.Isolated, o.Bridge)
	}
	for _, open := range c.Firewall.Open {
		proto, port, _ := config.ParsePort(open) // checked when the file was read
		number := map[string]uint8{"tcp": 6, "udp": 17}[proto]
		s.Open = append(s.Open, firewall.Port{Protocol: number, Port: port})
	}
	return s
}

// guestSpec returns what a guest may send.
func guestSpec(c *config.Config, g config.Guest) firewall.Guest {
	w := firewall.Guest{
		Interface: g.Interface, MAC: ether.MAC(g.MAC), Resolved: !domain.Permanent(g),
		Neighbors: domain.GuestNeighbours(g), Prefixes: domain.GuestOwn(g),
	}
	for _, a := range domain.GuestAddresses(c, g) {
		w.Gateways = append(w.Gateways, a.Prefix.Addr())
	}
	for _, t := range g.Transparent {
		w.Translations = append(w.Translations, firewall.Translation{Address: t.Address.Addr, To: t.To.Addr})
	}
	return w
}
