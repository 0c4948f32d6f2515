package vxlan

import (
	"fmt"
	"net/netip"
)

// Entry is one destination in a forwarding table: frames for MAC go to VTEP. The zero MAC
// stands for broadcast, unknown and multicast frames: its destinations are the
// flood list, and each gets a copy (head-end replication). Entry is comparable.
type Entry struct {
	IfIndex int        // interface index of the VXLAN device
	MAC     MAC        // zero: one of the flood list
	VTEP    netip.Addr // where its frames go
}

// String returns the entry as `bridge fdb` does, with the interface's index.
func (e Entry) String() string {
	if !e.VTEP.IsValid() {
		return fmt.Sprintf("%v dev %d", e.MAC, e.IfIndex)
	}
	return fmt.Sprintf("%v dev %d dst %v", e.MAC, e.IfIndex, e.VTEP)
}

// Result counts what Flush or Reconcile found and did, in destinations.
type Result struct {
	Added, Replaced, Deleted int // changes made
	Kept                     int // desired and there (of a comparison only)
	Foreign                  int // there, not desired and not ours (of a comparison only)
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
