package daemon

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// links is what is known about interfaces.
type links struct {
	byIndex map[int]fib.Link
	index   peering.Links // by name
	addrs   map[int]map[netip.Prefix]address
}

// address is what is known of an address besides its prefix.
type address struct {
	global, permanent bool
}

func newLinks() links {
	return links{byIndex: map[int]fib.Link{}, index: peering.Links{}, addrs: map[int]map[netip.Prefix]address{}}
}

// set notes a link and reports whether its name stands for another interface than
// before, or for its first.
func (l *links) set(link fib.Link) (appeared bool) {
	if old, ok := l.byIndex[link.IfIndex]; ok && old.Interface != link.Interface {
		delete(l.index, old.Interface)
	}
	index, ok := l.index[link.Interface]
	l.byIndex[link.IfIndex] = link
	l.index[link.Interface] = link.IfIndex
	return !ok || index != link.IfIndex
}

func (l *links) gone(index int) {
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
func (l *links) address(e fib.Event) {
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

func (l *links) name(index int) (string, bool) {
	link, ok := l.byIndex[index]
	return link.Interface, ok
}

func (l *links) byName(name string) (fib.Link, bool) {
	link, ok := l.byIndex[l.index[name]]
	return link, ok
}

// linkLocal returns our IPv6 link-local address on an interface, the least if there are
// several.
func (l *links) linkLocal(name string) (least netip.Addr) {
	for p := range l.addrs[l.index[name]] {
		if a := p.Addr(); a.Is6() && a.IsLinkLocalUnicast() && (!least.IsValid() || a.Less(least)) {
			least = a
		}
	}
	return least
}

// onLink reports whether an address of the interface says that gateway is on it
// (R22). A link-local gateway always is.
func (l *links) onLink(name string, gateway netip.Addr) bool {
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

// reach returns the link of a gateway: the one of the session that told of it if an
// address there says so, else another uplink of the domain. One reflector may speak
// for both fabrics (R46).
func (l *links) reach(uplinks []string, session string, gateway netip.Addr) (string, bool) {
	if session != "" && l.onLink(session, gateway) {
		return session, true
	}
	if gateway.IsLinkLocalUnicast() {
		return "", false
	}
	for _, name := range uplinks {
		if l.onLink(name, gateway) {
			return name, true
		}
	}
	return "", false
}

// hasAddress reports whether an address of ours exists.
func (l *links) hasAddress(a netip.Addr) bool {
	for _, addrs := range l.addrs {
		for p := range addrs {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}
