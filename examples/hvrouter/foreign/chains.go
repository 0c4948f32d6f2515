package foreign

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
)

// mostNamed is how many interfaces are named that a chain is for.
const mostNamed = 3

// chains finds the base chains that may drop what guests send or receive.
func (w *Want) chains(chains []nftrace.ForeignChain, links []lookup.Link) (list []api.Foreign) {
	ours, bridged := w.devices(links)
	for _, c := range chains {
		on := ""
		switch c.Passes {
		case nftrace.PassesBridge:
			if !bridged {
				continue
			}
		case nftrace.PassesDevice:
			if on = named(ours, c.On); on == "" {
				continue
			}
			on = ", on " + on
		}
		switch {
		case c.Drops:
			list = append(list, api.Foreign{Kind: "chain", What: c.Text, Why: "its policy drops what none of its rules accepts" + on})
		case c.Legacy:
			list = append(list, api.Foreign{Kind: "chain", What: c.Text, Why: "its rules, if it has any, may drop or change packets: they are not looked at", Unsure: true})
		case c.Dropping > 0:
			list = append(list, api.Foreign{Kind: "chain", What: c.Text, Why: fmt.Sprintf("rules of it, or of chains that they lead to, drop packets (%d); which ones is not evaluated", c.Dropping) + on, Unsure: true})
		case c.Rules > 0:
			list = append(list, api.Foreign{Kind: "chain", What: c.Text, Why: fmt.Sprintf("its %d rules may drop or change packets", c.Rules) + on, Unsure: true})
		}
	}
	return list
}

// named lists the names that match, of many the first.
func named(names []string, match func(string) bool) string {
	var list []string
	more := 0
	for _, name := range names {
		switch {
		case !match(name):
		case len(list) < mostNamed:
			list = append(list, name)
		default:
			more++
		}
	}
	text := strings.Join(list, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Overlays returns [Want.Overlay] of a configuration.
func Overlays(c *config.Config) func(link string) bool {
	names := map[string]bool{}
	for _, o := range c.Overlays {
		names[o.Name], names[o.Bridge] = true, true
	}
	return func(link string) bool { return names[link] }
}

// devices returns the names of the interfaces that frames of guests pass: uplinks, guests', those of overlays with their
// ports, and what they are on (the device of a VLAN, the members of a bond); bridged reports whether one is a bridge with
// ports, or a port of one.
func (w *Want) devices(links []lookup.Link) (names []string, bridged bool) {
	byIndex, members := map[int]lookup.Link{}, map[int][]lookup.Link{}
	var next []lookup.Link
	for _, l := range links {
		byIndex[l.Index] = l
		members[l.Master] = append(members[l.Master], l)
		if w.Concerns(l.Name) || w.Overlay(l.Name) {
			next = append(next, l)
		}
	}
	seen := map[int]bool{}
	for len(next) > 0 {
		l := next[len(next)-1]
		next = next[:len(next)-1]
		if l.Index == 0 || seen[l.Index] {
			continue
		}
		seen[l.Index] = true
		names = append(names, l.Name)
		bridged = bridged || l.Bridge && len(members[l.Index]) > 0 || byIndex[l.Master].Bridge
		next = append(append(next, byIndex[l.Lower]), members[l.Index]...)
	}
	slices.Sort(names)
	return names, bridged
}
