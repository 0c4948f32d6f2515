package world

import (
	"net/netip"
	"slices"
	"time"
)

// guest is a virtual machine: it is at one hypervisor at a time, or nowhere.
type guest struct {
	number int
	name   string
	addr   netip.Addr
	addr6  netip.Addr // in its prefix; invalid: it has none
	home   *hypervisor
	left   time.Duration // when it last left a hypervisor
	before *hypervisor   // that one
	news   time.Duration // when it last came, went or moved
	told   bool          // it has
	former []formerHome  // others that it has left, once each
	flows  []*flow       // to it
}

// formerHome is a hypervisor that a guest has left. While its daemon is away it announces the guest
// still, wherever that has been since.
type formerHome struct {
	h    *hypervisor
	left time.Duration
	dead bool // its daemon was, so that reflectors prefer who announces the guest since
}

// String returns the name of the guest.
func (g *guest) String() string { return g.name }

func (w *World) guest(n int) *guest {
	for len(w.guests) < n {
		k := len(w.guests) + 1
		g := &guest{number: k, name: guestName(k), addr: guestAddress(k)}
		if w.config.Sessions != SessionsIPv4 {
			g.addr6 = guestAddress6(k)
		}
		w.guests = append(w.guests, g)
	}
	return w.guests[n-1]
}

// Times that guests take.
const (
	// arrival is how long after the start of a guest the others may take to reach it.
	arrival = 500 * time.Millisecond
	// departure is how long after its departure others may still send to where it was.
	departure = time.Second
)

// guestComes starts a guest at a hypervisor, unless it is somewhere already.
func (w *World) guestComes(n int, h *hypervisor) {
	g := w.guest(n)
	if g.home != nil || !h.alive {
		return
	}
	g.home = h
	w.homeChanged(g, nil)
	h.plugGuest(g)
	h.want(g)
}

// guestGoes ends a guest.
func (w *World) guestGoes(n int) {
	g := w.guest(n)
	h := g.home
	if h == nil {
		return
	}
	g.home, g.before, g.left = nil, h, w.now
	w.homeChanged(g, h)
	if h.alive {
		h.unwant(g)
		h.unplugGuest(g)
	}
}

// guestMoves migrates a guest: it is announced at the destination as soon as it runs there,
// and the source forgets it then.
func (w *World) guestMoves(n int, h *hypervisor) {
	g := w.guest(n)
	old := g.home
	if old == nil || old == h || !h.alive || !old.alive {
		return
	}
	g.home, g.before, g.left = h, old, w.now
	w.homeChanged(g, old)
	h.plugGuest(g)
	h.want(g)
	w.after(200*time.Millisecond, func() {
		if g.home != old && old.alive {
			old.unwant(g)
			old.unplugGuest(g)
		}
	})
}

// guestClaimed puts a guest into the inventory of a hypervisor that has not got it, or takes it
// out of there: a mistake of an orchestrator.
func (w *World) guestClaimed(n int, h *hypervisor, claimed bool) {
	g := w.guest(n)
	if g.home == h || !h.alive {
		return
	}
	if claimed {
		h.want(g)
	} else {
		h.unwant(g)
	}
}

// homeChanged opens the allowances of a guest that comes, goes or moves.
func (w *World) homeChanged(g *guest, old *hypervisor) {
	w.changed = true
	for _, f := range g.flows {
		w.mark(f)
	}
	g.news, g.told = w.now, true
	if old != nil {
		g.former = append(slices.DeleteFunc(g.former, func(x formerHome) bool { return x.h == old }), formerHome{old, w.now, old.daemon.state == dead})
	}
}

// guestOf returns the guest that has an address, nil if none has.
func (w *World) guestOf(a netip.Addr) *guest {
	n := 0
	if a.Is4() && guestSubnet.Contains(a) {
		b := a.As4()
		n = int(b[1]-64)<<16 | int(b[2])<<8 | int(b[3])
	} else if a.Is6() {
		b := a.As16()
		if n = int(b[5])<<16 | int(b[6])<<8 | int(b[7]); n > 0 && !guestPrefix6(n).Contains(a) {
			n = 0
		}
	}
	if n < 1 || n > len(w.guests) {
		return nil
	}
	return w.guests[n-1]
}

func parseAddr(s string) netip.Addr { return netip.MustParseAddr(s) }
