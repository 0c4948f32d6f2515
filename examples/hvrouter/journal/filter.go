package journal

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Filter picks events. The zero value picks all; of several fields all must fit.
type Filter struct {
	// Since leaves out what was before; zero is no bound.
	Since time.Time
	// Event is a name, or a pattern of names as of [path.Match]: "bgp-*".
	Event string
	// Peer is the address of a BGP or BFD peer, or a session's name; Guest a guest's name, Interface
	// an interface's.
	Peer, Guest, Interface string
	// Addresses are those of the peers whose sessions have the name Peer: most events have no name.
	Addresses []string
	// Last is the number of events that are wanted at most, the newest; 0 is all. It is the reader's:
	// Match does not count.
	Last int
}

// Check returns what is wrong with the pattern.
func (f Filter) Check() error {
	_, err := path.Match(f.Event, "")
	return err
}

// Match reports whether an event is wanted. One that stands for others that are lost always is.
func (f Filter) Match(e Event) bool {
	if e.Time.Before(f.Since) {
		return false
	}
	if e.Name == Lost {
		return true
	}
	if ok, _ := path.Match(f.Event, e.Name); f.Event != "" && !ok {
		return false
	}
	peer := func(p string) bool { return about(e, p, "peer", "session") }
	return (peer(f.Peer) || slices.ContainsFunc(f.Addresses, peer)) && about(e, f.Guest, "guest") && about(e, f.Interface, "interface", "key")
}

// about reports whether one of the attributes has a word: a peer is "192.0.2.1 from 192.0.2.2", the key
// of a repair "net/ipv4/conf/vm2/rp_filter" or "neighbor 203.0.113.2 dev vm2".
func about(e Event, want string, keys ...string) bool {
	return want == "" || slices.ContainsFunc(keys, func(k string) bool {
		return e.Attrs[k] == want || slices.Contains(strings.FieldsFunc(e.Attrs[k], func(r rune) bool { return strings.ContainsRune(" /%,", r) }), want)
	})
}
