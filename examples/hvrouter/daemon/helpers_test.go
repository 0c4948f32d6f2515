package daemon

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

func moveTo(pref *uint32, down *bool) api.Move { return api.Move{LocalPref: pref, Down: down} }

// noTables is a lookup of speakers that know nothing.
func noTables(string, netip.Prefix) []rib.Path { return nil }

// noPeers is a lookup of sessions that are not there.
func noPeers(*config.Config, string, netip.Prefix) []sessions.Peer { return nil }
