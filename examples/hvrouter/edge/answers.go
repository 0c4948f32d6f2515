package edge

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
	"github.com/hyperfib/hyperfib/vxlan"
)

// Answers is what an [Edge] answers to its guests, without its sockets and goroutines, for
// simulators and tests: it does to the policies of ARP and ND what an Edge does to those of its
// responders, and nothing else. What a guest would be answered is theirs to decide
// ([arp.Policy.Decide], [ndp.Policy.Decide]). The zero value is ready.
type Answers struct {
	ARP arp.Policy
	ND  ndp.Policy

	ports   map[int]guest.Port
	targets map[netip.Prefix]int
	seen    []Sighting
}

// Ports returns the guests that are served, in the order of their interfaces' indexes.
func (a *Answers) Ports() (list []guest.Port) {
	for _, p := range a.ports {
		list = append(list, p)
	}
	slices.SortFunc(list, func(x, y guest.Port) int { return cmp.Compare(x.Link.IfIndex, y.Link.IfIndex) })
	return list
}

// Targets returns the prefixes whose addresses guests are answered for, with the index of the
// interface that they are behind, whose guest is not; 0 is elsewhere.
func (a *Answers) Targets() map[netip.Prefix]int { return a.targets }

// See has the next Sightings return what was seen of guests' addresses.
func (a *Answers) See(list ...Sighting) { a.seen = append(a.seen, list...) }

// Sightings returns what See was called with. If that is nothing, it waits for the end of ctx and
// returns its error.
func (a *Answers) Sightings(ctx context.Context) ([]Sighting, error) {
	list := a.seen
	if a.seen = nil; len(list) > 0 {
		return list, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Heard returns the guests that asked for their gateway from other addresses than their own. If
// there is none, it waits for the end of ctx and returns its error.
func (a *Answers) Heard(ctx context.Context) ([]ndp.Sender, error) {
	list := a.ND.Heard()
	if len(list) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	slices.SortStableFunc(list, func(x, y ndp.Sender) int { return cmp.Compare(x.IfIndex, y.IfIndex) })
	return list, nil
}

// Arrive does nothing.
func (a *Answers) Arrive(*config.Config, guest.Port) {}

// Serve begins, or changes, what guests are answered.
func (a *Answers) Serve(c *config.Config, ports ...guest.Port) {
	for _, p := range ports {
		if a.ports == nil {
			a.ports = map[int]guest.Port{}
		}
		link, mac := p.Link.IfIndex, gatewayMAC(c, p)
		a.ports[link] = p
		if hasIPv4(p.Guest) {
			a.ARP.SetGuest(link, arpGuest(c, p, mac, time.Time{}))
		} else {
			a.ARP.RemoveGuest(link)
		}
		if domain.HasIPv6(p.Guest) {
			a.ND.SetGuest(link, ndpGuest(c, p, mac))
		} else {
			a.ND.RemoveGuest(link)
		}
	}
}

// Reannounce does nothing.
func (a *Answers) Reannounce(*config.Config, guest.Port) {}

// Silence ends answering the guest's ARP requests.
func (a *Answers) Silence(p guest.Port) { a.ARP.RemoveGuest(p.Link.IfIndex) }

// Known leaves the guest's questions from p.Heard to the kernel.
func (a *Answers) Known(p guest.Port) { a.ND.SetKnown(p.Link.IfIndex, known(p)) }

// Leave ends what guests are answered.
func (a *Answers) Leave(p guest.Port, _ bool) {
	delete(a.ports, p.Link.IfIndex)
	a.ARP.RemoveGuest(p.Link.IfIndex)
	a.ND.RemoveGuest(p.Link.IfIndex)
}

// Target says that a prefix is allocated, behind an interface or elsewhere (0).
func (a *Answers) Target(p netip.Prefix, link int) {
	if a.targets == nil {
		a.targets = map[netip.Prefix]int{}
	}
	a.targets[p] = link
	if p.Addr().Is4() {
		a.ARP.SetTarget(p, link)
	} else {
		a.ND.SetTarget(p, link)
	}
}

// NoTarget takes Target back.
func (a *Answers) NoTarget(p netip.Prefix) {
	delete(a.targets, p)
	if p.Addr().Is4() {
		a.ARP.DeleteTarget(p)
	} else {
		a.ND.DeleteTarget(p)
	}
}

// Abuse and Strays return nothing: the policies do not count.
func (a *Answers) Abuse(guest.Port) []Abuse { return nil }
func (a *Answers) Strays() Strays           { return Strays{} }

// Displaced and Foreign return nothing.
func (a *Answers) Displaced() []vxlan.Entry { return nil }
func (a *Answers) Foreign() []vxlan.Entry   { return nil }

// Overlays does nothing.
func (a *Answers) Overlays(*config.Config, func(string) (fib.Link, bool), []netip.Addr, func(string) Content) map[string]error {
	return nil
}

// Refused returns nothing.
func (a *Answers) Refused(string) error { return nil }

// SweepOverlays does nothing.
func (a *Answers) SweepOverlays() {}
