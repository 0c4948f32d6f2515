package daemon

import (
	"context"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
	"github.com/hyperfib/hyperfib/vxlan"
)

// announcer is what the loop uses of a [sessions.Member].
type announcer interface {
	Announce([]domain.Announcement)
	Withdraw([]netip.Prefix)
	// DrainDefaults says what becomes of the default routes that neighbours are announced.
	DrainDefaults(sessions.Drain)
	// SetEVPN originates, replaces or withdraws EVPN routes.
	SetEVPN([]overlay.Change)
	// InventoryComplete says that everything of ours has been announced once.
	InventoryComplete()
	// Configure brings the sessions in line with the domain's configuration;
	// sessions that did not change are left alone.
	Configure(*config.Config, config.Domain)
}

// edge is an [eg.Edge], the side towards the guests, with its sockets.
type edge interface {
	Edge
	// Run serves until ctx ends. Close closes what Run has not.
	Run(context.Context) error
	Close()
}

// Edge is what the daemon uses of the side towards the guests.
type Edge interface {
	// Sightings waits for addresses that guests send from, Heard for those that asked for the
	// gateway. An error is the end.
	Sightings(context.Context) ([]eg.Sighting, error)
	Heard(context.Context) ([]ndp.Sender, error)

	// Arrive prepares the interface of a guest that came or changed: address and
	// state of the link. It is called before the guest's routes are set.
	Arrive(*config.Config, guest.Port)
	// Serve begins, or changes, what the guest gets: router advertisements, DHCP,
	// announcements of our addresses. It is called after the routes are set.
	Serve(*config.Config, ...guest.Port)
	// Reannounce says the same again: the guest's interface has just got its carrier.
	Reannounce(*config.Config, guest.Port)
	// Silence ends answering the guest's ARP requests before it returns.
	Silence(guest.Port)
	// Known leaves the guest's questions from p.Heard to the kernel, which knows them now.
	Known(p guest.Port)
	// Leave ends it; gone reports that the interface is not there any more.
	Leave(p guest.Port, gone bool)
	// Target and NoTarget say which prefixes are allocated, and behind which link
	// of ours they are (0: none), for the responders of ARP and neighbour
	// solicitations.
	Target(p netip.Prefix, link int)
	NoTarget(p netip.Prefix)
	// Abuse counts what a guest that is served said and was refused, Strays what is no guest's.
	Abuse(guest.Port) []eg.Abuse
	Strays() eg.Strays
	// Overlays brings the overlays in line: their devices and ports, and the forwarding entries of those
	// without EVPN, before it returns; what content has of the others is taken, and written soon. vteps are the host
	// routes that the domains have. It returns how each overlay stands: nil if its interfaces are there, or why not.
	Overlays(c *config.Config, link func(name string) (fib.Link, bool), vteps []netip.Addr, content func(name string) eg.Content) map[string]error
	// Refused returns what of an overlay that is there the kernel does not take; nil: nothing.
	Refused(overlay string) error
	// Displaced returns entries of overlays that are as they should be nowhere: another program's are in their place.
	Displaced() []vxlan.Entry
	// Foreign returns what other programs have in the flood lists of overlays beside what is wanted.
	Foreign() []vxlan.Entry
	// SweepOverlays deletes what an earlier run has left in overlays and nobody wants.
	SweepOverlays()
}

var (
	_ edge = (*eg.Edge)(nil)
	_ Edge = (*eg.Answers)(nil)
)
