package fibcore

import "net/netip"

// Connected returns the index of the interface that a gateway is on; 0 is none. It looks at
// every address.
func (c *Core) Connected(gateway netip.Addr) (link int) {
	if zone := gateway.Zone(); zone != "" {
		for _, l := range c.links {
			if l.Interface == zone {
				return l.IfIndex
			}
		}
		return 0
	}
	if gateway.IsLinkLocalUnicast() && gateway.Is6() {
		return 0 // every interface has that network
	}
	longest := -1
	for key, a := range c.addresses.have {
		network := key.Prefix
		if key.Peer.IsValid() { // point-to-point: the network is the other end
			network = netip.PrefixFrom(key.Peer, key.Peer.BitLen())
		}
		bits := network.Bits()
		if a.value.NoPrefixRoute || !network.Contains(gateway) || bits < longest || bits == longest && key.IfIndex > link {
			continue
		}
		longest, link = bits, key.IfIndex
	}
	return link
}
