package overlay

import (
	"maps"
	"net/netip"
	"slices"
)

// Desired is what the kernel shall have of one overlay.
type Desired struct {
	Flood     map[netip.Addr]bool // VTEPs that get what is flooded; true
	MACs      map[MAC]netip.Addr  // behind which VTEP each MAC is
	Neighbors map[netip.Addr]MAC  // which MAC each address has, of our own guests as well
	Ports     map[MAC]string      // behind which interface each guest is that is here, unless another VTEP has its MAC
	// Settled says that Ports counts: everybody has said everything since the start. Before, a guest that has moved away
	// while no daemon was here may be among them.
	Settled bool

	// What has changed since Taken: everything, the flood list, or single entries.
	all, flood, ports bool
	macs              map[MAC]bool
	neighbors         map[netip.Addr]bool
}

// FloodList returns Flood, sorted.
func (d *Desired) FloodList() []netip.Addr {
	return slices.SortedFunc(maps.Keys(d.Flood), netip.Addr.Compare)
}

// Changed reports whether anything has changed since Taken was called.
func (d *Desired) Changed() bool {
	return d.all || d.flood || d.ports || len(d.macs) > 0 || len(d.neighbors) > 0
}

// Changes returns what has changed since Taken was called: whether the flood list has, and which MACs
// and addresses have. With all the whole Desired is new. It does not say which Ports have: there are few.
func (d *Desired) Changes() (all, flood bool, macs map[MAC]bool, neighbors map[netip.Addr]bool) {
	return d.all, d.flood, d.macs, d.neighbors
}

// Taken says that the caller has everything.
func (d *Desired) Taken() {
	d.all, d.flood, d.ports = false, false, false
	d.macs, d.neighbors = nil, nil
}

func (d *Desired) setFlood(v netip.Addr, in bool) {
	if d.Flood[v] == in {
		return
	}
	d.flood = true
	if in {
		d.Flood[v] = true
	} else {
		delete(d.Flood, v)
	}
}

// setMAC sets the VTEP that a MAC is behind; the zero Addr is none.
func (d *Desired) setMAC(mac MAC, vtep netip.Addr) {
	if d.MACs[mac] == vtep {
		return
	}
	if vtep.IsValid() {
		d.MACs[mac] = vtep
	} else {
		delete(d.MACs, mac)
	}
	if d.macs == nil {
		d.macs = map[MAC]bool{}
	}
	d.macs[mac] = true
}

// setPort sets the interface that a guest's MAC is behind; "" is none.
func (d *Desired) setPort(mac MAC, port string) {
	if d.Ports[mac] == port {
		return
	}
	d.ports = true
	if port != "" {
		d.Ports[mac] = port
	} else {
		delete(d.Ports, mac)
	}
}

// setNeighbor sets the MAC of an address; the zero MAC is none.
func (d *Desired) setNeighbor(a netip.Addr, mac MAC) {
	if d.Neighbors[a] == mac {
		return
	}
	if mac != (MAC{}) {
		d.Neighbors[a] = mac
	} else {
		delete(d.Neighbors, a)
	}
	if d.neighbors == nil {
		d.neighbors = map[netip.Addr]bool{}
	}
	d.neighbors[a] = true
}
