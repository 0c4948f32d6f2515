package netns

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/fib"
)

// lost reports whether some events did not come.
func lost(events []fib.Event) bool {
	return slices.ContainsFunc(events, func(e fib.Event) bool { return e.Kind == fib.EventLost })
}

// recount returns the events that make the difference between what is known of the interfaces
// and what the kernel has now: links is what it has, and so is addresses if they could be read.
func recount(known *Links, links []fib.Link, addresses []host.Address, read bool) (events []fib.Event) {
	there := map[int]bool{}
	for _, l := range links {
		there[l.IfIndex] = true
		events = append(events, fib.Event{Kind: fib.EventLink, Link: l})
	}
	if read {
		events = append(events, recountAddresses(known, there, addresses)...)
	}
	for _, index := range slices.Sorted(maps.Keys(known.byIndex)) {
		if !there[index] {
			events = append(events, fib.Event{Kind: fib.EventLinkGone, Link: known.byIndex[index]})
		}
	}
	return events
}

// recountAddresses returns the events of addresses, for links that are there.
func recountAddresses(known *Links, there map[int]bool, addresses []host.Address) (events []fib.Event) {
	seen := map[int]map[netip.Prefix]bool{}
	for _, a := range addresses {
		if seen[a.Link] == nil {
			seen[a.Link] = map[netip.Prefix]bool{}
		}
		seen[a.Link][a.Prefix] = true
		scope := fib.ScopeLink
		if a.Global {
			scope = fib.ScopeUniverse
		}
		events = append(events, fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: a.Link}, Addr: a.Prefix, Scope: scope, Permanent: a.Permanent})
	}
	for _, index := range slices.Sorted(maps.Keys(known.addrs)) {
		for _, p := range slices.SortedFunc(maps.Keys(known.addrs[index]), netip.Prefix.Compare) {
			if there[index] && !seen[index][p] {
				events = append(events, fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: index}, Addr: p, Gone: true})
			}
		}
	}
	return events
}

// Carriers is which interfaces of a namespace have a carrier, as far as events have said so.
// The zero value is ready.
type Carriers struct{ up map[string]bool }

// Take takes events and calls changed for each interface that has lost its carrier, or has it
// again. One that is not there has none; of one that is heard of for the first time the lack is
// a loss.
func (c *Carriers) Take(events []fib.Event, changed func(name string, up bool)) {
	if c.up == nil {
		c.up = map[string]bool{}
	}
	for _, e := range events {
		if e.Kind != fib.EventLink && e.Kind != fib.EventLinkGone {
			continue
		}
		now := e.Kind == fib.EventLink && e.Link.Up()
		if was, known := c.up[e.Link.Interface]; now != was || !known && !now {
			changed(e.Link.Interface, now)
		}
		c.up[e.Link.Interface] = now
	}
}
