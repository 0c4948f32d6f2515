package failover

import (
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// notices are what BGP does not know yet about the sessions, one notice a session: BGP may be
// busy with one peer, and what concerns another one does not wait for it.
type notices map[bfd.Key]notice

// notice is about one session. An end is never hidden by the session's return that follows.
type notice struct {
	watch    peering.Watch
	down, up bool
	// adminDown reports that a side has taken its BFD down on purpose since.
	adminDown bool
	// remoteC reports that the peer's BFD does not share the fate of its control plane
	// (RFC 5882, Section 4.3), or that the session is one by echo.
	remoteC bool
}

// up notes that a session is Up.
func (n notices) up(w peering.Watch) {
	one := n[w.Key]
	one.watch, one.up, one.adminDown = w, true, false
	n[w.Key] = one
}

// adminDown notes that a side has taken its BFD down on purpose.
func (n notices) adminDown(w peering.Watch) {
	one := n[w.Key]
	one.watch, one.up, one.adminDown = w, false, true
	n[w.Key] = one
}

// down notes that a session has ended.
func (n notices) down(w peering.Watch, remoteC bool) {
	n[w.Key] = notice{watch: w, down: true, remoteC: remoteC}
}

// take removes and returns the notices, in the order of their sessions.
func (n notices) take() (list []notice) {
	for _, k := range slices.SortedFunc(maps.Keys(n), compareKeys) {
		list = append(list, n[k])
	}
	clear(n)
	return list
}
