package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
)

// Events implements [api.Backend].
func (d *Daemon) Events(recent int) (*journal.Reader, error) { return d.journal.Subscribe(recent) }

// Neighbours implements [api.Backend]: the kernel's tables of every namespace, joined
// with the addresses that guests were found to have.
func (d *Daemon) Neighbours() ([]api.Neighbour, error) {
	all := []api.Neighbour{}
	for _, n := range d.namespaces {
		list, err := n.Kernel().Neighbours()
		if err != nil {
			return nil, err
		}
		d.ask(func(r *router) { all = append(all, r.neighboursAt(n, list)...) })
	}
	slices.SortFunc(all, func(a, b api.Neighbour) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), a.Address.Compare(b.Address))
	})
	return all, nil
}

// where is one address on one interface.
type where struct {
	link int
	addr netip.Addr
}

// neighboursAt joins what the kernel of a namespace has with what was found, which is only
// about guests.
func (r *router) neighboursAt(p *netns.Namespace, kernel []netns.Neighbour) (out []api.Neighbour) {
	byAddress := map[where]*api.Neighbour{}
	at := func(w where) *api.Neighbour {
		if byAddress[w] == nil {
			name, ok := p.Links().Name(w.link)
			if !ok {
				name = fmt.Sprintf("if%d", w.link)
			}
			byAddress[w] = &api.Neighbour{Interface: name, Address: w.addr}
		}
		return byAddress[w]
	}
	for _, n := range kernel {
		e := at(where{n.IfIndex, n.Addr})
		e.MAC, e.Router = n.MAC.String(), n.Router
		e.Kernel = n.State
	}
	if p == r.home() {
		r.foundNeighbours(at)
		for _, e := range byAddress {
			r.guestOf(e)
		}
	}
	for _, e := range byAddress {
		out = append(out, *e)
	}
	return out
}

func (r *router) foundNeighbours(at func(where) *api.Neighbour) {
	for a, s := range r.findings.spoken {
		e := at(where{s.link, a})
		e.Found, e.Since = "presumed", s.since
		if s.mac != [6]byte{} {
			e.Found, e.MAC = "speaks", net.HardwareAddr(s.mac[:]).String()
		}
		if c := s.conflict; c != nil {
			name, _ := r.home().Links().Name(c.IfIndex)
			e.Conflict = &api.Conflict{Interface: name, MAC: c.MAC.String(), Time: s.rivalled}
		}
	}
}

// guestOf notes which guest an address belongs to.
func (r *router) guestOf(e *api.Neighbour) {
	for _, name := range slices.Sorted(maps.Keys(r.served)) {
		p := r.served[name]
		if p.Interface != e.Interface {
			continue
		}
		e.Guest = name
		for _, a := range p.IPv4 {
			e.Announced = e.Announced || a.Addr == e.Address
		}
		for _, q := range append(slices.Clip(p.IPv6), p.Routed...) {
			e.Announced = e.Announced || q.Contains(e.Address)
		}
		return
	}
}
