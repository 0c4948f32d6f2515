package bgp

import "net/netip"

// dynamicRange is a range with the number of the peers that came from it. Speaker.mu guards
// its fields but prefix.
type dynamicRange struct {
	prefix   netip.Prefix // where its peers connect from
	template PeerConfig   // the configuration of each of its peers
	limit    int          // how many peers there may be at a time
	peers    int          // how many there are
}

// instance returns the configuration of one peer of the range. Its key is the peer's address
// alone.
func (r *dynamicRange) instance(addr netip.Addr) PeerConfig {
	c := r.template
	c.Addr, c.LocalAddr = addr, netip.Addr{}
	return c
}
