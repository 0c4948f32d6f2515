package daemon

import "github.com/hyperfib/hyperfib/examples/hvrouter/api"

func moveTo(pref *uint32, down *bool) api.Move { return api.Move{LocalPref: pref, Down: down} }
