package fibcore

import "time"

// Config says what a core owns, and how it decides. Package fib documents the values and
// fills in the defaults: here none is.
type Config struct {
	Protocol           uint8 // of what is ours
	PersistentProtocol uint8 // of persistent routes
	Tables             []uint32
	// NextHopBase is the first of NextHopCount ids of next-hop objects that are ours.
	NextHopBase, NextHopCount uint32
	RTAMultipath              bool // no groups
	OnForeign                 ForeignPolicy
	DryRun                    bool          // nothing is written: AdoptOnly takes the place of Plan
	Audit                     time.Duration // of sysctls and proxy entries; negative: never
	AuditRound                time.Duration // of all else; negative: never
	BatchMessages             int           // that a batch has at most
}

// ForeignPolicy is what to do about a route of another protocol under the key of a desired
// route.
type ForeignPolicy uint8

const (
	ForeignRefuse ForeignPolicy = iota // leave it until the route is set again
	ForeignWait                        // leave it until it is gone
	ForeignTake                        // replace it
)
