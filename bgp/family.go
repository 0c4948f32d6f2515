package bgp

import "github.com/hyperfib/hyperfib/bgp/wire"

// families are those that there are, by familyIndex.
var families = [...]wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}

func familyIndex(f wire.Family) int {
	if f == wire.IPv6Unicast {
		return 1
	}
	return 0
}
