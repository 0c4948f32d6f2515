package edge

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/hyperfib/hyperfib/vxlan"
)

// MostDisplaced bounds what Displaced returns.
const MostDisplaced = 32

// displaced are the entries of overlays that the kernel does not have, since another program's are in their place.
type displaced struct {
	mu   sync.Mutex
	list map[displacedKey]vxlan.Entry
}

// displacedKey is what identifies an entry, also once it is gone: then a MAC has no VTEP, and an address no MAC.
type displacedKey struct {
	ifindex int
	table   vxlan.Table
	mac     vxlan.MAC
	addr    netip.Addr
}

// take notes how entries stand.
func (d *displaced) take(events []vxlan.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range events {
		if v.Kind != vxlan.EventEntry {
			continue
		}
		k := displacedKey{ifindex: v.Entry.IfIndex, table: v.Entry.Table, mac: v.Entry.MAC, addr: v.Entry.Addr}
		switch {
		case v.Entry.Table == vxlan.TableNeighbors:
			k.mac = vxlan.MAC{}
		case v.Entry.MAC.IsZero():
			k.addr = v.Entry.VTEP
		}
		if v.State != vxlan.StateForeign {
			delete(d.list, k)
			continue
		}
		if d.list == nil {
			d.list = map[displacedKey]vxlan.Entry{}
		}
		d.list[k] = v.Entry
	}
}

// Displaced returns the entries that another program's are in the place of, as they should be, sorted: the first [MostDisplaced].
func (e *Edge) Displaced() []vxlan.Entry {
	d := &e.displaced
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []vxlan.Entry
	for _, entry := range d.list {
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, b vxlan.Entry) int { return strings.Compare(a.String(), b.String()) })
	return list[:min(MostDisplaced, len(list))]
}

// Foreign returns what other programs have in the flood lists of overlays beside what is wanted: the first [MostDisplaced].
func (e *Edge) Foreign() []vxlan.Entry {
	list := e.fdb.Foreign()
	return list[:min(MostDisplaced, len(list))]
}
