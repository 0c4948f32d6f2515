package vxlan

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Table says which of the kernel's tables an [Entry] is in.
type Table uint8

// The tables that make up an overlay.
const (
	// TableDevice is the forwarding table of a VXLAN device: frames for MAC go to VTEP.
	TableDevice Table = iota
	// TableBridge is the forwarding table of the bridge that the VXLAN device is a port of: frames
	// for MAC leave by the device.
	TableBridge
	// TableNeighbors is the neighbour table of an interface, ARP or NDP: Addr has MAC.
	TableNeighbors
)

// String returns a stable name, fit for a log.
func (t Table) String() string {
	return enum.String("Table", []string{"device", "bridge", "neighbors"}, t)
}

// Entry is one entry of a table; the zero Table is that of a VXLAN device. There, the zero MAC
// stands for broadcast, unknown and multicast frames: its destinations are the
// flood list, and each gets a copy (head-end replication). Entry is comparable.
type Entry struct {
	IfIndex int        // interface index: of the VXLAN device, or of the one that the neighbour is on
	MAC     MAC        // zero in TableDevice: one of the flood list
	VTEP    netip.Addr // where its frames go, in TableDevice
	Table   Table      // where it is
	Addr    netip.Addr // whose MAC it is, in TableNeighbors
}

// String returns the entry as `bridge fdb` or `ip neigh` does, with the interface's index.
func (e Entry) String() string {
	switch {
	case e.Table == TableNeighbors:
		return fmt.Sprintf("%v dev %d lladdr %v", e.Addr, e.IfIndex, e.MAC)
	case e.Table == TableBridge:
		return fmt.Sprintf("%v dev %d master", e.MAC, e.IfIndex)
	case !e.VTEP.IsValid():
		return fmt.Sprintf("%v dev %d", e.MAC, e.IfIndex)
	}
	return fmt.Sprintf("%v dev %d dst %v", e.MAC, e.IfIndex, e.VTEP)
}

// Result counts what Flush or Reconcile found and did, in entries; each destination of a flood list is one.
type Result struct {
	Added, Replaced, Deleted int // changes made
	Kept                     int // desired and there (of a comparison only)
	// Foreign is what is there in the tables of VXLAN devices, not desired and not ours (of a comparison only).
	Foreign int
}

// Writes is the number of changes made to the kernel.
func (r Result) Writes() int { return r.Added + r.Replaced + r.Deleted }

func (r *Result) add(o Result) {
	r.Added += o.Added
	r.Replaced += o.Replaced
	r.Deleted += o.Deleted
	r.Kept += o.Kept
	r.Foreign += o.Foreign
}

// count counts a change that was made.
func (r *Result) count(o op) {
	switch o {
	case opAdd:
		r.Added++
	case opReplace:
		r.Replaced++
	case opDelete:
		r.Deleted++
	}
}
