package rib

import (
	"errors"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Reconfigure changes what of the configuration shapes what is sent: NextHopSelf, the next
// hops, Export, Default, DefaultMembership, AddPathLimit, LongLived and Notify. What was negotiated must stay as it is. The
// peer is sent all routes as they are to be now, and withdrawals of those that it is no
// longer to have, without a reset and without a route refresh; a route that it keeps
// is at no time withdrawn.
func (o *Out) Reconfigure(c OutConfig) error {
	t := o.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.closed || o.in.closed {
		return errors.New("rib: the session is closed")
	}
	if c.Families == 0 {
		c.Families = wire.Families(wire.IPv4Unicast)
	}
	old, key := o.g, keyOf(o.in, c)
	if key.families != old.key.families || key.addPath != old.key.addPath || key.as4 != old.key.as4 ||
		key.ignore != old.key.ignore || key.long != old.key.long || key.mixed != old.key.mixed || key.external != old.key.external {
		return errors.New("rib: what was negotiated cannot change within a session")
	}
	o.notify = c.Notify
	if key == old.key {
		return nil
	}
	if !o.behind {
		o.fallBehind()
		o.counters.Lagged--
	}
	if o.dump.enhanced { // its end marker is due: once more, in the new light
		o.refreshes[familyIndex(o.dump.current())] = refresh{wanted: true, enhanced: true}
	}
	o.dump = dump{}
	o.putAll(old)
	o.endConstraint() // what is dirty now has the rest of the differences, too
	o.in.own = [2]netip.Addr{c.NextHop4.Addr, c.NextHop6.Addr}
	g := t.groupFor(o.in, c)
	g.admitAll(o.in)
	o.putAll(g)
	g.members = append(g.members, o)
	old.dismiss(o)
	g.admit(o)
	g.lagging++
	o.g = g
	// What is dirty in the new group must be in its adverts before they are believed: else a
	// route would be withdrawn for a moment.
	o.waits = g.queued
	if o.eor != eorSent {
		o.eor = eorFresh
	}
	old.lagging--
	old.remove(o)
	o.wake()
	return nil
}

// putAll marks dirty for the session all that a group advertises, and the peer wants, or may have.
func (o *Out) putAll(g *group) {
	for f, fam := range families {
		addPath := g.key.addPath.Has(fam)
		for id := g.adverts.next(f, 0); id != 0; id = g.adverts.next(f, id+1) {
			for a := range g.adverts.of(id) {
				switch {
				case g.constrains(id) && !o.concerned(a.attr):
				case addPath:
					o.todo.putPath(o.t, id, a.out)
				default:
					o.todo.put(o.t, id)
				}
			}
		}
	}
}
