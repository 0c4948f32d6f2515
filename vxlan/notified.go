package vxlan

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// What the kernel tells of changes, and what is due because of it.

// notified takes a notification, and reports whether a comparison is due because of it.
func (c *core) notified(m rtnl.Message, protocol uint8, now time.Time) bool {
	switch m.Type {
	case rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK:
		l, err := parseDevice(m.Body)
		return err == nil && m.Body[0] != rtnl.AF_BRIDGE && c.linkChanged(l, m.Type == rtnl.RTM_DELLINK, now)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		e, ok := parseEntry(m.Body, protocol)
		return ok && c.notification(e, m.Type == rtnl.RTM_DELNEIGH, now)
	}
	return false
}

// notification takes the kernel's word of a change, and reports whether a comparison is due
// because it contradicts what is desired and may be repaired now.
func (c *core) notification(e dumped, gone bool, now time.Time) (due bool) {
	if e.Table != TableBridge {
		d := c.devices[e.IfIndex]
		return d != nil && c.contradicted(d, e, gone, now)
	}
	for port := range c.ports[e.master] {
		due = c.contradicted(c.devices[port], e, gone, now) || due
	}
	return due
}

// contradicted is notification for one device. What is not desired is noted, where that decides how it will
// be written.
func (c *core) contradicted(d *device, e dumped, gone bool, now time.Time) bool {
	k := keyOf(e.Entry)
	k.link = d.ifindex
	delete(d.suspicions.of, k)
	if !d.read {
		return false
	}
	contradicts := false
	switch w, wanted := d.want.macs[e.MAC]; {
	case e.Table == TableNeighbors:
		after := table{neighbors: map[netip.Addr]neighbor{}}
		if !gone {
			after.neighbors[e.Addr] = e.neighbor()
		}
		o, _ := neighborOp(&d.want, &after, e.Addr)
		if _, wanted := d.want.neighbors[e.Addr]; wanted {
			contradicts = o != opKeep
			if n := after.neighbors[e.Addr]; !gone && n.origin == foreign {
				d.have.neighbors[e.Addr] = n // not to be replaced
				c.changed(d, k)
			}
		} else if n, there := after.neighbors[e.Addr]; !there {
			delete(d.have.neighbors, e.Addr)
		} else if d.what.resolves {
			d.have.neighbors[e.Addr] = n
		}
	case e.Table == TableBridge:
		p := e.place(d.ifindex, c.managed)
		if !gone && p.origin == foreign { // not to be replaced, nor deleted
			d.have.bridge[e.MAC] = p
			c.changed(d, k)
		}
		switch {
		case wanted && p.here:
			contradicts = gone || p.origin == learned
		case wanted:
			contradicts = !gone
		case !gone && p.here:
			d.have.bridge[e.MAC] = p
		case gone && d.have.bridge[e.MAC].here == p.here, !gone && p.origin == learned:
			delete(d.have.bridge, e.MAC) // what is learned may be replaced, as if it were not there
		}
	case e.MAC.IsZero():
		_, wanted := d.want.flood[e.VTEP]
		contradicts = wanted && gone
		if _, known := d.have.flood[e.VTEP]; !wanted && gone {
			delete(d.have.flood, e.VTEP)
		} else if !wanted && !known && e.origin == foreign {
			d.have.flood[e.VTEP] = foreign // see [FDB.Foreign]
		}
	default:
		contradicts = wanted && gone == (w.vtep == e.VTEP)
	}
	switch {
	case contradicts && c.brakes[k].Ready(now):
		return d.compareBy(now, now.Add(settle))
	case contradicts: // it is repaired later, and is known to be otherwise until then
		if o, _ := d.op(k); o == opKeep {
			d.record(k).lost = true
		}
		d.have.observe(e, d.ifindex, gone, c.managed)
		c.changed(d, k)
	case !gone && d.records[k] != nil && d.records[k].lost && d.wants(k): // others have done it
		d.have.observe(e, d.ifindex, gone, c.managed)
		d.records[k].lost = false
		c.changed(d, k)
	}
	return false
}

// compareBy makes a comparison due at t, because of what has come now, and reports whether it was due no earlier.
func (d *device) compareBy(now, t time.Time) bool {
	d.look, d.asked = false, now
	if !d.due.IsZero() && !t.Before(d.due) {
		return false
	}
	d.due = t
	return true
}

// notificationsLost reports whether comparisons are due because the kernel has lost
// notifications.
func (c *core) notificationsLost(now time.Time) (due bool) {
	for _, d := range c.devices {
		clear(d.suspicions.of)
		due = d.read && d.compareBy(now, now.Add(settle)) || due
	}
	return due
}
