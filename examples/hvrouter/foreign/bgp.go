package foreign

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// BGP is the route that BGP has for packets which a foreign route is for.
type BGP struct {
	Prefix netip.Prefix // the zero Prefix: BGP has none
	Metric uint32
	Text   string // of the whole route, as ip(8) has it
	// Taken: the foreign route has the same prefix and is announced as ours, so that BGP's is not written.
	Taken bool
	// Waits: the foreign route has the same prefix and metric, and stands before BGP's.
	Waits bool
}

// atOnce is how many foreign routes Want.BGP is asked about at a time.
const atOnce = 256

// asker asks for BGP's routes, some at a time, and keeps the foreign ones that are in the way of routes.
type asker struct {
	*Want
	pending []lookup.Route
	whys    []string // of each of pending: what it does to a route of ours around it, "" is nothing
	list    []api.Foreign
}

// take takes a foreign route, and what it does to a route of ours around it.
func (a *asker) take(r lookup.Route, why string) {
	if len(a.list) >= Most {
		return
	}
	a.pending, a.whys = append(a.pending, r), append(a.whys, why)
	if len(a.pending) == atOnce {
		a.ask()
	}
}

// ask asks about what is pending. What a route does to BGP's of the same prefix counts more than what it does to one
// of ours around it.
func (a *asker) ask() {
	var of []BGP
	if a.BGP != nil && len(a.pending) > 0 {
		of = a.BGP(a.pending)
	}
	for i, r := range a.pending {
		why, unsure := a.whys[i], false
		if i < len(of) && of[i].Prefix.IsValid() && (why == "" || of[i].Prefix == r.Prefix) {
			if w, u := a.replaces(r, of[i]); w != "" {
				why, unsure = w, u
			}
		}
		if why != "" && len(a.list) < Most {
			a.list = append(a.list, api.Foreign{Kind: "route", What: r.String(), Why: why, Unsure: unsure})
		}
	}
	a.pending, a.whys = a.pending[:0], a.whys[:0]
}

// replaces says what a foreign route does to BGP's; "" is nothing. It is unsure of one over an interface that is neither
// an uplink nor a guest's: who runs there may be meant to have the packets, as of an anycast address.
func (w *Want) replaces(r lookup.Route, b BGP) (why string, unsure bool) {
	what := "packets for it go there"
	switch r.Type {
	case lookup.Unicast:
	case lookup.Throw:
		what = "packets for it are for the rules that follow"
	case lookup.Local:
		what = "packets for it are for this host"
	default:
		what = "packets for it are dropped"
	}
	out := r.Type != lookup.Unicast || slices.ContainsFunc(r.Hops, func(h lookup.Hop) bool { return w.Uplink(h.Link) })
	guests := !slices.ContainsFunc(r.Hops, func(h lookup.Hop) bool { return !w.Concerns(h.Link) })
	switch {
	case b.Prefix != r.Prefix:
		if !out {
			return "", false
		}
		return fmt.Sprintf("it takes a part out of BGP's, %s: %s", b.Text, what), false
	case b.Taken && !out && guests: // of a guest that is elsewhere as well
		return "", false
	case b.Taken:
		return fmt.Sprintf("BGP's, %s, is not written, since this one is announced: %s", b.Text, what), !out && r.Prefix.Bits() > 0
	case r.TOS != 0:
		return fmt.Sprintf("it beats BGP's, %s, for packets with that TOS: %s", b.Text, what), false
	case r.Metric < b.Metric:
		return fmt.Sprintf("it beats BGP's, %s: %s", b.Text, what), false
	case b.Waits:
		return fmt.Sprintf("BGP's, %s, waits, since this one was there before it with the same metric: %s", b.Text, what), false
	}
	return "", false
}
