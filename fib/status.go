package fib

import (
	"cmp"
	"fmt"
)

// Stats are counters since New, and sizes now.
type Stats struct {
	Desired, Installed, Held, Failed, Foreign, Stale int // routes now

	Adds, Replaces, Deletes uint64 // route messages sent
	ObjectWrites            uint64 // next-hop messages sent
	RuleWrites              uint64 // rule messages sent
	OtherWrites             uint64 // address and neighbour messages, sysctls
	Errors                  uint64 // refused by the kernel
	Repairs                 uint64 // put back after foreign interference
	Notifications           uint64 // read from the monitor socket
	Resyncs                 uint64 // because notifications or replies were lost
}

// Difference is one line of [FIB.Diff].
type Difference struct {
	// Op is "add", "replace", "delete" or "held".
	Op string
	// Key names the object as in [Error].
	Key any
	// Want and Have describe it in words; "" is absent.
	Want, Have string
}

// String formats the status as `10.1.0.0/16 table 90: partial, 1 of 2 next hops`.
func (s RouteStatus) String() string {
	text := fmt.Sprintf("%v: %v", s.RouteKey, s.State)
	if len(s.NextHops) > 1 && s.State != StateInstalled {
		text += fmt.Sprintf(", %d of %d next hops", s.Active, len(s.NextHops))
	}
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

// String formats the line as `add 203.0.113.1/32 table 90: want ..., have ...`.
func (d Difference) String() string {
	return fmt.Sprintf("%s %v: want %s, have %s", d.Op, d.Key, cmp.Or(d.Want, "nothing"), cmp.Or(d.Have, "nothing"))
}
