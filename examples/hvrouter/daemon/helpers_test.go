package daemon

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

func moveTo(pref *uint32, down *bool) api.Move { return api.Move{LocalPref: pref, Down: down} }

// noTables is a lookup of speakers that know nothing.
func noTables(string, netip.Prefix) []rib.Path { return nil }
