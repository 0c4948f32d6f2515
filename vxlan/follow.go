package vxlan

import (
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
)

// What is desired follows the name of its interface: one that another program deletes and makes again has
// another index. Also, what a device's bridge shall have depends on which bridge it is a port of.

// resolve returns the index of the interface that the caller means by ifindex.
func (c *core) resolve(ifindex int) int {
	if to, ok := c.aliases[ifindex]; ok && c.devices[ifindex] == nil {
		return to
	}
	return ifindex
}

// sameAs reports whether l is the interface f made again.
func (f *found) sameAs(l *found) bool {
	return f.index != 0 && f.Interface == l.Interface && f.kind == l.kind && f.VNI == l.VNI
}

// follow moves what is desired on d to the interface l, which has its name now. The caller may go on to
// speak of the index that it knows, or of the one before this; those between are forgotten. If it has found l
// already, d is forgotten, and the result is false.
func (c *core) follow(d *device, l *found, now time.Time) bool {
	if c.devices[l.index] != nil {
		c.forget(d.ifindex)
		return false
	}
	next := c.on(l.index)
	next.want, next.what, next.committed, next.link, next.flaps = d.want, d.what, d.committed, *l, d.flaps
	next.flaps.Repaired(now)
	first := d.ifindex
	for from, to := range c.aliases {
		if to == d.ifindex {
			first = min(first, from)
		}
	}
	c.forget(d.ifindex)
	c.aliases[first], c.aliases[d.ifindex] = l.index, l.index
	for k := range next.keys() {
		c.mark(k)
	}
	return true
}

// join notes which bridge d is a port of, and whether it is up. A change is a new chance for what was refused.
func (c *core) join(d *device, l *found, now time.Time) {
	if d.link.index != 0 && !d.link.standsAs(l) {
		maps.DeleteFunc(c.brakes, func(k entryKey, _ *brake.Brake) bool { return k.link == d.ifindex })
		d.flaps.Repaired(now)
	}
	c.leave(d)
	d.link = *l
	if b := l.bridge(); b != 0 && d.what.forwards {
		if c.ports[b] == nil {
			c.ports[b] = make(map[int]struct{})
		}
		c.ports[b][d.ifindex] = struct{}{}
	}
}

// standsAs reports whether l, the same interface, is up and a bridge's port as f is.
func (f *found) standsAs(l *found) bool { return f.up == l.up && f.bridge() == l.bridge() }

func (c *core) leave(d *device) {
	b := d.link.bridge()
	if delete(c.ports[b], d.ifindex); len(c.ports[b]) == 0 {
		delete(c.ports, b)
	}
}

// linkChanged takes the kernel's word of an interface, and reports whether a comparison is due: because it is gone,
// is back, has come up or is another bridge's port. It may be older than what was read, or newer than what is being
// read, so first is looked whether that is so. Comparisons are slowed down as repairs are, should another program have it come and go all the time.
func (c *core) linkChanged(l *found, gone bool, now time.Time) (due bool) {
	soon := func(d *device) {
		delete(c.brakes, entryKey{link: d.ifindex})
		d.asked = now
		if d.due.IsZero() {
			d.due, d.look, due = later(now.Add(settle), d.flaps.Next), true, true
		}
	}
	if d := c.devices[l.index]; d != nil {
		if d.link.index != 0 && (gone || d.underWay || !d.link.standsAs(l)) {
			soon(d)
		}
		return due
	}
	for _, d := range c.devices {
		if !gone && d.link.sameAs(l) {
			soon(d)
		}
	}
	return due
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
