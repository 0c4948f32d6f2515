package bgp

import "github.com/hyperfib/hyperfib/bgp/wire"

// families are those that there are, by familyIndex.
var families = [...]wire.Family{wire.IPv4Unicast, wire.IPv6Unicast, wire.L2VPNEVPN, wire.RTConstrain}

func familyIndex(f wire.Family) int {
	switch f {
	case wire.IPv6Unicast:
		return 1
	case wire.L2VPNEVPN:
		return 2
	case wire.RTConstrain:
		return 3
	}
	return 0
}
