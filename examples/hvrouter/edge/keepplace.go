package edge

import (
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
)

// What is in this file is where guests' entries are put, and taken back.

// place writes the entries of guests that are new, and takes back those of guests that are gone. The error is that of reading
// what an earlier run has left, without which nothing is written.
func (k *keeper) place(name string, o *kept, joined []int) error {
	if o.placed == nil {
		placed, err := k.links.placed(o.quiet)
		if err != nil {
			return err
		}
		o.placed = placed
	}
	of := func(mac overlay.MAC) subject { return subject{overlay: name, mac: mac} }
	maps.DeleteFunc(k.refusals, func(s subject, _ error) bool {
		_, here := o.guests[s.mac]
		_, left := o.placed[s.mac]
		return s.overlay == name && s.link == 0 && !here && !left
	})
	maps.DeleteFunc(o.placed, func(_ overlay.MAC, port int) bool { return slices.Contains(joined, port) })
	for mac, port := range o.placed {
		if now, ok := o.guests[mac]; ok && now == port {
			continue
		}
		err := k.links.unplace(mac, port)
		if k.note(of(mac), err); err == nil {
			delete(o.placed, mac)
		}
	}
	for mac, port := range o.guests {
		if _, there := o.placed[mac]; there {
			continue
		}
		switch err := k.links.place(mac, port); {
		case gone(err): // it is going, or no port any more: an event follows
			k.note(of(mac), nil)
		case err != nil:
			k.note(of(mac), err)
		default:
			k.note(of(mac), nil)
			o.placed[mac] = port
		}
	}
	return nil
}

// takeBack takes back the entry of a guest that is gone, if that is still to be done.
func (k *keeper) takeBack(o *kept, mac overlay.MAC) error {
	port, left := o.placed[mac]
	if !left || o.guests == nil {
		return nil
	}
	err := k.links.unplace(mac, port)
	if err == nil {
		delete(o.placed, mac)
	}
	return err
}
