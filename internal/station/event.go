package station

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// EventKind is what a Tracker has noticed.
type EventKind uint8

// The kinds of events.
const (
	Seen     EventKind = iota // a station speaks for the first time
	Moved                     // the same station speaks on another link, and no longer where it was
	Conflict                  // another station, or the same on another link, claims an address that is taken
	Gone                      // a station no longer answers, or its link was removed
)

// String returns the kind in lower case.
func (k EventKind) String() string {
	return enum.String("EventKind", []string{"seen", "moved", "conflict", "gone"}, k)
}

// Event is one observation. The packages arp and ndp have a type of the same fields.
type Event struct {
	Kind       EventKind  // what happened
	IP         netip.Addr // the address
	IfIndex    int        // index of the interface where it is; with Conflict, where the claim came from
	MAC        ether.MAC  // of the station that has it; with Conflict, of the one that claims it
	OldIfIndex int        // index of the interface where it was; with Conflict, of the station that has the address
	OldMAC     ether.MAC  // the MAC that it had; with Conflict, of the station that has the address
}

// String returns the event on one line.
func (e Event) String() string {
	switch e.Kind {
	case Moved:
		return fmt.Sprintf("moved %v %v from link %d to link %d", e.IP, e.MAC, e.OldIfIndex, e.IfIndex)
	case Conflict:
		return fmt.Sprintf("conflict %v of %v on link %d, claimed by %v on link %d", e.IP, e.OldMAC, e.OldIfIndex, e.MAC, e.IfIndex)
	}
	return fmt.Sprintf("%v %v %v on link %d", e.Kind, e.IP, e.MAC, e.IfIndex)
}
