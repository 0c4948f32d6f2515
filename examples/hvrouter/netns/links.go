package netns

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// Links is what is known of the interfaces of a namespace and of their addresses.
type Links struct {
	byIndex map[int]fib.Link
	index   peering.Links // by name
	addrs   map[int]map[netip.Prefix]address
}

// address is what is known of an address besides its prefix.
type address struct {
	global, permanent bool
}

func newLinks() Links {
	return Links{byIndex: map[int]fib.Link{}, index: peering.Links{}, addrs: map[int]map[netip.Prefix]address{}}
}

// set notes a link and reports whether its name stands for another interface than
// before, or for its first.
func (l *Links) set(link fib.Link) (appeared bool) {
	if old, ok := l.byIndex[link.IfIndex]; ok && old.Interface != link.Interface {
		delete(l.index, old.Interface)
	}
	index, ok := l.index[link.Interface]
	l.byIndex[link.IfIndex] = link
	l.index[link.Interface] = link.IfIndex
	return !ok || index != link.IfIndex
}

func (l *Links) gone(index int) {
	link, ok := l.byIndex[index]
	if !ok {
		return
	}
	delete(l.byIndex, index)
	delete(l.addrs, index)
	if l.index[link.Interface] == index {
		delete(l.index, link.Interface)
	}
}

// address takes an event of that kind.
func (l *Links) address(e fib.Event) {
	index := e.Link.IfIndex
	if e.Gone {
		delete(l.addrs[index], e.Addr)
		return
	}
	if l.addrs[index] == nil {
		l.addrs[index] = map[netip.Prefix]address{}
	}
	l.addrs[index][e.Addr] = address{global: e.Scope <= fib.ScopeUniverse, permanent: e.Permanent}
}

// Name returns the name of an interface.
func (l *Links) Name(index int) (string, bool) {
	link, ok := l.byIndex[index]
	return link.Interface, ok
}

// Get returns the interface with an index.
func (l *Links) Get(ifindex int) (fib.Link, bool) {
	link, ok := l.byIndex[ifindex]
	return link, ok
}

// All yields the interfaces, in no particular order.
func (l *Links) All(yield func(fib.Link) bool) {
	for _, link := range l.byIndex {
		if !yield(link) {
			return
		}
	}
}

// Index returns the index of an interface, 0 if there is none of that name.
func (l *Links) Index(name string) int { return l.index[name] }

// ByName returns the interface of a name.
func (l *Links) ByName(name string) (fib.Link, bool) {
	link, ok := l.byIndex[l.index[name]]
	return link, ok
}

// LinkLocal returns our IPv6 link-local address on an interface, the least if there are
// several.
func (l *Links) LinkLocal(name string) (least netip.Addr) {
	for p := range l.addrs[l.index[name]] {
		if a := p.Addr(); a.Is6() && a.IsLinkLocalUnicast() && (!least.IsValid() || a.Less(least)) {
			least = a
		}
	}
	return least
}

// OnLink reports whether an address of the interface says that gateway is on it
// (R22). A link-local gateway always is.
func (l *Links) OnLink(name string, gateway netip.Addr) bool {
	if gateway.IsLinkLocalUnicast() {
		return true
	}
	for p := range l.addrs[l.index[name]] {
		if p.Contains(gateway) && p.Addr() != gateway {
			return true
		}
	}
	return false
}

// Reach returns the link of a gateway: the one of the session that announced it if an address
// there says so, else another uplink of the domain. One reflector may speak for both fabrics
// (R46).
func (l *Links) Reach(uplinks []string, session string, gateway netip.Addr) (string, bool) {
	if session != "" && l.OnLink(session, gateway) {
		return session, true
	}
	if gateway.IsLinkLocalUnicast() {
		return "", false
	}
	for _, name := range uplinks {
		if l.OnLink(name, gateway) {
			return name, true
		}
	}
	return "", false
}

// OwnAddresses returns all addresses of ours.
func (l *Links) OwnAddresses() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, addrs := range l.addrs {
		for p := range addrs {
			all[p.Addr()] = true
		}
	}
	return all
}

// HasAddress reports whether an address of ours exists.
func (l *Links) HasAddress(a netip.Addr) bool {
	for _, addrs := range l.addrs {
		for p := range addrs {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}
