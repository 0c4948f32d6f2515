package vxlan

import (
	"maps"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/brake"
)

// What is in this file is what the owner desires, and what it lets go.

func (c *core) setFlood(ifindex int, next map[netip.Addr]origin) {
	d := c.forwards(ifindex)
	before := d.want.flood
	d.want.flood = next
	for v := range next {
		if _, ok := before[v]; !ok {
			c.desired(d, entryKey{link: d.ifindex, addr: v})
		}
	}
	for v := range before {
		if _, ok := next[v]; !ok {
			c.desired(d, entryKey{link: d.ifindex, addr: v})
		}
	}
}

func (c *core) setMAC(ifindex int, mac MAC, vtep netip.Addr) {
	d := c.forwards(ifindex)
	before, there := d.want.macs[mac]
	d.want.macs[mac] = destination{vtep, ours}
	switch {
	case !there:
		c.desiredMAC(d, mac)
	case before.vtep != vtep: // it is behind the device as before
		c.desired(d, entryKey{link: d.ifindex, mac: mac})
	}
}

func (c *core) deleteMAC(ifindex int, mac MAC) {
	d := c.devices[ifindex]
	if d == nil {
		return
	}
	if _, ok := d.want.macs[mac]; ok || !c.swept {
		delete(d.want.macs, mac)
		c.desiredMAC(d, mac)
	}
}

func (c *core) desiredMAC(d *device, mac MAC) {
	c.desired(d, entryKey{link: d.ifindex, mac: mac})
	if d.have.bridge != nil || !c.swept { // a comparison comes before it is a port
		c.desired(d, entryKey{link: d.ifindex, table: TableBridge, mac: mac})
	}
}

func (c *core) setNeighbor(ifindex int, addr netip.Addr, mac MAC) {
	d := c.resolves(ifindex)
	if d.want.neighbors[addr].mac != mac {
		d.want.neighbors[addr] = neighbor{mac, ours, true}
		c.desired(d, entryKey{link: d.ifindex, table: TableNeighbors, addr: addr})
	}
}

func (c *core) deleteNeighbor(ifindex int, addr netip.Addr) {
	d := c.devices[ifindex]
	if d == nil {
		return
	}
	if _, ok := d.want.neighbors[addr]; ok || !c.swept {
		delete(d.want.neighbors, addr)
		c.desired(d, entryKey{link: d.ifindex, table: TableNeighbors, addr: addr})
	}
}

// setSegment makes s, which is valid, all that is desired of its interfaces.
func (c *core) setSegment(s *Segment, flood map[netip.Addr]origin) {
	c.setFlood(s.Device, flood)
	d := c.forwards(s.Device)
	for mac := range d.want.macs {
		if _, ok := s.MACs[mac]; !ok {
			c.deleteMAC(s.Device, mac)
		}
	}
	for mac, vtep := range s.MACs {
		c.setMAC(s.Device, mac, vtep.Unmap())
	}
	if s.Interface == 0 {
		return
	}
	d = c.resolves(s.Interface)
	next := make(map[netip.Addr]MAC, len(s.Neighbors))
	for a, mac := range s.Neighbors {
		next[a.Unmap()] = mac
	}
	for a := range d.want.neighbors {
		if _, ok := next[a]; !ok {
			c.deleteNeighbor(s.Interface, a)
		}
	}
	for a, mac := range next {
		c.setNeighbor(s.Interface, a, mac)
	}
}

// sweep lets go what an earlier process left and nobody wants.
func (c *core) sweep() {
	if c.swept {
		return
	}
	c.swept = true
	for _, d := range c.devices {
		clear(d.released)
		for k := range d.keys() {
			if o, _ := d.op(k); o == opDelete {
				d.dirty[k] = struct{}{}
			}
		}
	}
}

// desired notes that something else is desired of an entry: what was wrong with the former is
// of no interest.
func (c *core) desired(d *device, k entryKey) {
	delete(d.suspicions.of, k)
	d.dirty[k] = struct{}{}
	if delete(d.released, k); !c.swept && !d.wants(k) {
		d.released[k] = struct{}{}
	}
	if r := d.records[k]; r != nil {
		r.err, r.lost = nil, false
	}
	c.changed(d, k)
}

// wants reports whether the entry of k is desired, if it can be.
func (d *device) wants(k entryKey) (ok bool) {
	switch {
	case k.table == TableNeighbors:
		_, ok = d.want.neighbors[k.addr]
	case k.table == TableDevice && k.mac.IsZero():
		_, ok = d.want.flood[k.addr]
	default:
		_, ok = d.want.macs[k.mac]
	}
	return ok
}

func (c *core) forget(ifindex int) {
	d := c.devices[ifindex]
	if d == nil {
		return
	}
	delete(c.devices, ifindex)
	c.leave(d)
	maps.DeleteFunc(c.aliases, func(from, to int) bool { return from == ifindex || to == ifindex })
	maps.DeleteFunc(c.brakes, func(k entryKey, _ *brake.Brake) bool { return k.link == ifindex })
	for k := range d.keys() {
		c.mark(k)
	}
}
