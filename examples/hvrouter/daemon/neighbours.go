package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// Events implements [api.Backend].
func (d *Daemon) Events(recent int) (*journal.Reader, error) { return d.journal.Subscribe(recent) }

// Neighbours implements [api.Backend]: the kernel's tables of every namespace, joined
// with the addresses that guests were found to have.
func (d *Daemon) Neighbours() ([]api.Neighbour, error) {
	all := []api.Neighbour{}
	for _, s := range d.namespaces {
		list, err := kernelNeighbours(s.netns.Path())
		if err != nil {
			return nil, err
		}
		d.ask(func(r *router) { all = append(all, r.neighboursAt(s.namespace, list)...) })
	}
	slices.SortFunc(all, func(a, b api.Neighbour) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), a.Address.Compare(b.Address))
	})
	return all, nil
}

// neighbour is an entry of a neighbour table.
type neighbour struct {
	link   int
	addr   netip.Addr
	mac    net.HardwareAddr
	state  uint16
	router bool
}

// kernelNeighbours reads the neighbour tables of a namespace, without groups and the like.
func kernelNeighbours(path string) (out []neighbour, err error) {
	err = netns.Do(path, func() error {
		conn, err := rtnetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		list, err := conn.Neigh.List()
		for _, m := range list {
			if m.Attributes == nil || m.State&unix.NUD_NOARP != 0 || m.State == unix.NUD_NONE {
				continue
			}
			if a, ok := netip.AddrFromSlice(m.Attributes.Address); ok {
				out = append(out, neighbour{int(m.Index), a.Unmap(), m.Attributes.LLAddress, m.State, m.Flags&unix.NTF_ROUTER != 0})
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("neighbours: %w", err)
	}
	return out, nil
}

// neighbourStates names the kernel's states.
var neighbourStates = map[uint16]string{
	unix.NUD_INCOMPLETE: "incomplete", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale", unix.NUD_DELAY: "delay",
	unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_PERMANENT: "permanent",
}

// where is one address on one interface.
type where struct {
	link int
	addr netip.Addr
}

// neighboursAt joins what the kernel of a namespace has with what was found, which is only
// about guests.
func (r *router) neighboursAt(p *namespace, kernel []neighbour) (out []api.Neighbour) {
	byPlace := map[where]*api.Neighbour{}
	at := func(w where) *api.Neighbour {
		if byPlace[w] == nil {
			name, ok := p.links.name(w.link)
			if !ok {
				name = fmt.Sprintf("if%d", w.link)
			}
			byPlace[w] = &api.Neighbour{Interface: name, Address: w.addr}
		}
		return byPlace[w]
	}
	for _, n := range kernel {
		e := at(where{n.link, n.addr})
		e.MAC, e.Router = n.mac.String(), n.router
		e.Kernel = cmp.Or(neighbourStates[n.state], fmt.Sprintf("%#x", n.state))
	}
	if p == r.home() {
		r.foundNeighbours(at)
		for _, e := range byPlace {
			r.guestOf(e)
		}
	}
	for _, e := range byPlace {
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
			name, _ := r.home().links.name(c.IfIndex)
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
